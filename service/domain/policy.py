"""What may be done to a ticket's clocks: how often, how long, by whom, and who bears the days.

None of the figures is the service's own: each section carries the row that it comes from.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar, cast

from service.domain.access import Role
from service.domain.complaint import Complaint
from service.domain.deadline import CountFrom, Limit
from service.domain.scope import Kept, Origin, fitting


class Bears(StrEnum):
    """Who answers for the days that one unit used up before the next one got the ticket.

    The overall clock of a ticket never restarts: this only says against whom a late end counts.
    """

    TAKER = "taker"  # 接手单位: it gets what is left, and a late end is its own
    GIVER = "giver"  # 交出单位: a late end is the giver's if the taker needed no more than a full
    # limit of its own, counted from its own dispatch
    COORDINATOR = "coordinator"  # 热线平台: as giver, but nobody's unit answers


@dataclass(frozen=True, slots=True)
class Extensions:
    """Extension (延期) of the clock to resolve: at most `times`, together no more than `total`, each
    decided by one of `approvers`, who is never the applicant. `times` 0 forbids it."""

    times: int
    total: Limit
    approvers: frozenset[Role]
    origin: Origin


@dataclass(frozen=True, slots=True)
class Pauses:
    """Pause (挂起): for one of `reasons` (code → Chinese label) only, each at most `longest`, at most
    `times`. `times` 0 forbids it."""

    reasons: Mapping[str, str]
    longest: Limit
    times: int
    origin: Origin


@dataclass(frozen=True, slots=True)
class SendBacks:
    """Send-back (退单): within `window` of the dispatch; later only if one of `waived_by` does it or
    allows it."""

    window: Limit
    waived_by: frozenset[Role]
    origin: Origin


@dataclass(frozen=True, slots=True)
class Redo:
    """The limit to resolve a reopened ticket (重办), counted from the reopening. The ordinary limit
    holds instead where that ends earlier."""

    limit: Limit
    count_from: CountFrom
    origin: Origin


@dataclass(frozen=True, slots=True)
class HandOver:
    """Who bears the days that were used up, after a send-back (退单) and a re-dispatch (改派)."""

    send_back: Bears
    redispatch: Bears
    origin: Origin


@dataclass(frozen=True, slots=True)
class Assisting:
    """What an assisting unit (协办) owes on clocks of its own, counted from its dispatch; None where
    it has no such clock. `awaited`: the lead resolves when they have."""

    sign: Limit | None
    resolve: Limit | None
    count_from: CountFrom
    origin: Origin
    awaited: bool = False


class Measures(StrEnum):
    """What is done when a clock runs out of time, by and by."""

    REMIND = "remind"  # 催办
    SUPERVISE = "supervise"  # 普通督办
    YELLOW = "yellow"  # 黄牌
    RED = "red"  # 红牌
    BULLETIN = "bulletin"  # 通报


@dataclass(frozen=True, slots=True)
class Escalation:
    """The steps of supervision (督办) in order, each `after` the due time (None: at it). The reminder
    is not among them: it comes with the warning (临期)."""

    steps: tuple[tuple[Measures, Limit | None], ...]
    origin: Origin


Section = Extensions | Pauses | SendBacks | Redo | HandOver | Assisting | Escalation
SomeSection = TypeVar(
    "SomeSection", Extensions, Pauses, SendBacks, Redo, HandOver, Assisting, Escalation
)


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that holds for one ticket; each section names its own row in `origin.basis`."""

    extensions: Extensions
    pauses: Pauses
    send_backs: SendBacks
    redo: Redo
    hand_over: HandOver
    assisting: Assisting
    escalation: Escalation


SECTIONS: Mapping[str, type[Section]] = {
    "extensions": Extensions,
    "pauses": Pauses,
    "send_backs": SendBacks,
    "redo": Redo,
    "hand_over": HandOver,
    "assisting": Assisting,
    "escalation": Escalation,
}


class NoPolicy(LookupError):
    """No row holds for a section; the rules are incomplete."""


@dataclass(frozen=True, slots=True)
class Policies:
    """All rows of policies.yaml."""

    rows: tuple[Section, ...]
    _by_section: Mapping[type[Section], tuple[Section, ...]] = field(
        init=False, repr=False, compare=False
    )
    _found: Kept[Policy] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Keep the rows of each section together: every act asks for them."""
        object.__setattr__(self, "_found", Kept(self._policy))
        found = {
            section: tuple(row for row in self.rows if isinstance(row, section))
            for section in SECTIONS.values()
        }
        object.__setattr__(self, "_by_section", found)

    def policy(self, complaint: Complaint, clauses: Collection[tuple[str, str]] = ()) -> Policy:
        """Return what holds for a complaint routed by these clauses: for each section the most
        specific row. Raises NoPolicy."""
        return self._found(complaint, clauses)

    def _policy(self, complaint: Complaint, clauses: Collection[tuple[str, str]]) -> Policy:
        return Policy(
            extensions=self._one(Extensions, complaint, clauses),
            pauses=self._one(Pauses, complaint, clauses),
            send_backs=self._one(SendBacks, complaint, clauses),
            redo=self._one(Redo, complaint, clauses),
            hand_over=self._one(HandOver, complaint, clauses),
            assisting=self._one(Assisting, complaint, clauses),
            escalation=self._one(Escalation, complaint, clauses),
        )

    def _one(
        self, section: type[SomeSection], complaint: Complaint, clauses: Collection[tuple[str, str]]
    ) -> SomeSection:
        rows = cast("tuple[SomeSection, ...]", self._by_section[section])
        found = fitting(rows, complaint, clauses)
        if not found:
            msg = f"no {section.__name__} for {complaint.channel}/{complaint.kind}"
            raise NoPolicy(msg)
        return found[0]
