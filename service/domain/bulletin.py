"""What the monthly bulletin (通报) says of a month: whom it praises and criticises and why, what was
overdue when the month ended, and which matters grew. Values in, values out.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from math import sqrt

from service.domain.calendar import SHANGHAI
from service.domain.complaint import Contact
from service.domain.kpi import WARNED, Rate, Row, is_resolution
from service.domain.lifecycle import Act
from service.domain.personal import masked
from service.domain.policy import Measures
from service.domain.ticket import Event, Level, Milestone, MilestoneKind, Outcome, Stage

# Months


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A month in Asia/Shanghai: `2026-10`."""

    year: int
    number: int

    @classmethod
    def read(cls, text: str) -> "Month | None":
        """Return the month that is written so, None for anything else."""
        found = re.fullmatch(r"([0-9]{4})-(0[1-9]|1[0-2])", text)
        return cls(int(found[1]), int(found[2])) if found and int(found[1]) > 1 else None

    @classmethod
    def of(cls, day: date) -> "Month":
        """Return the month of a day."""
        return cls(day.year, day.month)

    def back(self, months: int) -> "Month":
        """Return the month so many months before."""
        year, number = divmod(self.year * 12 + self.number - 1 - months, 12)
        return Month(year, number + 1)

    @property
    def first(self) -> date:
        """Return its first day."""
        return date(self.year, self.number, 1)

    @property
    def last(self) -> date:
        """Return its last day."""
        return self.back(-1).first - timedelta(1)

    @property
    def label(self) -> str:
        """Return it in Chinese: `2026年10月`."""
        return f"{self.year}年{self.number}月"

    def __str__(self) -> str:
        return f"{self.year:04}-{self.number:02}"


def begins(day: date) -> datetime:
    """Return when a day begins in Asia/Shanghai."""
    return datetime.combine(day, time(), SHANGHAI)


# Whom it praises and criticises


@dataclass(frozen=True, slots=True)
class Rules:
    """When a unit is praised (表扬) or criticised (批评). Rates are shares of 1, `cases` how many a rate
    must rest on. A unit that any rule criticises is not praised."""

    praise_on_time: float = 0.98
    praise_satisfied: float = 0.95
    praise_cases: int = 10
    criticise_on_time: float = 0.85
    criticise_cases: int = 10
    criticise_red: int = 1
    criticise_back_refused: int = 3


class Ground(StrEnum):
    """By which rule a unit is on a list."""

    WELL = "well"  # 按时办结率和满意率均达标
    LATE = "late"  # 按时办结率偏低
    RED = "red"  # 红牌
    BACK_REFUSED = "back_refused"  # 退单未获认可


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a unit is on a list: the rule as it is set, and the figures that meet it, in Chinese."""

    ground: Ground
    rule: str
    figures: str


@dataclass(frozen=True, slots=True)
class Named:
    """A unit on a list, with what it was called before, and every reason."""

    unit: str
    name: str
    names: tuple[str, ...]
    reasons: tuple[Reason, ...]


def told_rules(rules: Rules) -> dict[Ground, str]:
    """Return each rule as a sentence."""
    return {
        Ground.WELL: (
            f"按时办结率不低于 {_percent(rules.praise_on_time)} 且满意率不低于"
            f" {_percent(rules.praise_satisfied)}，两项各不少于 {rules.praise_cases} 件"
        ),
        Ground.LATE: (
            f"按时办结率低于 {_percent(rules.criticise_on_time)}，"
            f"应办结的不少于 {rules.criticise_cases} 件"
        ),
        Ground.RED: f"当月红牌达到 {rules.criticise_red} 次",
        Ground.BACK_REFUSED: f"当月退单后仍派回本单位达到 {rules.criticise_back_refused} 次",
    }


def lists(
    rows: Iterable[Row], red: Mapping[str, int], refused: Mapping[str, int], rules: Rules
) -> tuple[list[Named], list[Named]]:
    """Return who is praised and who is criticised, of the units that have a row; `red` cards and
    `refused` send-backs by the row's key. The best and the worst come first."""
    said = told_rules(rules)
    praised: list[tuple[tuple[float, ...], Named]] = []
    criticised: list[tuple[tuple[float, ...], Named]] = []
    order: tuple[float, ...]
    for row in rows:
        if not row.key:
            continue
        on_time, satisfied = row.rates.get("on_time"), row.rates.get("satisfied")
        bad: list[Reason] = []
        if n := _at_least(red.get(row.key, 0), rules.criticise_red):
            bad.append(Reason(Ground.RED, said[Ground.RED], f"红牌 {n} 次"))
        if (
            on_time
            and on_time.value is not None
            and on_time.denominator >= rules.criticise_cases
            and on_time.value < rules.criticise_on_time
        ):
            bad.append(Reason(Ground.LATE, said[Ground.LATE], f"按时办结率 {_counted(on_time)}"))
        if n := _at_least(refused.get(row.key, 0), rules.criticise_back_refused):
            bad.append(Reason(Ground.BACK_REFUSED, said[Ground.BACK_REFUSED], f"{n} 次"))
        share = on_time.value if on_time and on_time.value is not None else 1.0
        if bad:
            order = (-red.get(row.key, 0), share)
            criticised.append((order, Named(row.key, row.name, row.names, tuple(bad))))
        elif _meets(on_time, rules.praise_on_time, rules.praise_cases) and _meets(
            satisfied, rules.praise_satisfied, rules.praise_cases
        ):
            assert on_time
            assert satisfied
            figures = f"按时办结率 {_counted(on_time)}，满意率 {_counted(satisfied)}"
            why = Reason(Ground.WELL, said[Ground.WELL], figures)
            order = (-share, -(satisfied.value or 0), -on_time.denominator)
            praised.append((order, Named(row.key, row.name, row.names, (why,))))
    return (
        [named for _, named in sorted(praised, key=_order)],
        [named for _, named in sorted(criticised, key=_order)],
    )


