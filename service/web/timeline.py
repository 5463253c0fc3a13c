"""The clocks of a ticket beside each other, as places on a line of time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from service.domain.ticket import Clock, Milestone
from service.labels import MILESTONES, OUTCOMES, STAGES
from service.web.words import brief

WIDE, ROW = 400, 22
_LEFT, _RIGHT = 74, 8
_TOP = 18


@dataclass(frozen=True, slots=True)
class Bar:
    """One clock: where it begins and is due, and where it was met, None if it was not. `look` is its
    stage or outcome."""

    name: str
    told: str
    look: str
    y: int
    begins: float
    due: float
    met: float | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """A drawing, `wide` by `high`; `now` is where the line of now stands, None when it is over."""

    bars: Sequence[Bar]
    high: int
    now: float | None
    first: str
    last: str
    wide: int = WIDE
    left: int = _LEFT

    @property
    def told(self) -> str:
        """Return it in words."""
        return "；".join(bar.told for bar in self.bars)


def timeline(milestones: Sequence[Milestone], now: datetime) -> Timeline | None:
    """Return the clocks as a drawing, None where there are none."""
    if not milestones:
        return None
    is_open = any(m.is_open for m in milestones)
    ends = [m.due_at for m in milestones] + [m.met_at for m in milestones if m.met_at]
    first, last = min(m.started_at for m in milestones), max(ends + ([now] if is_open else []))
    length = max((last - first).total_seconds(), 1.0)

    def x(at: datetime) -> float:
        share = min(max((at - first).total_seconds() / length, 0.0), 1.0)
        return round(_LEFT + share * (WIDE - _LEFT - _RIGHT), 1)

    in_order = sorted(milestones, key=lambda m: (m.started_at, m.due_at, m.id))
    bars = [
        Bar(
            _name(m),
            _told(m),
            m.stage if m.is_open else m.outcome or "",
            _TOP + n * ROW,
            x(m.started_at),
            x(m.due_at),
            x(m.met_at) if m.met_at else None,
        )
        for n, m in enumerate(in_order)
    ]
    high = _TOP + len(bars) * ROW + 4
    return Timeline(bars, high, x(now) if is_open else None, brief(first), brief(last))


def _name(m: Milestone) -> str:
    whose = "来件" if m.clock is Clock.SENDER else "协办" if m.assisting else ""
    return whose + MILESTONES[m.kind]


def _told(m: Milestone) -> str:
    how = STAGES[m.stage] if m.is_open else OUTCOMES[m.outcome] if m.outcome else ""
    met = f"，{brief(m.met_at)} 完成" if m.met_at else ""
    return f"{_name(m)}{how}，{brief(m.started_at)} 起，{brief(m.due_at)} 到期{met}"
