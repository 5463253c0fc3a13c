"""Whether two tickets are about the same matter, and when many are a matter of many people.

A ticket leaves `Traits`; from them come the `marks` by which others about the same thing are looked
up without a scan, and `compare` says what two tickets have in common. Nothing here merges anything:
it proposes to a person, and says why.
"""

import hashlib
import hmac
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from service.domain.calendar import SHANGHAI
from service.domain.complaint import Complaint
from service.domain.lifecycle import MOVES, Act, State
from service.domain.scope import Status

# --- what a ticket leaves to be compared by


@dataclass(frozen=True, slots=True)
class Print:
    """A text by its pairs of characters: how many there are, and the smallest of their hashes.

    Two prints tell how alike two texts are without the texts: exactly up to 64 pairs, to about 0.06
    beyond.
    """

    pairs: int
    least: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Traits:
    """What a ticket is compared by. `person` is a keyed hash of the telephone number, "" for none;
    `spots` are places as exact as a housing estate, `towns` their towns, `line` the functional line
    (条线) of who leads or might. `at` is when the matter was accepted."""

    ticket_id: int
    person: str
    region: str
    line: str
    spots: tuple[str, ...]
    towns: tuple[str, ...]
    text: Print
    at: datetime


_LEAST = 64
_BINS = 6
_BAND = 2
MOST_SPOTS = 4

_NOT_SAID = re.compile(r"<[^<>]{0,200}>|[^\u4e00-\u9fff0-9a-z]+")
# How tickets are written, whatever they are about.
_PHRASES = re.compile(
    r"来电人|诉求人|反映人|市民|网友|群众|投诉人|举报人|来电|反映|诉求|希望|要求|建议|投诉|举报|相关部门|有关部门"
    r"|核实|处理|解决|尽快|帮忙|谢谢|您好|你好|领导|请问|请|情况|问题|目前|现在|一直|已经|没有人|没人|没有|这个|我们|我家"
)


def number(phone: str) -> str:
    """Return the digits of a telephone number, the same however it is written, "" for what is none or
    is masked."""
    if "*" in phone:
        return ""
    digits = re.sub(r"[^0-9]", "", phone)
    digits = re.sub(r"^(?:00)?86(?=1[3-9][0-9]{9}$)", "", digits)
    return "" if len(digits) < 7 or len(set(digits)) == 1 else digits


def person(phone: str, key: bytes) -> str:
    """Return the keyed hash of a telephone number, "" for what is none.

    Without the key nobody gets from the hash to the number; without one, all numbers there are could
    be tried in minutes.
    """
    digits = number(phone)
    if not digits:
        return ""
    return hmac.new(key, digits.encode(), hashlib.sha256).hexdigest()[:32]


def imprint(text: str) -> Print:
    """Return the print of a text; what every ticket says is left out."""
    said = _PHRASES.sub(" ", _NOT_SAID.sub(" ", text.lower()))
    pairs = {word[n : n + 2] for word in said.split() for n in range(len(word) - 1)}
    least = sorted(zlib.crc32(pair.encode()) for pair in pairs)[:_LEAST]
    return Print(len(pairs), tuple(least))


def alike(one: Print, other: Print) -> float:
    """Return how alike two texts are, 0 to 1: the share of their pairs that both have (Dice)."""
    mine = set(one.least)
    both = mine.intersection(other.least)
    if not both:
        return 0.0
    of, hits = len(mine) + len(other.least) - len(both), len(both)
    if of > _LEAST:
        # Beyond the least of both together nothing is known of one of the two.
        last = sorted(mine.union(other.least))[_LEAST - 1]
        of, hits = _LEAST, sum(each <= last for each in both)
    return round(2 * hits / (of + hits), 2)


_SPOT = re.compile(
    r"(?=([\u4e00-\u9fff0-9a-z]{2})"
    r"(小区|花园|花苑|家园|新村|公寓|大厦|广场|公馆|新城|名城|名苑|华府|御景|国际|雅苑|佳苑|嘉园|山庄"
    r"|大道|路|街|巷|村|组|屯|桥|水库|码头|小学|中学|一中|二中|学校|幼儿园|医院|卫生院|市场|农贸|商场|超市|工业园|开发区"
    r"|园区|公园|车站|西站|东站|工地|养猪场|养殖场|砖厂|沙场|厂|中转站|填埋场|矿))"
)
_TOWN = re.compile(r"(?=([\u4e00-\u9fff]{2})(?:镇|乡|街道))")
# Before such an ending, these are words and no names: 我们|小区, 一条|路, 在村.
_NO_NAME = re.compile(
    r"[我你他她它们这那哪个各该本某在到去从往的地得了着是有住旁附近边条座家些全整每门前后上下里外修走过把被和与或及不没很农道马公铁网线思套出迷]"
)