def _order(each: tuple[tuple[float, ...], Named]) -> tuple[tuple[float, ...], str]:
    return each[0], each[1].unit


def _at_least(count: int, least: int) -> int:
    return count if count >= least else 0


def _meets(rate: Rate | None, share: float, cases: int) -> bool:
    return bool(
        rate and rate.value is not None and rate.denominator >= cases and rate.value >= share
    )


def _counted(rate: Rate) -> str:
    return f"{_percent(rate.value or 0)}（{rate.numerator}/{rate.denominator}）"


def _percent(share: float) -> str:
    return f"{share * 100:.2f}".rstrip("0").rstrip(".") + "%"


# What was overdue when the month ended


class Why(StrEnum):
    """Why a ticket is on the list of late ones."""

    OVERDUE = "overdue"  # 期末仍超期
    CARDED = "carded"  # 当月被亮牌, and done since


@dataclass(frozen=True, slots=True)
class Card:
    """A yellow or red card that a ticket got: by time, or from a person."""

    level: Level
    at: datetime
    unit: str


@dataclass(frozen=True, slots=True)
class Late:
    """What of a ticket was overdue at a time, or was carded in the month and ended before.

    `unit` is whom it pressed then, "" for the office that sorts; `due_at` since when it was overdue,
    None for what no longer was. `assisting` is the part of an assisting unit (协办).
    """

    kind: MilestoneKind
    unit: str
    due_at: datetime | None
    stage: Stage
    why: Why
    assisting: bool = False


_CARDS: Mapping[str | None, Level] = {Measures.YELLOW: Level.YELLOW, Measures.RED: Level.RED}
_GIVEN: Mapping[str, Level] = {Level.YELLOW: Level.YELLOW, Level.RED: Level.RED}
_STAGES = list(Stage)
_STAGE_OF = {Level.YELLOW: Stage.YELLOW, Level.RED: Stage.RED}
_MOVES = frozenset({Act.DISPATCH, Act.RULE, Act.SEND_BACK})


def cards(
    events: Sequence[Event], lead: str, since: datetime, until: datetime, *, by_time: bool = True
) -> list[Card]:
    """Return the cards that a ticket was given from `since` on and before `until`, each once; those
    of persons alone unless `by_time` ones too. One that was due while nobody looked was given later.

    `events` are its history in order; `lead` is who has it today, which a person's card pressed
    unless it was moved since.
    """
    found: dict[Card, None] = {}
    for n, event in enumerate(events):
        if not since <= _noticed(event) < until:
            continue
        if event.act == "stage" and by_time:
            level, unit = _CARDS.get(event.content["measure"]), event.unit
        elif event.act == Act.SUPERVISE:
            level = _GIVEN.get(event.content["level"])
            unit = event.unit or _had(events[:n], events[n + 1 :], lead)
        else:
            continue
        if level:
            found[Card(level, event.at, unit)] = None
    return list(found)


