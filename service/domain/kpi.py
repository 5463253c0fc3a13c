"""The rates (考核指标) as tables: what is counted of a ticket, and which counts make which rate.

Two functions say what counts. `stands` counts a ticket as it stands now: its state, its review, its
clocks. `happened` counts an event, given what happened to the ticket before. Both give cells: a day,
a unit and a measure, each on the day that it belongs to and not on the day of writing. A rate is two
sums of measures (`RATES`); the API, the command line and docs/rates.md are made of that table.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from math import ceil, sqrt
from typing import Any, NamedTuple, Protocol

from service.domain.calendar import SHANGHAI
from service.domain.complaint import Review
from service.domain.lifecycle import Act, State
from service.domain.ticket import MilestoneKind, Outcome, Ticket

# What is counted


class Cell(NamedTuple):
    """Where something is counted: the day that it belongs to, in Asia/Shanghai, whom it counts for
    ("" while no unit has it), and what it is."""

    day: date
    unit: str
    measure: str


Counts = Counter[Cell]


def day_of(at: datetime) -> date:
    """Return the day of a time in Asia/Shanghai, whatever zone it is written in."""
    return at.astimezone(SHANGHAI).date()


@dataclass(frozen=True, slots=True)
class Owed:
    """A clock as it counts: one for each thing that is owed, against the unit that answers for it.

    `held` is an open one that stands still (挂起): it has time ahead of it, whatever its date says.
    """

    kind: MilestoneKind
    unit: str
    due_on: date
    outcome: Outcome | None
    held: bool = False


# A clock that has no next step and no more than its warning behind it was stopped (挂起).
WARNED = 1


@dataclass(frozen=True, slots=True)
class Case:
    """All of a ticket that counts as it stands. `review` is the grade of a 好差评, 0 for one that the
    system gave by default, None for what is no review; `unworked` what is only counted."""

    state: State
    received_on: date
    lead: str
    review: int | None
    unworked: bool
    owed: tuple[Owed, ...]

    @classmethod
    def of(cls, ticket: Ticket) -> "Case":
        """Return what counts of a ticket."""
        owed = (
            Owed(
                m.kind,
                m.answers or m.unit,
                day_of(m.due_at),
                m.outcome,
                held=m.is_open and m.next_at is None and m.done <= WARNED,
            )
            for m in ticket.milestones
            # Of our clock and the sender's one counts, and what assists is part of the lead's.
            if m.governing and not m.assisting
        )
        return cls(
            state=ticket.state,
            received_on=day_of(ticket.received_at),
            lead=ticket.lead.unit if ticket.lead else "",
            review=graded(ticket.complaint.review),
            unworked=ticket.is_counted_only,
            owed=tuple(owed),
        )


def graded(review: Review | None) -> int | None:
    """Return a review's grade as `Case.review` has it."""
    if review is None:
        return None
    return 0 if review.system_default else review.rating


UNWORKED = "stand_counted"
VOID = "review_void"  # a review that was not accepted: 不合理评价
_BAD = (1, 2)
RECTIFY = "rectify"  # 整改: what is owed for a bad review


def stands(case: Case) -> Counts:
    """Return what a ticket counts as, as it stands: the sum over all tickets is what there is."""
    found: Counts = Counter()
    standing = UNWORKED if case.unworked else f"stand_{case.state}"
    found[Cell(case.received_on, case.lead, standing)] += 1
    if case.review is not None:
        said = VOID if case.state is State.NOT_ACCEPTED else f"review_{case.review}"
        found[Cell(case.received_on, case.lead, said)] += 1
    for clock in case.owed:
        if clock.outcome is Outcome.WITHDRAWN:
            continue
        status = clock.outcome or ("held" if clock.held else "open")
        found[Cell(clock.due_on, clock.unit, f"{clock.kind}_{status}")] += 1
        if clock.kind is MilestoneKind.RESOLVE and case.review in _BAD:
            found[Cell(clock.due_on, clock.unit, f"{RECTIFY}_{status}")] += 1
    return found


def arrived(case: Case, decision: str) -> Counts:
    """Return what the arrival of a ticket counts as; `decision` is what it is stored under."""
    return Counter({Cell(case.received_on, "", f"received_{decision}"): 1})


