"""What leaves the house, and when it is tried again (ADR 0014).

Who may be a receiver, which deliveries an act causes, what a receiver may know of a complaint, what
follows an attempt, and whether a destination is tried at all just now.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from service.domain.calendar import SHANGHAI
from service.domain.confidence import is_shielded, unnamed
from service.domain.lifecycle import FINISHED, Act, State
from service.domain.ports import Receiver, Refused, Unreachable
from service.domain.ticket import (
    Delivery,
    DeliveryState,
    MilestoneKind,
    Recipient,
    Ticket,
    Word,
)

# To whom

# What the entry of a receiver may say, in sources.yaml and receivers.yaml alike.
RECEIVER_KEYS = ("url", "secret", "token", "events", "hours")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,99}")
_MOST_HOURS = 24 * 30


class BadReceiver(ValueError):
    """A receiver that cannot be told of anything: which key, and why in Chinese."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(reason)
        self.key = key
        self.reason = reason


def receiver(destination: str, texts: Mapping[str, str], events: Collection[str]) -> Receiver:
    """Return a receiver of what its entry says, or raise BadReceiver. No text is a secret: it names
    the variable that has it."""
    for key in ("url", "secret"):
        if not texts.get(key):
            raise BadReceiver(key, f"缺少 {key}")
    try:
        url = urlsplit(texts["url"])
        fits = url.scheme in {"http", "https"} and url.hostname and url.port != 0
    except ValueError:
        fits = False
    if not fits or not texts["url"].isascii() or not texts["url"].isprintable():
        raise BadReceiver("url", "url 应为 http:// 或 https:// 开头的完整地址")
    if url.username or url.password or url.fragment:
        raise BadReceiver("url", "url 里不能有用户名、密码或 #；令牌用 token 指明环境变量")
    for key in ("secret", "token"):
        if texts.get(key) and not _VARIABLE.fullmatch(texts[key]):
            raise BadReceiver(
                key, f"{key} 是环境变量的名称（大写字母、数字、下划线），不是内容本身"
            )
    unknown = [event for event in events if event not in set(Word)]
    if unknown:
        raise BadReceiver("events", f"没有 {unknown[0]} 这种通知，可用的是 {' '.join(Word)}")
    hours = texts.get("hours") or "72"
    if not (hours.isascii() and hours.isdigit() and 1 <= int(hours[:9]) <= _MOST_HOURS):
        raise BadReceiver("hours", f"hours 应为 1 到 {_MOST_HOURS} 的整数")
    words = frozenset(Word(event) for event in events)
    return Receiver(
        destination, texts["url"], texts["secret"], texts.get("token", ""), words, int(hours)
    )


# Which deliveries an act causes

# What an act tells. What it does not name stays in the house: notes, findings, who did it.
_OF_ACT: Mapping[str, Word] = {
    Act.DISPATCH: Word.DISPATCHED,
    Act.RULE: Word.DISPATCHED,
    Act.DECIDE_EXTENSION: Word.EXTENDED,
    Act.RESOLVE: Word.RESOLVED,
    Act.CLOSE: Word.CLOSED,
    Act.REOPEN: Word.REOPENED,
    "supplemented": Word.SUPPLEMENTED,
}
# Which parts of what an act carried may leave with the word.
_LEAVES: Mapping[Word, tuple[str, ...]] = {
    Word.EXTENDED: ("amount",),
    Word.RESOLVED: ("public_reply", "solved"),
}
_HANDS_ROUND = frozenset({Act.DISPATCH, Act.RULE, Act.SEND_BACK, Act.MERGE})
_ARRIVED: Mapping[State, tuple[Word, ...]] = {
    State.DISPATCHED: (Word.ACCEPTED, Word.DISPATCHED),
    State.SORTING: (Word.ACCEPTED,),
    State.NOT_ACCEPTED: (Word.NOT_ACCEPTED,),
    State.REFERRED: (Word.REFERRED,),
}


@dataclass(frozen=True, slots=True)
class Addressee:
    """A ticket under whose number a source is told: its own, or one that was merged into it."""

    ticket_id: int
    no: str
    region: str
    source: str
    source_no: str


def addressee(ticket: Ticket) -> Addressee:
    """Return the ticket as its own source knows it."""
    told = ticket.complaint
    return Addressee(ticket.id, ticket.no, ticket.region, told.source, told.source_no)