def overdue(
    milestones: Sequence[Milestone], events: Sequence[Event], until: datetime
) -> list[Late]:
    """Return what of a ticket was overdue at `until`, whatever became of it since.

    Of two clocks for the same thing the governing one, as in the rates. A clock to resolve that was
    handed from unit to unit is one clock: who had it then, the history says. A clock that was met
    has the time in it; one that ended otherwise ended with an act. A due date that was moved since
    counts as it lies now.
    """
    found = []
    for rows in _clocks(milestones):
        m = rows[-1]
        if not m.governing or m.due_at >= until:
            continue
        steps = _steps(m, {row.unit for row in rows}, events)
        if not _was_open(m, steps, events, until) or _began_later(rows[0], steps, events, until):
            continue
        unit = m.unit
        after = [e for e in events if e.at >= until]
        if _is_handed_on(m) and any(e.act in _MOVES for e in after):
            unit = _had([e for e in events if e.at < until], after, rows[0].unit)
        stages = [Stage(e.content["stage"]) for e in steps if _noticed(e) < until]
        if _is_handed_on(m):
            given = cards(events, "", m.started_at, until, by_time=False)
            stages += [_STAGE_OF[card.level] for card in given]
        stage = max((Stage.OVERDUE, *stages), key=_STAGES.index)
        found.append(Late(m.kind, unit, m.due_at, stage, Why.OVERDUE, m.assisting))
    return found


def _is_handed_on(m: Milestone) -> bool:
    """Whether a clock goes with its ticket from unit to unit, and is not begun anew."""
    return m.kind is MilestoneKind.RESOLVE and not m.assisting


def _clocks(milestones: Sequence[Milestone]) -> list[list[Milestone]]:
    """Return the milestones that are one clock together, in the order of their making."""
    found: dict[object, list[Milestone]] = {}
    for n, m in enumerate(milestones):
        found.setdefault((m.clock, m.redo) if _is_handed_on(m) else n, []).append(m)
    return list(found.values())


def _steps(m: Milestone, units: set[str], events: Sequence[Event]) -> list[Event]:
    """Return the steps of a clock in its ticket's history."""
    return [
        e
        for e in events
        if e.act == "stage"
        and e.unit in units
        and e.content["milestone"] == m.kind
        and e.content["clock"] == m.clock
        and datetime.fromisoformat(e.content["due_at"]) == m.due_at
    ]


def _was_open(
    m: Milestone, steps: Sequence[Event], events: Sequence[Event], until: datetime
) -> bool:
    """Whether a clock that is past its due time was still open at `until`."""
    if m.outcome is None:
        # One that stands still (挂起) has time ahead of it, and had it then.
        return m.next_at is not None or m.done > WARNED
    if m.outcome in {Outcome.ON_TIME, Outcome.LATE}:
        return m.met_at is not None and m.met_at >= until
    # One that was given to the same unit again has a twin with the same due time, and its steps.
    late = next((e for e in steps if e.at >= m.due_at), None)
    if late is None or m.stage in {Stage.NORMAL, Stage.WARN}:
        return False
    ended = next((e for e in events if e.id > late.id and _ends(m, e)), None)
    return ended is None or ended.at >= until


def _began_later(
    first: Milestone, steps: Sequence[Event], events: Sequence[Event], until: datetime
) -> bool:
    """Whether a clock came to be after `until` with a due time before: by the first dispatch of what
    nobody had to answer till then, counted from its receipt."""
    given = next((e for e in events if e.act in _MOVES and e.content.get("unit")), None)
    return (
        given is not None
        and given.at >= until
        and given.content["unit"] == first.unit
        and all(_noticed(e) >= until for e in steps)
    )


def _noticed(event: Event) -> datetime:
    """Return when an event was written down: a step of time has its due time besides."""
    return max(
        event.at, datetime.fromisoformat(event.content.get("noticed_at") or event.at.isoformat())
    )


def _ends(m: Milestone, event: Event) -> bool:
    """Whether a clock that was not met may have ended with this event."""
    if event.act in _MOVES:
        return not _is_handed_on(m)
    return event.act in {Act.MERGE, Act.REOPEN, Act.CLOSE} or is_resolution(event)


def _had(before: Sequence[Event], after: Sequence[Event], otherwise: str) -> str:
    """Return the unit that a ticket was with between two parts of its history, "" for the office
    that sorts."""
    moved = next((e for e in reversed(before) if e.act in _MOVES), None)
    if moved:
        return "" if moved.act == Act.SEND_BACK else str(moved.content.get("unit") or "")
    first = next((e for e in after if e.act in _MOVES), None)
    return first.unit if first and first.act == Act.SEND_BACK else otherwise