def difference(after: Counts, before: Counts) -> Counts:
    """Return what must be added to one count to get another."""
    changed = Counter(after)
    changed.subtract(before)
    return Counter({cell: n for cell, n in changed.items() if n})


class Told(Protocol):
    """Of an event what counts."""

    @property
    def act(self) -> str:
        """What was done."""
        ...

    @property
    def at(self) -> datetime:
        """When."""
        ...

    @property
    def unit(self) -> str:
        """Whom it concerns."""
        ...

    @property
    def content(self) -> Mapping[str, Any]:
        """What it carried."""
        ...


def happened(event: Told, before: Sequence[Told]) -> Counts:
    """Return what an event counts as, after all that happened to its ticket `before`, in order."""
    found: Counts = Counter()
    reading = _READ.get(event.act)
    for day, unit, measure, n in reading(event, before) if reading else ():
        found[Cell(day, unit, measure)] += n
    return Counter({cell: n for cell, n in found.items() if n})


_One = tuple[date, str, str, int]
_GIVES = frozenset({Act.DISPATCH, Act.RULE})


def _given(event: Told, before: Sequence[Told]) -> Iterator[_One]:
    """派单: to whom, whether it was the first one, and what becomes of the one before."""
    unit, on = event.content.get("unit") or "", day_of(event.at)
    if not unit:
        return  # an imported one, to a unit that the table does not have
    yield on, unit, "dispatched", 1
    earlier = [e for e in before if e.act in _GIVES and e.content.get("unit")]
    # A ticket that came with its unit was given to it by nobody here: its event says who had it.
    had = earlier[-1].content["unit"] if earlier else event.unit or unit
    moves = [e for e in before if e.act in _GIVES or e.act == Act.SEND_BACK]
    if moves and moves[-1].act == Act.SEND_BACK:
        back = moves[-1].unit
        yield on, back, "back_refused" if unit == back else "back_upheld", 1
    if not earlier and had == unit:
        yield on, unit, "first_right", 1
    elif had != unit:
        yield on, had, "redispatched", 1
        first = earlier[0] if earlier else None
        # What was not the first one here never counted as right.
        if (
            first
            and (first.unit or had) == first.content["unit"]
            and all(e.content["unit"] == first.content["unit"] for e in earlier)
        ):
            yield day_of(first.at), first.content["unit"], "first_right", -1
            yield day_of(first.at), first.content["unit"], "first_wrong", 1


def _sent_back(event: Told, before: Sequence[Told]) -> Iterator[_One]:
    """退单: on the day of the dispatch that is sent back, so that no rate is above one."""
    given = [e for e in before if e.act in _GIVES]
    yield day_of(given[-1].at if given else event.at), event.unit, "sent_back", 1


def is_resolution(event: Told) -> bool:
    """Whether the lead resolved the ticket, and no assisting unit its part (反馈)."""
    content = event.content
    return event.act == Act.RESOLVE and ("working_s" in content or "unit_written" in content)


def _resolved(event: Told, before: Sequence[Told]) -> Iterator[_One]:
    if not is_resolution(event):
        return
    on, unit = day_of(event.at), event.unit
    yield on, unit, "resolved", 1
    work = _since_resolution(before)
    # Each of these events names the unit that had the ticket, or the one that got it, or both.
    passed = [e for e in work if e.act in _GIVES or e.act == Act.SEND_BACK]
    held = {e.unit for e in passed} | {e.content.get("unit") for e in passed}
    if len(held - {None, ""}) > 1:
        yield on, unit, "resolved_moved", 1
    if any(e.act == Act.DECIDE_EXTENSION and e.content.get("granted") for e in work):
        yield on, unit, "resolved_extended", 1
    worked_s = event.content.get("working_s")
    if worked_s is not None:
        yield on, unit, f"worked_{bisect_left(BOUNDS_S, worked_s):03}", 1
        yield on, unit, WORKED_S, worked_s


def _since_resolution(before: Sequence[Told]) -> Sequence[Told]:
    last = max((n for n, e in enumerate(before) if is_resolution(e)), default=-1)
    return before[last + 1 :]


