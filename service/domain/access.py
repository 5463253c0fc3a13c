"""Who may do what to which tickets: role × act × reach, in one table.

The routes and the pages ask here, docs/access.md is written from here, and tests hold every address
against it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from service.domain.lifecycle import Act
from service.domain.region import covers


class Role(StrEnum):
    """What a caller is."""

    SOURCE = "source"  # a hotline's or platform's system
    DISPATCHER = "dispatcher"  # 分拨
    HANDLER = "handler"  # 承办, its own units only
    SUPERVISOR = "supervisor"  # 督办, its region
    AUDITOR = "auditor"  # reads, personal data masked
    ADMIN = "admin"
    METRICS = "metrics"  # what scrapes /metrics


class Ask(StrEnum):
    """What is asked for beside the acts on a ticket."""

    INTAKE = "intake"
    TICKETS = "tickets"
    HISTORY = "history"
    READ_CONTACT = "read_contact"
    BY_PHONE = "by_phone"
    NOT_SAME = "not_same"
    QUEUE = "queue"
    SORTING = "sorting"
    OVERVIEW = "overview"
    GROUPS = "groups"
    UNITS = "units"
    EXPLAIN = "explain"
    EVENTS = "events"
    KPIS = "kpis"
    BULLETINS = "bulletins"
    DELIVERIES = "deliveries"
    REDELIVER = "redeliver"
    SUPERVISION = "supervision"
    DRAW = "draw"
    PROPOSALS = "proposals"
    PROPOSE = "propose"
    DECIDE_PROPOSAL = "decide_proposal"
    SOURCES = "sources"
    AUDIT = "audit"  # the heads of the chain of events
    METRICS = "metrics"
    DESK = "desk"  # the pages at all


class Reach(StrEnum):
    """How far a grant goes."""

    SENT = "sent"  # what its own source sent
    LED = "led"  # tickets that its units lead
    UNITS = "units"  # tickets that its units lead, assist or owe something for
    REGION = "region"  # its region and what lies in it; without a region everything
    MASKED = "masked"  # the same, with personal data masked
    ALL = "all"  # what is of no region


@dataclass(frozen=True, slots=True)
class Actor:
    """Who is calling. `region` "" means the whole province; `units` bind a handler, `source` a
    source."""

    name: str
    role: Role
    units: tuple[str, ...] = ()
    source: str = ""
    region: str = ""
    id: str = ""  # of the token or session, as a scope for idempotency keys


# The service itself, as the author of what no person did.
SYSTEM = Actor("banjie", Role.ADMIN)

Grants = Mapping[Role, Reach]


def _in_region(*roles: Role) -> dict[Role, Reach]:
    return dict.fromkeys(roles, Reach.REGION)


_DESK = _in_region(Role.DISPATCHER, Role.SUPERVISOR, Role.ADMIN)
_OVER = _in_region(Role.SUPERVISOR, Role.ADMIN)
_LED = {Role.HANDLER: Reach.LED, **_in_region(Role.ADMIN)}
_HELPED = {Role.HANDLER: Reach.UNITS, **_in_region(Role.ADMIN)}
_MASKED = {Role.AUDITOR: Reach.MASKED}
_PERSONS = (Role.DISPATCHER, Role.HANDLER, Role.SUPERVISOR, Role.AUDITOR, Role.ADMIN)

GRANTS: Mapping[Act | Ask, Grants] = {
    Act.DISPATCH: _DESK,
    Act.SIGN: _HELPED,
    Act.SEND_BACK: _LED | _DESK,  # the desk takes back what a unit sends back too late
    Act.RULE: _OVER,
    Act.CONTACT: _LED,
    Act.REQUEST_EXTENSION: _LED,
    Act.DECIDE_EXTENSION: _DESK,  # which of them is the policy's matter
    Act.PAUSE: _LED,
    Act.RESUME: _LED | _DESK,
    Act.RESOLVE: _HELPED,
    Act.CALL_BACK: _DESK,
    Act.CLOSE: _DESK,
    Act.REOPEN: _DESK,
    Act.MERGE: _DESK,
    Act.SUPERVISE: _OVER,
    Act.RECLASSIFY: _DESK,
    Act.NOTE: _HELPED | _DESK,
    Act.CHECK: _OVER,
    Ask.INTAKE: {Role.SOURCE: Reach.SENT, **_in_region(Role.ADMIN)},
    Ask.TICKETS: {Role.SOURCE: Reach.SENT, Role.HANDLER: Reach.UNITS} | _DESK | _MASKED,
    # Findings stay inside: not for sources.
    Ask.HISTORY: {Role.HANDLER: Reach.UNITS} | _DESK | _MASKED,
    Ask.READ_CONTACT: _LED | _DESK,  # who rings citizens up
    Ask.BY_PHONE: _DESK,  # a unit would learn who else complained
    Ask.NOT_SAME: _DESK,
    Ask.QUEUE: {Role.HANDLER: Reach.UNITS} | _DESK | _MASKED,
    Ask.SORTING: _DESK | _MASKED,
    Ask.OVERVIEW: _DESK | _MASKED,
    Ask.GROUPS: _DESK | _MASKED,
    # Whoever maps a city's own system tries with its token where its texts would go.
    Ask.UNITS: dict.fromkeys((*_PERSONS, Role.SOURCE), Reach.ALL),
    Ask.EXPLAIN: dict.fromkeys((*_PERSONS, Role.SOURCE), Reach.ALL),
    Ask.EVENTS: {Role.HANDLER: Reach.UNITS} | _DESK | _MASKED,
    Ask.KPIS: {Role.HANDLER: Reach.UNITS} | _DESK | _MASKED,
    Ask.BULLETINS: _DESK | _MASKED,  # of every unit, before it is published
    Ask.DELIVERIES: _DESK | _MASKED,
    Ask.REDELIVER: _OVER,
    Ask.SUPERVISION: _OVER | _MASKED,
    Ask.DRAW: _OVER,
    Ask.PROPOSALS: {Role.HANDLER: Reach.UNITS} | _DESK | _MASKED,
    Ask.PROPOSE: {Role.HANDLER: Reach.UNITS} | _DESK,
    Ask.DECIDE_PROPOSAL: _OVER,  # nobody their own
    Ask.SOURCES: dict.fromkeys((*_DESK, Role.AUDITOR), Reach.ALL),
    Ask.AUDIT: _OVER | _in_region(Role.AUDITOR),
    Ask.METRICS: dict.fromkeys((Role.METRICS, Role.ADMIN), Reach.ALL),
    Ask.DESK: dict.fromkeys(_PERSONS, Reach.ALL),
}


class Forbidden(Exception):
    """The caller's role does not allow this."""

    def __init__(self, role: Role, act: str) -> None:
        super().__init__(f"{role} may not {act}")
        self.role = role
        self.act = act


def reach(role: Role, what: Act | Ask) -> Reach | None:
    """Return how far a role may do something, None for not at all."""
    return GRANTS[what].get(role)


def check_act(actor: Actor, what: Act | Ask) -> None:
    """Raise Forbidden unless the actor's role may do this at all."""
    if actor.role not in GRANTS[what]:
        raise Forbidden(actor.role, what)


def sees(actor: Actor, *, region: str, units: tuple[str, ...], source: str) -> bool:
    """Whether a ticket of this region, these units (lead and assist) and this source exists for
    the actor. What one may not see is answered as not found, so that numbers cannot be probed."""
    how_far = reach(actor.role, Ask.TICKETS)
    if how_far is None or not covers(actor.region, region):
        return False
    if how_far is Reach.UNITS:
        return bool(set(actor.units) & set(units))
    if how_far is Reach.SENT:
        return actor.source == source
    return True