def on_arrival(ticket: Ticket) -> Iterator[Delivery]:
    """Return what a new ticket tells its source, and the units that got it.

    What is only counted (系统默认, 好评) is nobody's matter.
    """
    for word in _ARRIVED.get(ticket.state, ()):
        facts: dict[str, Any] = {}
        if word in {Word.NOT_ACCEPTED, Word.REFERRED}:
            facts = {"reason": ticket.route.reason, "hotline": ticket.route.hotline}
        yield for_source(word, addressee(ticket), ticket, facts)
    yield from _handed_round(None, ticket)


def is_owed(word: Delivery) -> bool:
    """Whether a person is to learn of it even where no system takes it."""
    return word.kind in {Word.STAGE, Word.SUPERVISION} or word.recipient is Recipient.CITIZEN


def for_source(word: Word, to: Addressee, stands: Ticket, facts: Mapping[str, Any]) -> Delivery:
    """Return what the source of `to` is told: the facts, and where the ticket stands; once it was
    merged, where the other one stands."""
    due_at = _due_at(stands)
    into = stands.no if stands.no != to.no else stands.into
    payload = {
        "ticket": {
            "source": to.source,
            "source_no": to.source_no,
            "state": stands.state,
            "lead": {"unit": stands.lead.unit, "name": stands.lead.name} if stands.lead else None,
            "due_at": due_at,
            "merged_into": into or None,
        },
        **facts,
    }
    return Delivery(word, Recipient.SOURCE, "", payload, to.source)


def source_word(act: str, after: Ticket, content: Mapping[str, Any]) -> tuple[Word, Any] | None:
    """Return what an act tells the ticket's sources and the facts that go with it, None for
    nothing. What an assisting unit answers is for the lead."""
    word = _OF_ACT.get(act)
    if word is None or (word is Word.RESOLVED and after.state is not State.RESOLVED):
        return None
    if word is Word.EXTENDED and not content.get("granted"):
        return None
    return word, {name: content[name] for name in _LEAVES.get(word, ())}


def for_units(
    act: str, before: Ticket, after: Ticket, content: Mapping[str, Any]
) -> Iterator[Delivery]:
    """Return what the units' own systems are told of an act."""
    if act in _HANDS_ROUND:
        yield from _handed_round(before, after)
    elif act in {Act.DECIDE_EXTENSION, Act.CLOSE, Act.REOPEN, "supplemented"}:
        word = _OF_ACT[act]
        if word is Word.EXTENDED and not content.get("granted"):
            return
        facts = {name: content[name] for name in _LEAVES.get(word, ())}
        for unit in dict.fromkeys(after.units):
            yield _for_unit(word, after, unit, facts)


def _handed_round(before: Ticket | None, after: Ticket) -> Iterator[Delivery]:
    had = _parts(before) if before else {}
    has = _parts(after) if after.state is not State.MERGED else {}
    for unit in had:
        if unit not in has:
            yield Delivery(Word.WITHDRAWN, Recipient.UNIT, unit, {})
    for unit, part in has.items():
        if had.get(unit) != part:
            yield _for_unit(Word.DISPATCHED, after, unit, {})


def _parts(ticket: Ticket) -> dict[str, str]:
    lead = ticket.lead.unit if ticket.lead else ""
    return {unit: "lead" if unit == lead else "assist" for unit in ticket.units}


def _for_unit(word: Word, ticket: Ticket, unit: str, facts: Mapping[str, Any]) -> Delivery:
    part = _parts(ticket)[unit]
    payload = {
        "ticket": {
            "state": ticket.state,
            "part": part,
            "due_at": _due_at(ticket, unit if part == "assist" else ""),
        },
        **facts,
    }
    return Delivery(word, Recipient.UNIT, unit, payload)


def _due_at(ticket: Ticket, assisting: str = "") -> str | None:
    """Return when it is to be resolved: by the clock that ends first."""
    owed = ticket.owed(MilestoneKind.RESOLVE, by=assisting)
    ends = min((m.due_at for m in owed), default=None)
    return ends.astimezone(SHANGHAI).isoformat() if ends else None


# What a receiver may know

# Only these give a unit's system the complaint itself; looked up when they are sent.
WITH_COMPLAINT = frozenset({Word.DISPATCHED, Word.REOPENED, Word.SUPPLEMENTED})


