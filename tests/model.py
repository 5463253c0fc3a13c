"""A small model of a ticket's life, written apart from the service: what the desk must agree with.

It counts working time by walking over days, knows the working days from `chinese_calendar`, and keeps
one mutable ticket. It imports nothing of the service.
"""

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone

import chinese_calendar

ZONE = timezone(timedelta(hours=8))
SPANS = ((time(8, 30), time(12)), (time(14), time(17, 30)))
_ANCHOR = date(2026, 1, 5)
_RANK = ["normal", "warn", "overdue", "yellow", "red"]
_STAGE = {
    "remind": "warn",
    "supervise": "overdue",
    "yellow": "yellow",
    "red": "red",
    "bulletin": "red",
}
_CARDS = (("yellow", 1), ("red", 3), ("bulletin", 5))


def _moments(day: date) -> list[tuple[datetime, datetime]]:
    if not chinese_calendar.is_workday(day):
        return []
    return [(datetime.combine(day, a, ZONE), datetime.combine(day, b, ZONE)) for a, b in SPANS]


def worked(until: datetime) -> int:
    """Return the working seconds from the anchor until a time."""
    total, day = 0, _ANCHOR
    until = until.astimezone(ZONE)
    while day <= until.date():
        for begin, end in _moments(day):
            total += max(0, int((min(until, end) - begin).total_seconds()))
        day += timedelta(days=1)
    return total


def reached(target: int) -> datetime:
    """Return the earliest time at which so many working seconds have gone by since the anchor."""
    day = _ANCHOR
    while True:
        for begin, end in _moments(day):
            length = int((end - begin).total_seconds())
            if target <= length:
                return begin + timedelta(seconds=target)
            target -= length
        day += timedelta(days=1)


def days_after(start: datetime, count: int) -> datetime:
    """Return the end of the office hours of the `count`-th working day after a day."""
    day = start.astimezone(ZONE).date()
    while count:
        day += timedelta(days=1)
        count -= chinese_calendar.is_workday(day)
    return datetime.combine(day, time(17, 30), ZONE)


@dataclass
class Clock:
    kind: str
    unit: str
    start: datetime
    first_due: datetime
    share: float
    own: bool = True
    governs: bool = True
    extended: int = 0
    paused_s: int = 0
    done: int = 0
    card: str = "normal"
    outcome: str = ""
    stopped: bool = False
    due: datetime = field(init=False)
    warn: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.due = self.first_due
        whole = worked(self.due) - worked(self.start)
        self.warn = reached(worked(self.start) + max(1, round(whole * self.share)))

    @property
    def course(self) -> list[tuple[str, datetime]]:
        course = [("remind", self.warn), ("supervise", self.due)]
        if self.kind == "resolve" and self.governs:
            course += [(name, days_after(self.due, n)) for name, n in _CARDS]
        return course

    @property
    def stage(self) -> str:
        came = _STAGE[self.course[self.done - 1][0]] if self.done else "normal"
        return max(came, self.card, key=_RANK.index)

    def longer(self, at: datetime, *, extended: int = 0, paused_s: int = 0) -> None:
        ahead = worked(self.due) - worked(self.warn)
        self.extended += extended
        self.paused_s += paused_s
        end = days_after(self.first_due, self.extended) if self.extended else self.first_due
        self.due = reached(worked(end) + self.paused_s) if self.paused_s else end
        self.warn = max(self.start, reached(worked(self.due) - ahead))
        self.again(at)

    def again(self, at: datetime) -> None:
        """Leave of what has come what is behind by the course as it is now."""
        self.done = sum(when <= at for _, when in self.course[: self.done])