def spots(*texts: str) -> tuple[str, ...]:
    """Return the places in texts that are as exact as a housing estate or a road, first ones first.

    Each is its ending with the two characters before it: where a name begins cannot be told from
    a text, but the same place has the same end.
    """
    found = dict.fromkeys(
        match[1] + match[2]
        for text in texts
        for match in _SPOT.finditer(text.lower())
        if not _NO_NAME.search(match[1]) and match[1][-1] not in "镇乡县市区村"
    )
    return tuple(found)[:MOST_SPOTS]


def towns(*texts: str) -> tuple[str, ...]:
    """Return the towns that texts name, by the two characters before the ending."""
    return tuple(
        dict.fromkeys(
            match[1]
            for text in texts
            for match in _TOWN.finditer(text)
            if not _NO_NAME.search(match[1])
        )
    )[:MOST_SPOTS]


def traits(ticket_id: int, complaint: Complaint, line: str, at: datetime, key: bytes) -> Traits:
    """Return what a complaint is compared by."""
    said = (complaint.place, complaint.title, complaint.content)
    return Traits(
        ticket_id,
        person(complaint.contact.phone, key),
        complaint.region,
        line,
        spots(*said),
        towns(*said),
        imprint(f"{complaint.title} {complaint.content}"),
        at,
    )


def marks(of: Traits) -> tuple[str, ...]:
    """Return the marks by which a ticket is found: one for the person, one for each exact place,
    and up to three for the text, of which two nearly equal texts share at least one."""
    county = of.region[:6]
    found = [f"p:{of.person}"] if of.person else []
    found += [f"s:{county}:{spot}" for spot in of.spots]
    bins: list[int | None] = [None] * _BINS
    for each in of.text.least:
        place = each % _BINS
        if bins[place] is None:
            bins[place] = each  # they come in order: the first is the least
    for first in range(0, _BINS, _BAND):
        band = bins[first : first + _BAND]
        if None not in band:
            found.append(f"t:{county}:{first}:" + ".".join(f"{each:x}" for each in band))
    return tuple(found)


# --- the figures by which it is decided; data, see matching.yaml


@dataclass(frozen=True, slots=True)
class Basis:
    """Where a section's figures come from and how surely it is known."""

    status: Status
    source: str


@dataclass(frozen=True, slots=True)
class SameMatter:
    """When two tickets are proposed for 并单: accepted within `days` of each other, the later one's
    text at least so alike, by what else they have in common."""

    days: int
    by_person: float
    by_person_and_place: float
    by_place: float
    by_text: float
    basis: Basis


@dataclass(frozen=True, slots=True)
class Repeat:
    """How long after an answer the same matter of the same person is a repeat (重复诉求)."""

    days: int
    basis: Basis


@dataclass(frozen=True, slots=True)
class GroupMatter:
    """From how many `people` on, within `days`, one topic in one place is a group matter (群体性诉求).
    One topic is the same functional line with texts at least `line_text` alike, or any with `text`."""

    days: int
    people: int
    line_text: float
    text: float
    basis: Basis


@dataclass(frozen=True, slots=True)
class Likeness:
    """All sections of matching.yaml."""

    same: SameMatter
    repeat: Repeat
    group: GroupMatter

    @property
    def back(self) -> timedelta:
        """Return how far back anything is looked for."""
        return timedelta(days=max(self.same.days, self.repeat.days, self.group.days))


# --- what two tickets have in common


@dataclass(frozen=True, slots=True)
class Common:
    """What a later ticket has in common with an earlier one. `spot` and `town` are a place that both
    name, "" for none; `text` how alike they are, 0 to 1; `score` 0 to 1 orders several."""

    person: bool
    spot: str
    town: str
    text: float
    score: float