def _called(event: Told, before: Sequence[Told]) -> Iterator[_One]:
    """回访: every call, and of each resolution one answer: the last one that the citizen gave."""
    on = day_of(event.at)
    yield on, event.unit, f"call_{_said(event)}", 1
    calls = [e for e in _since_resolution(before) if e.act == Act.CALL_BACK]
    was, now = _answer(calls), _answer([*calls, event])
    if was is not now:
        if was is not None:
            yield day_of(was.at), was.unit, _answered(was), -1
        if now is not None:
            yield day_of(now.at), now.unit, _answered(now), 1


_SOLVED: Mapping[bool | None, str] = {True: "yes", False: "no", None: "none"}


def _said(call: Told) -> str:
    solved = _SOLVED[call.content.get("solved")]
    return f"{solved}_{call.content.get('grade') or 0}"


def _answer(calls: Sequence[Told]) -> Told | None:
    reached = [e for e in calls if e.content.get("reached") is not False]
    last = (reached or calls)[-1:]
    return last[0] if last else None


def _answered(call: Told) -> str:
    reached = call.content.get("reached") is not False
    return f"answer_{_said(call)}" if reached else UNREACHED


UNREACHED = "answer_unreached"


def _reopened(event: Told, before: Sequence[Told]) -> Iterator[_One]:
    """重办: on the day of the resolution that did not hold, against who answered first."""
    ends = [e for e in before if is_resolution(e)]
    unit = event.content.get("counts_against") or event.unit
    yield day_of(ends[-1].at if ends else event.at), unit, "redone", 1


def _decided(event: Told, _before: Sequence[Told]) -> Iterator[_One]:
    granted = "granted" if event.content.get("granted") else "refused"
    yield day_of(event.at), event.unit, f"extension_{granted}", 1


def _closed(event: Told, _before: Sequence[Told]) -> Iterator[_One]:
    yield day_of(event.at), event.unit, "closed", 1


_READ: Mapping[str, Callable[[Told, Sequence[Told]], Iterator[_One]]] = {
    Act.DISPATCH: _given,
    Act.RULE: _given,
    Act.SEND_BACK: _sent_back,
    Act.DECIDE_EXTENSION: _decided,
    Act.RESOLVE: _resolved,
    Act.CALL_BACK: _called,
    Act.CLOSE: _closed,
    Act.REOPEN: _reopened,
}
# The acts that count, or that later ones are counted by; and those that need no look back.
COUNTED = frozenset(_READ)
ALONE = frozenset({Act.DECIDE_EXTENSION, Act.CLOSE})

# How long it took

