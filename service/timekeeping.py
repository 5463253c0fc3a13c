"""What time does to tickets, inside a transaction that holds them: steps, pauses that end, clocks
worked out anew. The desk opens the transactions.

Whoever changes a milestone has locked its ticket. An act waits for the lock; the ticker leaves out
what is locked and comes back for it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time
from typing import Any

import sqlalchemy as sa

from service.domain import acts, deeds
from service.domain.access import SYSTEM, Actor
from service.domain.calendar import SHANGHAI
from service.domain.clock import Came, advance
from service.domain.limits import Timetable
from service.domain.ports import Router
from service.domain.ticket import (
    Delivery,
    Event,
    Milestone,
    MilestoneKind,
    Ticket,
)
from service.store import tickets
from service.store.deliveries import Receivers, deliver_all
from service.store.tickets import EVERY, Which

Told = tuple[int, str, str, Event]
# Of the ticket its id, number, region, and whom its channel names to coordinate; and what came.
_Step = tuple[int, str, str, str, Came]


# Waking is an act's worth of work, so that few fit into a transaction.
_WOKEN_AT_ONCE = 50


def wake(connection: sa.Connection, at: datetime, times: Timetable, which: Which = EVERY) -> int:
    """End some of the pauses (挂起) that have lasted as long as they may; return how many."""
    asleep = tickets.claim_paused(connection, at, _WOKEN_AT_ONCE, which)
    for ticket in asleep:
        # The steps that came meanwhile are left to the enforcement that follows.
        woken = acts.catch_up(ticket, at, times).woken
        assert woken is not None
        tickets.save(connection, ticket, woken, at)
        tickets.append(connection, woken, deeds.resumed(woken))
    return len(asleep)


def enforce(
    connection: sa.Connection,
    at: datetime,
    batch: int,
    router: Router,
    receivers: Receivers,
    which: Which = EVERY,
) -> int:
    """Take the steps of a batch of due milestones; return how many milestones there were."""
    due = tickets.claim_due(connection, at, batch, which)
    changed: list[Milestone] = []
    told: list[_Step] = []
    for no, region, named, ticket_id, milestone in due:
        came = advance(milestone, at)
        changed.extend(each.milestone for each in came[-1:])
        told.extend((ticket_id, no, region, named, each) for each in came)
    tickets.save_steps(connection, changed)
    _tell(connection, told, at, router, receivers)
    return len(due)


def caught_up(
    connection: sa.Connection,
    ticket: Ticket,
    at: datetime,
    times: Timetable,
    router: Router,
    receivers: Receivers,
) -> Ticket:
    """Return the ticket with what time has brought it by `at`, told of and not yet saved."""
    found = acts.catch_up(ticket, at, times)
    if found.woken:
        tickets.append(connection, found.woken, deeds.resumed(found.woken))
    named = ticket.complaint.coordinator
    told = [(ticket.id, ticket.no, ticket.region, named, each) for each in found.came]
    _tell(connection, told, at, router, receivers)
    return found.ticket


def _tell(
    connection: sa.Connection,
    came: Iterable[_Step],
    at: datetime,
    router: Router,
    receivers: Receivers,
) -> None:
    """Write an event for each step, in the order in which they were due, and what is to leave:
    word to the unit, and to who supervises it."""
    in_order = sorted(came, key=lambda each: each[-1].step.at)
    events: list[Told] = []
    leaving: list[tuple[int, str, str, Delivery]] = []
    coordinators: dict[tuple[str, str], str] = {}
    for ticket_id, no, region, named, each in in_order:
        if (region, named) not in coordinators:
            coordinators[region, named] = router.coordinator(region, named).code
        events.append((ticket_id, no, region, deeds.stage(each, at)))
        words = deeds.stage_words(each, coordinators[region, named])
        leaving += [(ticket_id, no, region, word) for word in words]
    tickets.append_all(connection, events)
    deliver_all(connection, leaving, at, receivers)


# Working out anew


@dataclass(frozen=True, slots=True)
class Moved:
    """A clock that a recalculation moves, and how."""

    no: str
    kind: MilestoneKind
    unit: str
    limit: tuple[str, str]  # before, after
    due_at: tuple[datetime, datetime]


def moved(before: Ticket, after: Ticket) -> list[Moved]:
    """Return the clocks that a recalculation moves, or only says otherwise where they come from."""
    return [
        Moved(before.no, m.kind, m.unit, (m.limit, n.limit), (m.due_at, n.due_at))
        for m, n in zip(before.milestones, after.milestones, strict=True)
        if m != n
    ]


def recalculate(
    connection: sa.Connection,
    found: Sequence[Ticket],
    by: Actor,
    at: datetime,
    times: Timetable,
    router: Router,
    receivers: Receivers,
    *,
    limits_too: bool,
) -> list[Moved]:
    """Work out the open clocks of locked tickets anew, an event for each ticket that changes, and
    return what moved. What was done is found unchanged when it is done again."""
    all_moved: list[Moved] = []
    for ticket in found:
        current = caught_up(connection, ticket, at, times, router, receivers)
        after = acts.recalculated(current, at, times, limits_too=limits_too)
        changes = moved(current, after)
        if changes:
            after = replace(after, version=after.version + 1)
            content = {"moved": [_plain(change) for change in changes]}
            unit = after.lead.unit if after.lead else ""
            event = Event("recalculated", at, by.name, by.role, content, after.version, unit)
            tickets.append(connection, after, event)
            all_moved += changes
        if after != ticket:
            tickets.save(connection, ticket, after, at)
    return all_moved


def settle(
    connection: sa.Connection,
    ids: Sequence[int],
    at: datetime,
    times: Timetable,
    router: Router,
    receivers: Receivers,
) -> int:
    """Work out the clocks of tickets anew, each by the limit that it has; return how many tickets
    there were."""
    found = tickets.claim(connection, ids)
    recalculate(connection, found, SYSTEM, at, times, router, receivers, limits_too=False)
    return len(found)


def provisional(connection: sa.Connection, after: int, batch: int, times: Timetable) -> list[int]:
    """Return the ids, in order from `after` on, of tickets with clocks that were provisional and whose
    days are published by now."""
    calendar = times.calendar
    first, last = (
        datetime.combine(calendar.first, time(), SHANGHAI),
        datetime.combine(calendar.last, time.max, SHANGHAI),
    )
    return tickets.provisional_ids(connection, first, last, after, batch)


def _plain(change: Moved) -> dict[str, Any]:
    before, after = (t.astimezone(SHANGHAI).isoformat() for t in change.due_at)
    return {
        "milestone": change.kind,
        "unit": change.unit,
        "limit": list(change.limit),
        "due_at": [before, after],
    }