def with_cards(
    late: Sequence[Late], carded: Sequence[Card], milestones: Sequence[Milestone]
) -> list[tuple[Late, list[Card]]]:
    """Return the lines that a list has of a ticket: what its lead was late with, and who was carded;
    each card stands with the unit that got it. The rates count the lead, so an assisting unit that
    is late is a line only if it was carded."""
    found: list[tuple[Late, list[Card]]] = [(each, []) for each in late if not each.assisting]
    for unit in dict.fromkeys(card.unit for card in carded):
        pressed = [card for card in carded if card.unit == unit]
        owed = [each for each in late if each.kind is MilestoneKind.RESOLVE and each.unit == unit]
        line = next((one for one in found if one[0] in owed), None)
        if line:
            line[1].extend(pressed)
        elif owed:
            found.append((owed[0], pressed))
        else:
            helps = any(m.assisting and m.unit == unit for m in milestones)
            stage = _STAGE_OF[pressed[-1].level]
            over = Late(MilestoneKind.RESOLVE, unit, None, stage, Why.CARDED, helps)
            found.append((over, pressed))
    return found


def worst(late: Sequence[Late], carded: Sequence[Card]) -> Stage:
    """Return the worst stage that a ticket came to in the month."""
    stages = [*(each.stage for each in late), *(_STAGE_OF[each.level] for each in carded)]
    return max(stages, key=_STAGES.index, default=Stage.NORMAL)


def public_title(title: str, contact: Contact, *, confidential: bool) -> str:
    """Return a title that a bulletin may print: no number, no card, no plate, of the complainant's
    name the first character; of a confidential (保密) ticket none at all."""
    if confidential:
        return "（保密件，标题不公开）"
    if len(contact.name) > 1:
        title = title.replace(contact.name, contact.masked().name)
    return masked(title) or "（无标题）"


# Which matters grew

# A matter needs so many tickets in the month, so many times what was to be expected, and a score so
# high that chance seldom gives it; and so many whole months to compare with.
HOT_CASES, HOT_RATIO, HOT_SCORE = 5, 1.5, 3.0
LEAST_MONTHS, MOST_MONTHS = 3, 12


@dataclass(frozen=True, slots=True)
class Growth:
    """How much a matter grew: `count` tickets against `expected` ones; `score` in standard deviations."""

    count: int
    expected: float
    score: float

    @property
    def ratio(self) -> float | None:
        """Return how many times what was to be expected, None where nothing was."""
        return self.count / self.expected if self.expected else None

    @property
    def is_hot(self) -> bool:
        """Whether it grew more than chance explains."""
        return (
            self.count >= HOT_CASES
            and self.count >= HOT_RATIO * self.expected
            and self.score >= HOT_SCORE
        )


def growth(count: int, days: float, before: Sequence[tuple[int, float]]) -> Growth | None:
    """Return how a matter of `count` tickets in `days` days compares with the months `before`, each
    with its tickets and days; None with fewer than three of them.

    Expected is the mean rate of these months for as many days. The score compares square roots,
    which have the same spread whatever the rate (Anscombe): 2 (√(n+⅜) − √(e+⅜)) over √(φ (1 + d/D)),
    D being the days compared with. φ is how much more than by chance (Poisson) the months before
    spread, at least 1: a matter that jumps every month must jump higher.
    """
    if len(before) < LEAST_MONTHS:
        return None
    of_days = sum(d for _, d in before)
    per_day = sum(n for n, _ in before) / of_days
    expected = per_day * days
    spread = 1.0
    if per_day:
        squares = sum((n - per_day * d) ** 2 / (per_day * d) for n, d in before)
        spread = max(1.0, squares / (len(before) - 1))
    rise = 2 * (sqrt(count + 3 / 8) - sqrt(expected + 3 / 8))
    return Growth(count, expected, rise / sqrt(spread * (1 + days / of_days)))


def common(lists_of_words: Iterable[Iterable[str]], most: int) -> tuple[str, ...]:
    """Return the words that most lists have, those of several lists alone, the most frequent first."""
    counted = Counter(word for words in lists_of_words for word in set(words))
    order = sorted((-n, word) for word, n in counted.items() if n > 1)
    return tuple(word for _, word in order[:most])
