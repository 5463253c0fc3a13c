"""What becomes of one clock: the steps that time brings, its end, and how it is moved."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from service.domain.calendar import Calendar
from service.domain.deadline import Limit, due, parse_limit
from service.domain.limits import lengthened
from service.domain.policy import Escalation, Measures
from service.domain.ticket import Clock, Milestone, MilestoneKind, Outcome, Stage, Step
from service.domain.values import replace

# What a step makes of a milestone's stage. A bulletin (通报) is a step and no stage: the card stays.
STAGE: Mapping[Measures | None, Stage] = {
    Measures.REMIND: Stage.WARN,
    None: Stage.OVERDUE,
    Measures.SUPERVISE: Stage.OVERDUE,
    Measures.YELLOW: Stage.YELLOW,
    Measures.RED: Stage.RED,
    Measures.BULLETIN: Stage.RED,
}
_ORDER = list(Stage)


def worse(one: Stage, other: Stage) -> Stage:
    """Return the worse of two stages."""
    return max(one, other, key=_ORDER.index)


def planned(milestone: Milestone, escalation: Escalation, calendar: Calendar) -> Milestone:
    """Return the milestone with what follows if it is not met.

    Cards and bulletins are for answers that are owed: of the clocks to resolve the governing one
    has them. Every other clock is warned of and supervised, or an office that signs late would get
    two cards for one delay.
    """
    carded = milestone.kind is MilestoneKind.RESOLVE and milestone.governing
    following = _following(milestone.due_at, carded, escalation.steps, calendar)
    course = (Step(Measures.REMIND, milestone.warn_at), *following)
    return replace(milestone, steps=following, next_at=_next_at(milestone, course))


# Most limits end with the office hours of a day: the clocks of that day are followed by the same.
@lru_cache(maxsize=4096)
def _following(
    due_at: datetime,
    carded: bool,
    measures: tuple[tuple[Measures, Limit | None], ...],
    calendar: Calendar,
) -> tuple[Step, ...]:
    steps: list[Step] = []
    for measure, after in measures:
        if after is None:
            steps.append(Step(measure, due_at))
        elif carded or measure is Measures.SUPERVISE:
            at = due(calendar, due_at, after).due_at
            steps.append(Step(measure, max(at, steps[-1].at) if steps else at))
    if not steps or steps[0].at > due_at:
        steps.insert(0, Step(None, due_at))
    return tuple(steps)


def waiting(milestone: Milestone) -> Milestone:
    """Return the milestone with the time of its next step."""
    return replace(milestone, next_at=_next_at(milestone, milestone.course))


def _next_at(milestone: Milestone, course: tuple[Step, ...]) -> datetime | None:
    ahead = milestone.is_open and milestone.done < len(course)
    return course[milestone.done].at if ahead else None


@dataclass(frozen=True, slots=True)
class Came:
    """A step that has come, and the milestone after it."""

    step: Step
    milestone: Milestone


def advance(milestone: Milestone, at: datetime) -> tuple[Came, ...]:
    """Return each step that has come by `at`, in order; () if none has.

    A milestone that nobody looked at in between goes through every step: each has its own time.
    """
    came: list[Came] = []
    current = milestone
    while current.is_open and current.next_at is not None and current.next_at <= at:
        course, done = current.course, current.done + 1
        step = course[current.done]
        current = replace(
            current,
            stage=worse(current.stage, STAGE[step.measure]),
            done=done,
            next_at=course[done].at if done < len(course) else None,
        )
        came.append(Came(step, current))
    return tuple(came)


def met(milestone: Milestone, at: datetime) -> Milestone:
    """Return the milestone met; a late end counts against who bears the days."""
    late = at > milestone.due_at
    bearer_until = milestone.bearer_until
    borne = late and milestone.bearer and (bearer_until is None or at <= bearer_until)
    return replace(
        milestone,
        met_at=at,
        outcome=Outcome.LATE if late else Outcome.ON_TIME,
        next_at=None,
        answers=milestone.bearer if borne else milestone.unit,
    )


def ended(milestone: Milestone, outcome: Outcome) -> Milestone:
    """Return the milestone ended without having been met."""
    return replace(milestone, outcome=outcome, next_at=None, answers=milestone.unit)


def stopped(milestone: Milestone, at: datetime) -> Milestone:
    """Return the milestone standing still (挂起), if it can: what is over already is not stopped, and
    a sender does not know of our pauses."""
    return replace(milestone, next_at=None) if _stops(milestone, at) else milestone


def resumed(
    milestone: Milestone, since: datetime, at: datetime, escalation: Escalation, calendar: Calendar
) -> Milestone:
    """Return the milestone after it stood still from `since` to `at`: what was ahead then is as far
    ahead now, in working time if the limit is one, else by the clock on the wall."""
    if not _stops(milestone, since):
        return milestone
    longer = lengthened(calendar, milestone, paused_s=stood_s(milestone, since, at, calendar))
    return kept_up(planned(longer, escalation, calendar), milestone, at)


def stood_s(milestone: Milestone, since: datetime, at: datetime, calendar: Calendar) -> int:
    """Return how long a clock stood still, in the seconds that it counts by."""
    if parse_limit(milestone.limit).in_working_time:
        return max(0, calendar.working_seconds(since, at))
    return int((at - since) / timedelta(seconds=1))


def extended(
    milestone: Milestone, by: Limit, escalation: Escalation, at: datetime, calendar: Calendar
) -> Milestone:
    """Return the milestone with more time (延期). What it was warned of is behind it unless the new
    warning is still to come. Raises LimitError for an amount beyond all sense."""
    longer = lengthened(calendar, milestone, by=by)
    return kept_up(planned(longer, escalation, calendar), milestone, at)


def _stops(milestone: Milestone, at: datetime) -> bool:
    return milestone.is_open and milestone.clock is Clock.OWN and milestone.due_at > at


def kept_up(fresh: Milestone, before: Milestone, at: datetime) -> Milestone:
    """Return a clock that was worked out anew as the same clock: what has come stays, as far as its
    time is behind by the new reckoning too. A card that a person gave stays."""
    behind = sum(step.at <= at for step in fresh.course[: before.done])
    given = before.stage if before.stage is not _reached(before, before.done) else Stage.NORMAL
    stage = worse(_reached(fresh, behind), given)
    return waiting(replace(fresh, id=before.id, done=behind, stage=stage))


def governed(milestones: Iterable[Milestone]) -> tuple[Milestone, ...]:
    """Return the milestones with the one of the ticket's own open clocks to resolve that ends first
    as governing; our own on a tie."""
    kept = tuple(milestones)
    rivals = [m for m in kept if _rivals(m)]
    first = min(rivals, key=lambda m: (m.due_at, m.clock is Clock.SENDER), default=None)
    return tuple(
        replace(m, governing=m is first) if _rivals(m) and m.governing is not (m is first) else m
        for m in kept
    )


def _rivals(milestone: Milestone) -> bool:
    return milestone.is_open and milestone.kind is MilestoneKind.RESOLVE and not milestone.assisting


def _reached(milestone: Milestone, done: int) -> Stage:
    return STAGE[milestone.course[done - 1].measure] if done else Stage.NORMAL
