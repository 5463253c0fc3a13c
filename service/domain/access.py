"""Who may do what: roles, acts and scope in one table."""

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


@dataclass(frozen=True, slots=True)
class Actor:
    """Who is calling. `region` "" means the whole province; `units` bind a handler, `source` a
    source."""

    name: str
    role: Role
    units: tuple[str, ...] = ()
    source: str = ""
    region: str = ""
    id: str = ""  # of the token, as a scope for idempotency keys


# The service itself, as the author of what no person did.
SYSTEM = Actor("banjie", Role.ADMIN)

_DESK = frozenset({Role.DISPATCHER, Role.SUPERVISOR, Role.ADMIN})
_UNIT = frozenset({Role.HANDLER, Role.ADMIN})
_OVER = frozenset({Role.SUPERVISOR, Role.ADMIN})

MAY_ACT: dict[Act, frozenset[Role]] = {
    Act.DISPATCH: _DESK,
    Act.SIGN: _UNIT,
    Act.SEND_BACK: _UNIT | _DESK,  # the desk takes back what a unit sends back too late
    Act.RULE: _OVER,
    Act.CONTACT: _UNIT,
    Act.REQUEST_EXTENSION: _UNIT,
    Act.DECIDE_EXTENSION: _DESK,  # which of them is the policy's matter
    Act.PAUSE: _UNIT,
    Act.RESUME: _UNIT | _DESK,
    Act.RESOLVE: _UNIT,
    Act.CALL_BACK: _DESK,
    Act.CLOSE: _DESK,
    Act.REOPEN: _DESK,
    Act.MERGE: _DESK,
    Act.SUPERVISE: _OVER,
    Act.RECLASSIFY: _DESK,
    Act.NOTE: _DESK | _UNIT,
}

# What is asked for beside a ticket. Who rings citizens sees what nobody sent them.
MAY_ASK: dict[str, frozenset[Role]] = {
    "deliveries": _DESK | {Role.AUDITOR},
    "redeliver": _OVER,
    "sources": _DESK | {Role.AUDITOR},
    "events": frozenset(Role) - {Role.SOURCE},  # findings stay inside
    "kpis": _DESK | {Role.AUDITOR, Role.HANDLER},  # a handler those of its units
    "bulletins": _DESK | {Role.AUDITOR},  # of every unit, before it is published
}

# What a handler of an assisting unit (协办) may do for it.
ASSIST_ACTS = frozenset({Act.SIGN, Act.RESOLVE, Act.NOTE})

# Who reads tickets at all. A source sees what it sent, a handler what its units have.
READERS = frozenset(Role)


class Forbidden(Exception):
    """The caller's role does not allow this."""

    def __init__(self, role: Role, act: str) -> None:
        super().__init__(f"{role} may not {act}")
        self.role = role
        self.act = act


def sees(actor: Actor, *, region: str, units: tuple[str, ...], source: str) -> bool:
    """Whether a ticket of this region, these units (lead and assist) and this source exists for
    the actor. What one may not see is answered as not found, so that numbers cannot be probed."""
    if not covers(actor.region, region):
        return False
    if actor.role is Role.HANDLER:
        return bool(set(actor.units) & set(units))
    if actor.role is Role.SOURCE:
        return actor.source == source
    return True


def check_act(actor: Actor, act: Act) -> None:
    """Raise Forbidden unless the actor's role may do the act."""
    if actor.role not in MAY_ACT[act]:
        raise Forbidden(actor.role, act)


def check_asked(actor: Actor, what: str) -> None:
    """Raise Forbidden unless the actor's role may ask for this."""
    if actor.role not in MAY_ASK[what]:
        raise Forbidden(actor.role, what)