def complaint_for(ticket: Ticket, unit: str) -> dict[str, Any] | None:
    """Return what a unit's own system gets of the complaint; None once the unit has it no more."""
    if unit not in ticket.units or ticket.state in FINISHED:
        return None
    told = ticket.complaint
    shielded = is_shielded(told, ticket.route)

    def said(text: str) -> str:
        return unnamed(text, told) if shielded else text

    open_part: dict[str, Any] = {"source_no": "", "contact": None, "attachments": []}
    if not shielded:
        contact = told.contact
        open_part = {
            "source_no": told.source_no,
            "contact": {"name": contact.name, "phone": contact.phone, "gender": contact.gender},
            "attachments": [{"name": a.name, "url": a.url} for a in told.attachments],
        }
    return {
        "channel": told.channel,
        "region": told.region,
        "kind": told.kind,
        "urgency": told.urgency,
        "category": list(told.category),
        "title": said(told.title),
        "content": said(told.content),
        "place": said(told.place),
        "accepted_at": told.accepted_at.astimezone(SHANGHAI).isoformat(),
        "shielded": shielded,
        **open_part,
    }


@dataclass(frozen=True, slots=True)
class Due:
    """A claimed delivery: `attempts` counts this one, and is the term of the claim."""

    id: int
    message: str
    ticket_id: int
    ticket_no: str
    kind: Word
    recipient: Recipient
    unit: str
    destination: str
    payload: Mapping[str, Any]
    attempts: int
    created_at: datetime
    expires_at: datetime


def body(due: Due, ticket: Ticket | None) -> bytes:
    """Return the message as JSON in UTF-8, keys in order, so that the same says itself the same.

    `ticket` is the ticket as it is now, for what tells a unit of the complaint; else None.
    """
    payload = dict(due.payload)
    known = payload.pop("ticket", {})
    content: dict[str, Any] = {
        "sequence": due.id,
        "ticket": {"no": due.ticket_no, **known},
        **payload,
    }
    if due.recipient is Recipient.UNIT and due.kind in WITH_COMPLAINT:
        content["complaint"] = complaint_for(ticket, due.unit) if ticket else None
    document = {
        "type": f"ticket.{due.kind}",
        "timestamp": due.created_at.astimezone(SHANGHAI).isoformat(),
        "data": content,
    }
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return text.encode()


# What follows an attempt

FIRST_S = 2.0
MOST_S = 600.0
ATTEMPTS = 1_000
# The longest that a receiver may ask us to wait (Retry-After).
ASKED_MOST_S = 3_600.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a delivery after an attempt; `next_at` is None at an end."""

    state: DeliveryState
    reason: str
    next_at: datetime | None


def waits_s(attempts: int, draw: Callable[[], float]) -> float:
    """Return how long to wait after so many attempts: exponential, full jitter. `draw` is 0 to 1."""
    return draw() * min(MOST_S, FIRST_S * 2.0 ** min(attempts - 1, 30))


def verdict(
    failed: Unreachable | Refused | None,
    attempts: int,
    expires_at: datetime,
    at: datetime,
    draw: Callable[[], float],
) -> Verdict:
    """Return what becomes of a delivery after its attempt number `attempts`."""
    if failed is None:
        return Verdict(DeliveryState.DELIVERED, "", None)
    wait_s = 0.0 if isinstance(failed, Refused) else max(waits_s(attempts, draw), _asked_s(failed))
    next_at = at + timedelta(seconds=wait_s)
    if isinstance(failed, Refused) or attempts >= ATTEMPTS or next_at >= expires_at:
        return Verdict(DeliveryState.DEAD, failed.reason, None)
    return Verdict(DeliveryState.PENDING, failed.reason, next_at)


def _asked_s(failed: Unreachable) -> float:
    return min(failed.wait_s or 0.0, ASKED_MOST_S)


# Whether a destination is tried at all

OPENS_AFTER = 5
_COOL_FIRST_S = 5.0
_COOL_MOST_S = 60.0


@dataclass(frozen=True, slots=True)
class Breaker:
    """How a destination fares: failures in a row, and until when it is left alone."""

    failures: int = 0
    until: datetime | None = None

    @property
    def probing(self) -> bool:
        """Whether it has failed so often that one delivery at a time is tried."""
        return self.failures >= OPENS_AFTER

    def room(self, at: datetime, flying: int, most: int) -> int:
        """Return how many more may be sent there now, with so many under way."""
        if self.until and at < self.until:
            return 0
        return max(0, (1 if self.probing else most) - flying)

    def after(self, failed: Unreachable | Refused | None, at: datetime) -> "Breaker":
        """Return how it fares after an attempt. A refusal is an answer: somebody is there."""
        if not isinstance(failed, Unreachable):
            return Breaker()
        failures = self.failures + 1
        rest = _asked_s(failed)
        if failures >= OPENS_AFTER:
            rest = max(
                rest, min(_COOL_MOST_S, _COOL_FIRST_S * 2.0 ** min(failures - OPENS_AFTER, 9))
            )
        return Breaker(failures, at + timedelta(seconds=rest) if rest else self.until)