def compare(later: Traits, earlier: Traits, by: Likeness) -> Common | None:
    """Return what makes two tickets the same matter, or None if they are not.

    The same person may have several matters, and one place several troubles: the text must agree
    as well, the less the more else does. Two exact places that differ are two matters, unless the
    text is nearly the same.
    """
    apart = later.at - earlier.at
    if apart > timedelta(days=max(by.same.days, by.repeat.days)):
        return None
    same_person = bool(later.person) and later.person == earlier.person
    if not same_person and apart > timedelta(days=by.same.days):
        return None
    spot = next((each for each in later.spots if each in earlier.spots), "")
    town = next((each for each in later.towns if each in earlier.towns), "")
    elsewhere = bool(later.spots and earlier.spots and not spot)
    county = later.region[:6] == earlier.region[:6]
    if same_person and (spot or (town and not elsewhere)):
        enough = by.same.by_person_and_place
    elif same_person and county and not elsewhere:
        enough = by.same.by_person
    elif later.person and earlier.person and not same_person:
        return None  # two people: a group matter perhaps, and each of them gets an answer
    elif spot and county:
        enough = by.same.by_place
    else:
        enough = by.same.by_text
    if not same_person and not county:
        return None
    text = alike(later.text, earlier.text)
    if text < enough:
        return None
    weights = (0.6 * same_person, 0.4 if spot else 0.15 if town else 0.0, text)
    doubt = 1.0
    for weight in weights:
        doubt *= 1 - weight
    return Common(same_person, spot, town, text, round(1 - doubt, 2))


def one_topic(one: Traits, other: Traits, by: GroupMatter) -> bool:
    """Whether two tickets of any people are about one topic in one place, near enough in time."""
    if abs(one.at - other.at) > timedelta(days=by.days) or not set(one.spots) & set(other.spots):
        return False
    text = alike(one.text, other.text)
    same_line = bool(one.line) and one.line == other.line
    return text >= (by.line_text if same_line else by.text)


def people(tickets: Iterable[Traits]) -> int:
    """Return how many people tickets are of, at least: all that left no number may be one."""
    persons = {each.person for each in tickets}
    return len(persons)


def place_of(tickets: Sequence[Traits]) -> str:
    """Return the place that most of the tickets name."""
    named = [spot for each in tickets for spot in each.spots]
    return max(named, key=named.count, default="")


# --- what a person is told


class Relation(StrEnum):
    """What a ticket is to another one that it has much in common with."""

    PROPOSED = "proposed"  # 建议并单
    REPEAT = "repeat"  # 重复诉求
    MERGED = "from"  # 已并入本单


_OPEN = frozenset({State.SORTING, State.DISPATCHED, State.SIGNED, State.PAUSED})
_OVER = frozenset({State.RESOLVED, State.CLOSED})


def relation(later: State, earlier: State, common: Common) -> Relation | None:
    """Return what two tickets of the same matter are to each other as they stand now.

    Two open ones may be merged. An earlier one that was answered makes the later one a repeat, if
    it is the same person.
    """
    if (later, Act.MERGE) in MOVES and earlier in _OPEN:
        return Relation.PROPOSED
    if earlier in _OVER and later is not State.MERGED and common.person:
        return Relation.REPEAT
    return None


@dataclass(frozen=True, slots=True)
class Link:
    """Another ticket that one has to do with, as somebody who may see both is told.

    `later` is whether the ticket that has the link came after the other. `reason` is "" for one that
    was merged; `score` is 0 to 1.
    """

    relation: Relation
    no: str
    title: str
    state: State
    version: int
    later: bool
    score: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class InGroup:
    """The group matter (群体性诉求) that a ticket is of: at least so many `people` in a place."""

    id: int
    place: str
    people: int
    tickets: int


def reason(common: Common, this: datetime, other: datetime, channel: str) -> str:
    """Return why, in Chinese, seen from the ticket of `this` time: `同一来电号码，同一地点（滨江花园），内容相似
    0.82，3 天前在问政江西提出`."""
    parts = ["同一来电号码"] if common.person else []
    if common.spot:
        parts.append(f"同一地点（{common.spot}）")
    elif common.town:
        parts.append(f"同一乡镇（{common.town}）")
    parts.append(f"内容相似 {common.text:.2f}")
    days = (this.astimezone(SHANGHAI).date() - other.astimezone(SHANGHAI).date()).days
    when = "同日" if not days else f"{days} 天前" if days > 0 else f"{-days} 天后"
    return "，".join([*parts, f"{when}在{channel}提出"])