HOUR_S, WORKDAY_S = 3_600, 25_200  # a working day of seven hours
# Working time to a resolution is counted in steps: half an hour within the first working day, an
# hour within three, half a day within fifteen, a day within sixty. A percentile lies in one step.
BOUNDS_S = (
    *range(HOUR_S // 2, WORKDAY_S + 1, HOUR_S // 2),
    *range(WORKDAY_S + HOUR_S, 3 * WORKDAY_S + 1, HOUR_S),
    *range(7 * WORKDAY_S // 2, 15 * WORKDAY_S + 1, WORKDAY_S // 2),
    *range(16 * WORKDAY_S, 60 * WORKDAY_S + 1, WORKDAY_S),
)
WORKED_S = "worked_s"
STEPS = tuple(f"worked_{n:03}" for n in range(len(BOUNDS_S) + 1))


@dataclass(frozen=True, slots=True)
class Percentile:
    """A percentile of working seconds: no less than `above_s`, no more than `within_s`, which is None
    beyond sixty working days; `about_s` lies between, as if the step were filled evenly."""

    about_s: int
    above_s: int
    within_s: int | None


@dataclass(frozen=True, slots=True)
class Worked:
    """How long resolutions took in working seconds, without pauses; None where there was none."""

    count: int
    mean_s: int | None = None
    median: Percentile | None = None
    p90: Percentile | None = None


def worked(found: Mapping[str, int]) -> Worked:
    """Return how long the counted resolutions took; the mean is exact, percentiles to a step."""
    steps = [found.get(step, 0) for step in STEPS]
    count = sum(steps)
    if count <= 0:
        return Worked(0)
    return Worked(
        count,
        round(found.get(WORKED_S, 0) / count),
        _percentile(steps, count, 0.5),
        _percentile(steps, count, 0.9),
    )


def _percentile(steps: Sequence[int], count: int, share: float) -> Percentile:
    """Return the percentile by nearest rank: the value of the n-th shortest, n = share × count
    rounded up."""
    rank = max(1, ceil(share * count))
    passed = 0
    for n, held in enumerate(steps):
        if passed + held >= rank:
            low = BOUNDS_S[n - 1] if n else 0
            if n == len(BOUNDS_S):
                return Percentile(low, low, None)
            about = low + (BOUNDS_S[n] - low) * (rank - passed) / held
            return Percentile(round(about), low, BOUNDS_S[n])
        passed += held
    msg = "a rank beyond the count"
    raise AssertionError(msg)


# The rates


class Better(StrEnum):
    """Which end of a rate comes first in a ranking."""

    HIGH = "high"  # 越高越好
    LOW = "low"  # 越低越好


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What a rate leaves out: a reason in ASCII, in Chinese, and the measures that count it."""

    reason: str
    label: str
    measures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Definition:
    """A rate: `counts` over `of`, each a sum of measures; texts in Chinese.

    `numerator`, `denominator` and `day` (the day that a case belongs to) say it in words, `source`
    where the definition is from.
    """

    id: str
    name: str
    numerator: str
    denominator: str
    day: str
    counts: tuple[str, ...]
    of: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    better: Better
    source: str

    @property
    def measures(self) -> tuple[str, ...]:
        """Return every measure that it is made of."""
        left = (measure for each in self.left_out for measure in each.measures)
        return tuple(dict.fromkeys((*self.of, *self.counts, *left)))


_IN_HAND = ("stand_received", "stand_sorting", "stand_dispatched", "stand_signed", "stand_paused")
_DONE = ("stand_resolved", "stand_closed")
_GRADES = (1, 2, 3, 4, 5)


def _calls(solved: Iterable[str], grades: Iterable[int]) -> tuple[str, ...]:
    return tuple(f"answer_{s}_{g}" for s in solved for g in grades)


_NOT_ACCEPTED = LeftOut("not_accepted", "不予受理", ("stand_not_accepted",))
_REFERRED = LeftOut("referred", "转紧急专线", ("stand_referred",))
_UNWORKED = LeftOut("unworked", "好评和系统默认评价，无需办理", (UNWORKED,))
_UNREACHED = LeftOut("unreached", "回访未联系上", (UNREACHED,))
_UNREASONABLE = LeftOut("unreasonable", "不合理评价，未予受理", (VOID,))


def _clock_rate(
    rate: str,
    name: str,
    kind: str,
    done: str,
    owed: str,
    source: str,
    *,
    late_counts: bool = False,
    also: tuple[LeftOut, ...] = (),
) -> Definition:
    """Return a rate of what was owed by a day: all that fell due, and what was not done by then is
    no less owed for still being open."""
    met = (f"{kind}_on_time", f"{kind}_late") if late_counts else (f"{kind}_on_time",)
    ends = ("on_time", "late", "missed", "overdue")
    return Definition(
        id=rate,
        name=name,
        numerator=done,
        denominator=owed,
        day="到期日",
        counts=met,
        of=tuple(f"{kind}_{end}" for end in ends),
        left_out=(
            LeftOut("within_limit", "尚在时限内", (f"{kind}_open",)),
            LeftOut("paused", "挂起中", (f"{kind}_held",)),
            *also,
        ),
        better=Better.HIGH,
        source=source,
    )


_OWN = "本系统口径；各地公布数未附定义"
RATES: Mapping[str, Definition] = {
    each.id: each
    for each in (
        Definition(
            id="completion",
            name="办结率",
            numerator="已办结、已结案的工单，和不予受理的",
            denominator="受理的全部工单",
            day="受理日",
            counts=(*_DONE, "stand_not_accepted"),
            of=(*_IN_HAND, *_DONE, "stand_not_accepted"),
            left_out=(
                LeftOut("merged", "并单，由所并入的工单计", ("stand_merged",)),
                _REFERRED,
                _UNWORKED,
            ),
            better=Better.HIGH,
            source="高安市 2022 年 9 月：（1821＋98）÷2381，退回不受理的 98 件计为办结",
        ),
        _clock_rate(
            "on_time",
            "按时办结率",
            "resolve",
            "时限内办结的",
            "期内到期应办结的，含超期未办结的；重办另计一次",
            _OWN,
        ),
        _clock_rate(
            "sign", "及时签收率", "sign", "时限内签收的", "期内到期应签收的，含超期未签收的", _OWN
        ),
        _clock_rate(
            "contact",
            "首次联系率",
            "contact",
            "时限内联系诉求人的",
            "期内到期应联系的，含超期未联系和未联系即办结的",
            "即响应率；诉求人未留电话或要求保密的，承办单位不负联系之责，不在其内",
        ),
        Definition(
            id="solved",
            name="解决率",
            numerator="诉求人认为已解决的",
            denominator="回访中就是否解决作答的；每次办结计最后一次作答",
            day="回访日",
            counts=_calls(("yes",), (0, *_GRADES)),
            of=_calls(("yes", "no"), (0, *_GRADES)),
            left_out=(
                _UNREACHED,
                LeftOut("unanswered", "联系上但未就此作答", _calls(("none",), (0, *_GRADES))),
            ),
            better=Better.HIGH,
            source="高安市 2023 年 10 月：1273÷1774，分母为参评数而非办结数 1833；丰城市 2025 年 5 月：3112÷3456",
        ),
        Definition(
            id="satisfied",
            name="满意率",
            numerator="评为基本满意及以上（3 至 5 分）的",
            denominator="回访中评分的，和好差评的评价",
            day="回访日；好差评为受理日",
            counts=(
                *_calls(("yes", "no", "none"), (3, 4, 5)),
                *(f"review_{g}" for g in (3, 4, 5)),
            ),
            of=(
                *_calls(("yes", "no", "none"), _GRADES),
                *(f"review_{g}" for g in _GRADES),
            ),
            left_out=(
                _UNREACHED,
                LeftOut("unrated", "联系上但未评分", _calls(("yes", "no", "none"), (0,))),
                LeftOut("system_default", "系统默认评价", ("review_0",)),
                _UNREASONABLE,
            ),
            better=Better.HIGH,
            source="国办发〔2019〕51号：五级中后两级为差评",
        ),
        _clock_rate(
            "called_back",
            "回访率",
            "call_back",
            "已回访的，不论是否按时",
            "期内到期应回访的，含超期未回访的；计回访单位",
            _OWN,
            late_counts=True,
        ),
        Definition(
            id="sent_back",
            name="退单率",
            numerator="派出后被退回的",
            denominator="派给单位的，改派和裁定每次另计",
            day="派单日",
            counts=("sent_back",),
            of=("dispatched",),
            left_out=(),
            better=Better.LOW,
            source=_OWN,
        ),
        Definition(
            id="first_right",
            name="首派准确率",
            numerator="首次派单后没有换过主办单位的",
            denominator="首次派单的",
            day="首次派单日",
            counts=("first_right",),
            of=("first_right", "first_wrong"),
            left_out=(_NOT_ACCEPTED, _REFERRED),
            better=Better.HIGH,
            source=_OWN,
        ),
        Definition(
            id="redispatched",
            name="重派率",
            numerator="办结前换过主办单位的",
            denominator="办结的",
            day="办结日",
            counts=("resolved_moved",),
            of=("resolved",),
            left_out=(),
            better=Better.LOW,
            source="高安市 2023 年 10 月：15÷1833，分母为办结数",
        ),
        Definition(
            id="redone",
            name="重办率",
            numerator="办结后重办的，计首个答复的单位",
            denominator="办结的",
            day="所重办的那次办结日",
            counts=("redone",),
            of=("resolved",),
            left_out=(),
            better=Better.LOW,
            source=_OWN,
        ),
        Definition(
            id="extended",
            name="延期率",
            numerator="办结前获准延期的",
            denominator="办结的",
            day="办结日",
            counts=("resolved_extended",),
            of=("resolved",),
            left_out=(),
            better=Better.LOW,
            source=_OWN,
        ),
        Definition(
            id="repeated",
            name="重复诉求率",
            numerator="并入其他工单的",
            denominator="受理并交办的",
            day="受理日",
            counts=("stand_merged",),
            of=(*_IN_HAND, *_DONE, "stand_merged"),
            left_out=(_NOT_ACCEPTED, _REFERRED, _UNWORKED),
            better=Better.LOW,
            source="国办函〔2025〕66号：重复诉求并单办理",
        ),
        _clock_rate(
            "rectified",
            "差评整改率",
            RECTIFY,
            "差评已整改办结的，不论是否按时",
            "期内到期应整改的差评，含超期未整改的",
            "国办发〔2019〕51号；该文没有规定天数，时限按时限表",
            late_counts=True,
            also=(_UNREASONABLE,),
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate as counted: what makes it up, what was left out by reason, and where it lies with a
    confidence of 95 % (Wilson). `value` is None where nothing counts; `rank` where it is not ranked.
    """

    id: str
    numerator: int
    denominator: int
    left_out: tuple[tuple[LeftOut, int], ...] = ()
    rank: int | None = None

    @property
    def value(self) -> float | None:
        """Return the rate, 0 to 1."""
        return self.numerator / self.denominator if self.denominator > 0 else None

    def ranked(self, rank: int | None) -> "Rate":
        """Return the same with its rank."""
        # Some thousands a report, and `replace` takes three times as long.
        return Rate(self.id, self.numerator, self.denominator, self.left_out, rank)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Return the confidence interval, None where there is none."""
        return wilson(self.numerator, self.denominator)


_Z = 1.959963984540054  # 95 %


def wilson(numerator: int, denominator: int) -> tuple[float, float] | None:
    """Return the 95 % Wilson score interval of a proportion.

    None where nothing counts, and where more is counted than it is a share of: several redos of one
    resolution count against the unit that answered first.
    """
    n = denominator
    if n <= 0 or not 0 <= numerator <= n:
        return None
    share, z2 = numerator / n, _Z * _Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # The rate lies within, also where rounding says otherwise.
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def rate(definition: Definition, found: Mapping[str, int]) -> Rate:
    """Return a rate from measures."""
    left = tuple((each, _total(found, each.measures)) for each in definition.left_out)
    return Rate(definition.id, _total(found, definition.counts), _total(found, definition.of), left)


def _total(found: Mapping[str, int], measures: Iterable[str]) -> int:
    # A list takes half as long as a generator, and every unit has a dozen of these.
    return sum([found.get(measure, 0) for measure in measures])


@dataclass(frozen=True, slots=True)
class Weights:
    """How the 三率 score weighs: response (响应), satisfaction (满意), solution (解决), and what
    基本满意 counts of 满意. The defaults are one hotline's; places differ."""

    response: float = 0.1
    satisfied: float = 0.4
    solved: float = 0.5
    basically: float = 0.9


def score(found: Mapping[str, int], weights: Weights) -> float | None:
    """Return the 三率 score, 0 to 1: 响应 × 0.1 + (满意 + 0.9 × 基本满意) × 0.4 + 解决 × 0.5 with the
    default weights; None where one of the three has nothing to count."""
    response = rate(RATES["contact"], found).value
    solved = rate(RATES["solved"], found).value
    rated = rate(RATES["satisfied"], found)
    if response is None or solved is None or not rated.denominator:
        return None
    basically = _total(found, (*_calls(("yes", "no", "none"), (3,)), "review_3"))
    well = rated.numerator - basically + weights.basically * basically
    return (
        weights.response * response
        + weights.satisfied * well / rated.denominator
        + weights.solved * solved
    )


def ranks(values: Sequence[float | None], better: Better = Better.HIGH) -> list[int | None]:
    """Return the rank of each value, equals sharing one; None for what is not ranked."""
    order = sorted((v for v in values if v is not None), reverse=better is Better.HIGH)
    first = {value: n for n, value in reversed(list(enumerate(order, 1)))}
    return [None if v is None else first[v] for v in values]


# Of which days


class Grain(StrEnum):
    """By what a sum is kept, the longest first."""

    YEAR = "year"
    QUARTER = "quarter"
    MONTH = "month"
    TEN_DAYS = "ten"  # 旬: to the 10th, to the 20th, to the end of the month
    DAY = "day"


def block(grain: Grain, day: str) -> str:
    """Return the name of what holds a day, or a shorter block, both as text in the order of time: of
    2026-11-21 these are 2026, 2026Q4, 2026-11, 2026-11-3 and 2026-11-21."""
    if grain is Grain.YEAR:
        return day[:4]
    if grain is Grain.QUARTER:
        return f"{day[:4]}Q{(int(day[5:7]) + 2) // 3}"
    if grain is Grain.MONTH:
        return day[:7]
    if grain is Grain.TEN_DAYS:
        return f"{day[:7]}-{min((int(day[8:]) + 9) // 10, 3)}"
    return day


@dataclass(frozen=True, slots=True)
class Span:
    """Days from `first` to `last`, both counted: whole blocks of the grain. What is open in an
    `elapsed` span is overdue, in another still within its limit."""

    grain: Grain
    first: date
    last: date
    elapsed: bool


def spans(first: date, last: date, elapsed: date, longest: Grain = Grain.YEAR) -> tuple[Span, ...]:
    """Return the days of a period as few blocks, none longer than `longest`: whole years where there
    are, shorter ones around them, and nothing across `elapsed`, the last day that is over."""
    found: list[Span] = []
    for begin, end, over in (
        (first, min(last, elapsed), True),
        (max(first, elapsed + timedelta(1)), last, False),
    ):
        day = begin
        while day <= end:
            grain, until = _longest(day, end, longest)
            before = found[-1] if found and day > begin else None
            if before and before.grain is grain:
                found[-1] = Span(grain, before.first, until, over)
            else:
                found.append(Span(grain, day, until, over))
            day = until + timedelta(1)
    return tuple(found)


def _longest(day: date, end: date, longest: Grain) -> tuple[Grain, date]:
    """Return the longest block that begins on a day and is over by the end, with its last day."""
    grains = list(Grain)
    for grain in grains[grains.index(longest) :]:
        until = _last_of(grain, day)
        before = day - timedelta(1)
        begins = block(grain, day.isoformat()) != block(grain, before.isoformat())
        if begins and until <= end:
            return grain, until
    msg = "a day is a block of its own"
    raise AssertionError(msg)


def _last_of(grain: Grain, day: date) -> date:
    if grain is Grain.DAY:
        return day
    if grain is Grain.TEN_DAYS and day.day <= 20:
        return day.replace(day=10 if day.day <= 10 else 20)
    month = {Grain.YEAR: 12, Grain.QUARTER: (day.month + 2) // 3 * 3}.get(grain, day.month)
    return (date(day.year, month, 1) + timedelta(31)).replace(day=1) - timedelta(1)


_OPEN, _OVERDUE = "_open", "_overdue"


def stored(measures: Iterable[str]) -> tuple[str, ...]:
    """Return the measures as they are stored: what is overdue is stored as open."""
    return tuple(
        dict.fromkeys(
            m.removesuffix(_OVERDUE) + _OPEN if m.endswith(_OVERDUE) else m for m in measures
        )
    )


def read_as(measure: str, *, elapsed: bool) -> str:
    """Return the measure that a stored one is in days that are over, or are not."""
    if elapsed and measure.endswith(_OPEN):
        return measure.removesuffix(_OPEN) + _OVERDUE
    return measure


MEASURES = frozenset(
    (*stored(m for each in RATES.values() for m in each.measures), *STEPS, WORKED_S)
)


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one unit, channel, kind, region, day or month, or of all. `key` is its code, `names`
    what it was called besides `name` in the period or before it was merged, `codes` what is counted
    in it."""

    key: str
    name: str
    names: tuple[str, ...] = ()
    rates: Mapping[str, Rate] = field(default_factory=dict)
    worked: Worked = Worked(0)
    score: float | None = None
    score_rank: int | None = None
    codes: tuple[str, ...] = ()


assert all(a < b for a, b in pairwise(BOUNDS_S))
