"""One ticket: what was said, why it came here, its clocks, its history, and what may be done."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BeforeValidator, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from service.cursors import List, cursor_of, read_cursor
from service.desk import (
    MadeAnonymous,
    ReadsTooMuch,
    Told,
    is_withheld,
    may_read_contact,
    offered,
)
from service.domain.access import Forbidden, reach, sees
from service.domain.acts import policy_of, why_kept
from service.domain.lifecycle import Act, State
from service.domain.personal import find_masked
from service.domain.ports import Unit
from service.domain.sample import Standing
from service.domain.ticket import MilestoneKind, Ticket
from service.orders import ContactReading, checked_no, perform
from service.store.samples import Check
from service.web.forms import FORMS
from service.web.queue import Asked
from service.web.refusals import OF_ACTS, Refusal, refusal
from service.web.sessions import Signed, SignedForm, Visit, go, local
from service.web.timeline import timeline
from service.web.words import ACT_KEYS, left, next_owed, told

router = APIRouter()

No = Annotated[str, Path(max_length=64)]

_UNITS_SHOWN = 40
_EVENTS_SHOWN = 100
# What has more is printed in parts.
_EVENTS_PRINTED = 5_000
READING = "read_contact"


class View(StrEnum):
    """For whom a ticket's page is made."""

    DESK = "desk"
    PRINT = "print"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A form that was refused: of which act, why, and what was typed, by field."""

    act: str
    why: Refusal
    typed: dict[str, list[str]]


@router.get("/desk/tickets/{no}")
async def ticket(
    visit: Signed,
    no: No,
    units: Asked = "",
    after: Asked = "",
    view: Annotated[View, BeforeValidator(lambda value: value or View.DESK)] = View.DESK,
) -> Response:
    """Show a ticket; `units` are the words by which the dispatch form looks for units, `after` is where
    the part of the history begins that is shown. To be printed it is shown whole, without forms."""
    place = read_cursor(List.HISTORY, after)
    return await _shown(visit, no, units, after=place, printing=view is View.PRINT)


@router.post("/desk/tickets/{no}/acts/{name}")
async def act(visit: Signed, form: SignedForm, no: No, name: str) -> Response:
    """Do an act, or show the ticket again with the reason why not and what was typed."""
    filled = next((each for each in FORMS.values() if each.act == name), None)
    if filled is None:
        raise HTTPException(404)
    version = form.one("version")
    if not (version.isascii() and version.isdigit() and len(version) <= 9):
        raise HTTPException(400)
    app, by = visit.app, visit.by
    try:
        after = await perform(
            app.desk,
            filled.wanted(form),
            checked_no(no),
            by,
            int(version),
            app.now(),
            key=form.one("key")[:100],
        )
    except OF_ACTS as error:
        attempt = Attempt(name, refusal(error), filled.typed(form))
        return await _shown(visit, no, form.one("units")[:100], attempt=attempt)
    visible = sees(by, region=after.region, units=after.units, source=after.complaint.source)
    onward = local(form.one("then"), f"/desk/tickets/{no}") if visible else "/desk/queue"
    # A form's own fragment, which leads back to it if it is refused, would be kept otherwise.
    return go(f"{onward}#main", f"{name}.{no}")


@router.post("/desk/tickets/{no}/not-same")
async def not_same(visit: Signed, form: SignedForm, no: No) -> Response:
    """Say that a proposed ticket is not the same matter (不并单), and come back."""
    app = visit.app
    await app.matching.reject(
        checked_no(no), checked_no(form.one("other")), visit.by, app.now(), reason=""
    )
    return go(f"{local(form.one('then'), f'/desk/tickets/{no}')}#main", f"not_same.{no}")


@router.post("/desk/tickets/{no}/contact")
async def read_contact(visit: Signed, form: SignedForm, no: No) -> Response:
    """Show what is masked once, to who says why; the reading becomes an event."""
    app = visit.app
    try:
        wanted = ContactReading(reason=form.one("reason"))
        contact = await app.desk.read_contact(
            checked_no(no), visit.by, app.now(), reason=wanted.reason
        )
    except (ValidationError, Forbidden, ReadsTooMuch, MadeAnonymous) as error:
        attempt = Attempt(READING, refusal(error), {"reason": form.all("reason")})
        return await _shown(visit, no, attempt=attempt)
    return await _shown(visit, no, contact=contact)


async def _shown(
    visit: Visit,
    no: str,
    words: str = "",
    *,
    attempt: Attempt | None = None,
    contact: Told | None = None,
    after: int = 0,
    printing: bool = False,
) -> Response:
    app, by = visit.app, visit.by
    found = await app.desk.ticket(checked_no(no), by)
    most = _EVENTS_PRINTED if printing else _EVENTS_SHOWN
    events = await app.desk.history(no, by, after, most + 1)
    history = events[:most]
    if contact:
        own = contact.history
        history = [replace(e, content={**e.content, **own.get(e.id, {})}) for e in history]
    onward = history[-1].id if len(events) > most else 0
    check = None
    if reach(by.role, Act.CHECK) is not None and found.state is State.CLOSED:
        check = await app.supervision.check(by, found)
    likely = _likely(found, check)
    now = app.now()
    may = offered(by, found)
    kept = why_kept(found, by, now, app.times) if Act.SEND_BACK in may else None
    acts = [FORMS[act] for act in may if act in FORMS and not (kept and act is Act.SEND_BACK)]
    acts.sort(key=lambda form: form.act is not likely)

    return visit.page(
        "ticket.html",
        attempt.why.status if attempt else 200,
        ticket=found,
        history=[(event, told(event, visit.unit_name)) for event in history],
        is_first=not after,
        onward=cursor_of(List.HISTORY, onward),
        acts=acts,
        likely=likely,
        kept=kept,
        check=check,
        printing=printing,
        printed_at=now,
        act_keys=ACT_KEYS,
        timeline=timeline(found.milestones, now),
        attempt=attempt,
        may_merge=reach(by.role, Act.MERGE) is not None,
        withheld=is_withheld(by, found),
        lost=attempt if attempt and attempt.act not in {a.act for a in acts} else None,
        contact=contact,
        may_read_contact=may_read_contact(by, found) and _is_masked(found),
        key=secrets.token_urlsafe(12),
        words=words,
        options=_options(visit, found, words, attempt),
        local_units=[u for u in app.router.units(found.region) if u.region == found.region],
        region_name=app.gazetteer.name(found.region),
        unit_name=visit.unit_name,
        pause_reasons=policy_of(found, app.times).pauses.reasons,
        sources=app.sources,
        left=lambda m, t: left(app.times.calendar_of(t.region), now, m.due_at, m.limit),
    )


def _is_masked(found: Ticket) -> bool:
    told = found.complaint
    texts = (told.title, told.content, told.place)
    return bool(told.contact.phone) or any(find_masked(text) for text in texts)


_MEETS = {
    MilestoneKind.SIGN: Act.SIGN,
    MilestoneKind.CONTACT: Act.CONTACT,
    MilestoneKind.RESOLVE: Act.RESOLVE,
    MilestoneKind.CALL_BACK: Act.CALL_BACK,
}


def _likely(found: Ticket, check: Check | None) -> Act | None:
    """Return the act that the ticket waits for, whoever may do it; `check` is how a second look (抽查)
    at it stands."""
    if check:
        if check.standing is not Standing.CHECKED:
            return Act.CHECK
        return Act.REOPEN if check.finding and check.finding.is_bad else None
    if found.state is State.SORTING:
        return Act.DISPATCH
    owed = next_owed(found.milestones)
    if owed:
        return _MEETS[owed.kind]
    return Act.CLOSE if found.state is State.RESOLVED else None


def _options(
    visit: Visit, found: Ticket, words: str, attempt: Attempt | None
) -> Sequence[tuple[Unit, str]]:
    """Return the units that the dispatch form offers, each with why: the candidates, what was
    chosen before, and first what the words find, in the ticket's region or else in the province."""
    router = visit.app.router
    why = {candidate.unit: "推荐" for candidate in found.route.candidates}
    chosen = (attempt.typed.get("unit", []) + attempt.typed.get("assist", [])) if attempt else []
    why |= {code: "刚才所选" for code in chosen if code not in why}
    if words:
        wanted = words.split()

        def fitting(units: Sequence[Unit]) -> list[Unit]:
            return [u for u in units if all(word in u.name for word in wanted)][:_UNITS_SHOWN]

        matches = fitting(router.units(found.region)) or fitting(router.units())
        # Who looked for a unit wants that one, and finds it on top.
        why = {unit.code: why.get(unit.code, "查找结果") for unit in matches} | why
    return [(unit, reason) for code, reason in why.items() if (unit := router.unit(code))]