@dataclass
class Model:
    """One ticket, received and dispatched at `at`, for which its sender set a limit of its own or none.
    Each act returns "" or why it is refused."""

    at: datetime
    lead: str
    coordinator: str
    sender_due: datetime | None = None
    state: str = "dispatched"
    version: int = 1
    clocks: list[Clock] = field(default_factory=list)
    log: list[tuple[str, str, datetime]] = field(default_factory=list)
    pause_at: datetime | None = None
    until: datetime | None = None
    pauses: int = 0
    pending: int = 0
    granted: int = 0
    ruled: str = ""
    given: datetime = field(init=False)
    redo: int = 0

    def __post_init__(self) -> None:
        self.clocks = [Clock("resolve", self.lead, self.at, days_after(self.at, 5), 0.75)]
        if self.sender_due:
            sender = Clock("resolve", self.lead, self.at, self.sender_due, 0.75, own=False)
            self.clocks.append(sender)
        self._govern(self.at)
        self._owe(self.at)

    @property
    def own(self) -> Clock:
        """Return our own clock to resolve."""
        return next(c for c in self.open("resolve") if c.own)

    def _govern(self, at: datetime) -> None:
        """Let the clock to resolve that ends first govern, ours on a tie; the cards are its."""
        rivals = self.open("resolve")
        first = min(rivals, key=lambda c: (c.due, not c.own), default=None)
        for clock in rivals:
            governs = clock is first
            if clock.governs is not governs:
                clock.governs = governs
                clock.again(at)

    def _owe(self, at: datetime) -> None:
        self.given = at
        sign = reached(worked(at) + 4 * 3600)
        self.clocks.append(Clock("sign", self.lead, at, sign, 0.5))
        self.clocks.append(Clock("contact", self.lead, at, days_after(at, 1), 0.75))

    def open(self, *kinds: str) -> list[Clock]:
        return [c for c in self.clocks if not c.outcome and (not kinds or c.kind in kinds)]

    def _end(self, outcome: str, *kinds: str) -> None:
        for clock in self.open(*kinds):
            clock.outcome = outcome

    def _meet(self, at: datetime, kind: str) -> None:
        for clock in self.open(kind):
            clock.outcome = "on_time" if at <= clock.due else "late"

    def time(self, at: datetime) -> None:
        """Let time bring what it brings by `at`."""
        if self.until and self.until <= at:
            self._awake(self.until)
            self.version += 1
        for clock in self.open():
            while not clock.stopped and clock.done < len(clock.course):
                measure, when = clock.course[clock.done]
                if when > at:
                    break
                clock.done += 1
                self.log.append((clock.kind, measure, when))

    def _awake(self, at: datetime) -> None:
        assert self.pause_at is not None
        assert self.until is not None
        ends = min(max(at, self.pause_at), self.until)
        for clock in self.open():
            if clock.stopped:
                clock.stopped = False
                gone = worked(ends) - worked(self.pause_at)
                clock.longer(ends, paused_s=gone)
        self._govern(ends)
        self.state, self.pause_at, self.until = "signed", None, None

    def _pass_on(self, unit: str) -> None:
        for clock in self.open("resolve"):
            clock.unit = unit

    # Acts

    def dispatch(self, at: datetime, unit: str) -> str:
        if self.state not in {"sorting", "dispatched", "signed"}:
            return "illegal"
        self._end("withdrawn", "sign", "contact")
        self.state, self.lead, self.pending = "dispatched", unit, 0
        self._pass_on(unit)
        self._owe(at)
        return ""

    def sign(self, at: datetime) -> str:
        if self.state != "dispatched":
            return "illegal"
        self._meet(at, "sign")
        self.state = "signed"
        return ""

    def contact(self, at: datetime) -> str:
        if self.state != "signed":
            return "illegal"
        self._meet(at, "contact")
        return ""

    def send_back(self, at: datetime) -> str:
        if self.state not in {"dispatched", "signed"}:
            return "illegal"
        if self.ruled == self.lead:
            return "send-back-ruled"
        if at > days_after(self.given, 2):
            return "send-back-window"
        self._end("withdrawn", "sign", "contact")
        self._pass_on(self.coordinator)
        self.state, self.lead, self.pending = "sorting", "", 0
        return ""

    def rule(self, at: datetime, unit: str) -> str:
        if self.state != "sorting":
            return "illegal"
        self.dispatch(at, unit)
        self.ruled = unit
        return ""

    def _may_extend(self, at: datetime, amount: int) -> str:
        if at > self.own.due:
            return "extension-expired"
        if self.granted:
            return "extension-times"
        return "extension-total" if amount > 5 else ""

    def request_extension(self, at: datetime, amount: int) -> str:
        if self.state != "signed":
            return "illegal"
        why = self._may_extend(at, amount) or ("extension-pending" if self.pending else "")
        self.pending = self.pending if why else amount
        return why

    def decide_extension(self, at: datetime, granted: bool) -> str:
        if self.state != "signed":
            return "illegal"
        if not self.pending:
            return "extension-none-pending"
        if granted:
            why = self._may_extend(at, self.pending)
            if why:
                return why
            self.granted += 1
            self.own.longer(at, extended=self.pending)
            self._govern(at)
        self.pending = 0
        return ""

    def pause(self, at: datetime) -> str:
        if self.state != "signed":
            return "illegal"
        if self.pauses == 1:
            return "pause-times"
        if at > self.own.due:
            return "pause-expired"
        self.state, self.pause_at, self.until = "paused", at, days_after(at, 10)
        self.pauses += 1
        for clock in self.open():
            clock.stopped = clock.own and clock.due > at
        return ""

    def resume(self, at: datetime) -> str:
        if self.state != "paused":
            return "illegal"
        self._awake(at)
        return ""

    def resolve(self, at: datetime) -> str:
        if self.state != "signed":
            return "illegal"
        self._meet(at, "resolve")
        self._end("missed", "contact")
        self.clocks.append(Clock("call_back", self.coordinator, at, days_after(at, 3), 0.75))
        self.state, self.pending = "resolved", 0
        return ""

    def call_back(self, at: datetime) -> str:
        if self.state != "resolved":
            return "illegal"
        self._meet(at, "call_back")
        return ""

    def close(self, at: datetime) -> str:
        if self.state != "resolved":
            return "illegal"
        if self.open("call_back"):
            return "call-back-owed"
        self.state = "closed"
        return ""

    def reopen(self, at: datetime) -> str:
        if self.state not in {"resolved", "closed"}:
            return "illegal"
        self._end("withdrawn")
        self.redo += 1
        self.clocks.append(Clock("resolve", self.lead, at, days_after(at, 3), 0.75))
        self._owe(at)
        self.state = "dispatched"
        return ""

    def supervise(self, at: datetime, level: str) -> str:
        if self.state not in {"sorting", "dispatched", "signed", "paused"}:
            return "illegal"
        for clock in self.open("resolve"):
            if not clock.governs:
                continue
            card = {"ordinary": "normal"}.get(level, level)
            clock.card = max(clock.card, card, key=_RANK.index)
        return ""
