"""What a unit owes, what falls due first on top; signing several at once; and the first page of each
role."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends
from pydantic import BeforeValidator, StringConstraints
from starlette.exceptions import HTTPException
from starlette.responses import Response

from service.cursors import List, cursor_due, read_due
from service.desk import UnknownTicket, is_offered
from service.domain.access import Role
from service.domain.calendar import SHANGHAI
from service.domain.complaint import Kind
from service.domain.kpi import day_of
from service.domain.lifecycle import FINISHED, Act, State
from service.domain.ticket import Stage, Ticket
from service.orders import PRINTABLE, checked_no, perform
from service.store.lists import Owed, Queue
from service.store.tickets import Stale
from service.web.forms import FORMS
from service.web.refusals import OF_ACTS, Refusal, refusal
from service.web.sessions import Form, Signed, SignedForm, Visit, go
from service.web.words import left

router = APIRouter()

_PAGE = 50
_CHANGED = "打开队列之后它有了新的变化，请打开核对，或回到队列再签收。"

# What a list's form sends for “all” is an empty text.
_Blank = BeforeValidator(lambda value: value or None)
OneState = Annotated[State | None, _Blank]
OneStage = Annotated[Stage | None, _Blank]
OneKind = Annotated[Kind | None, _Blank]
Asked = Annotated[str, StringConstraints(strip_whitespace=True, max_length=100, pattern=PRINTABLE)]


class Due(StrEnum):
    """When it falls due."""

    PAST = "past"  # 已到期
    TODAY = "today"  # 今天到期
    WEEK = "week"  # 七天内到期


class Secret(StrEnum):
    """Whether the citizen asked not to be named to the unit."""

    YES = "yes"  # 要求保密
    NO = "no"  # 未要求


WHENS: dict[str, str] = {Due.PAST: "已到期", Due.TODAY: "今天到期", Due.WEEK: "七天内到期"}
SECRETS: dict[str, str] = {Secret.YES: "要求保密", Secret.NO: "未要求"}
_FIRST_PAGE = {
    Role.HANDLER: "/desk/queue",
    Role.DISPATCHER: "/desk/sorting",
    Role.SUPERVISOR: "/desk/overview",
    Role.AUDITOR: "/desk/overview",
    Role.ADMIN: "/desk/overview",
}


@dataclass(frozen=True, slots=True)
class Wish:
    """Which part of a queue is asked for, as in the page's address."""

    unit: str
    stage: Stage | None
    state: State | None
    kind: Kind | None
    place: str
    confidential: Secret | None
    due: Due | None
    after: str

    @property
    def chosen(self) -> dict[str, str]:
        """Return what was chosen of the filters."""
        told = {
            "stage": self.stage,
            "state": self.state,
            "kind": self.kind,
            "place": self.place,
            "confidential": self.confidential,
            "due": self.due,
        }
        return {name: str(value) for name, value in told.items() if value}

    def address(self, code: str, after: str = "") -> str:
        """Return it as a query, for a unit, and beyond a place."""
        told = {"unit": code, **self.chosen, "after": after}
        return urlencode({name: value for name, value in told.items() if value})

    def owed(self, now: datetime) -> Owed:
        """Return it as the store is asked."""
        since, until = _between(self.due, now)
        return Owed(
            state=self.state or "",
            stage=self.stage or "",
            kind=self.kind or "",
            place=self.place,
            confidential=None if self.confidential is None else self.confidential is Secret.YES,
            since=since,
            until=until,
        )


def _between(due: Due | None, now: datetime) -> tuple[datetime | None, datetime | None]:
    def begins(day: date) -> datetime:
        return datetime.combine(day, time(), SHANGHAI)

    today = day_of(now)
    match due:
        case None:
            return None, None
        case Due.PAST:
            return None, now
        case Due.TODAY:
            return begins(today), begins(today + timedelta(1))
        case Due.WEEK:
            return begins(today), begins(today + timedelta(7))


def wish(
    unit: Asked = "",
    stage: OneStage = None,
    state: OneState = None,
    kind: OneKind = None,
    place: Asked = "",
    confidential: Annotated[Secret | None, _Blank] = None,
    due: Annotated[Due | None, _Blank] = None,
    after: Asked = "",
) -> Wish:
    """Return what an address asks for."""
    return Wish(unit, stage, state, kind, place, confidential, due, after)


Wished = Annotated[Wish, Depends(wish)]


@router.get("/desk")
@router.get("/desk/")
async def first_page(visit: Signed) -> Response:
    """Lead to the page that a role begins its day with."""
    return go(_FIRST_PAGE[visit.by.role])


@router.get("/desk/queue")
async def queue(visit: Signed, wished: Wished) -> Response:
    """Show what a unit owes; without one, the caller's first, or the office that runs the hotline
    of the caller's region."""
    app, by = visit.app, visit.by
    code = unit_of(visit, wished)
    shown = app.router.unit(code) if code else None
    if code and shown is None:
        raise HTTPException(404)
    found = await listed(visit, code, wished)
    onward = cursor_due(List.QUEUE, found.onward)
    now = app.now()
    return visit.page(
        "queue.html",
        unit=shown,
        units=[app.router.unit(own) for own in by.units],
        tickets=found.items,
        is_first=not wished.after,
        onward=f"/desk/queue?{wished.address(code, onward)}" if onward else "",
        here=wished.address(code, wished.after),
        mark=mark_of(found.items),
        asked=wished,
        states=[each for each in State if each not in FINISHED],
        stages=list(Stage),
        kinds=list(Kind),
        whens=WHENS,
        secrets=SECRETS,
        signable=[ticket.no for ticket in found.items if is_offered(by, Act.SIGN, ticket)],
        left=lambda m, t: left(app.times.calendar_of(t.region), now, m.due_at, m.limit),
    )


@dataclass(frozen=True, slots=True)
class Signature:
    """What became of one ticket of several: why not, None if it was signed."""

    no: str
    title: str
    why: Refusal | None


@router.post("/desk/queue/sign")
async def sign(visit: Signed, form: SignedForm) -> Response:
    """Sign tickets; each answers for itself, and those that could not be signed are told with the
    reason."""
    chosen = form.all("ticket")
    if len(chosen) > _PAGE:
        raise HTTPException(400)
    done = [await _signed(visit, form, each) for each in dict.fromkeys(chosen)]
    return visit.page("signed.html", done=done, here=form.one("here")[:1000])


async def _signed(visit: Visit, form: Form, chosen: str) -> Signature:
    """Sign what a box stands for, `number.version` as the page showed it."""
    app = visit.app
    no, _, version = chosen.partition(".")
    if not (version.isascii() and version.isdigit() and len(version) <= 9):
        raise HTTPException(400)
    try:
        wanted = FORMS[Act.SIGN].wanted(form)
        key = f"q{version}-{no}"
        after = await perform(
            app.desk, wanted, checked_no(no), visit.by, int(version), app.now(), key=key
        )
    except Stale as error:
        # The ticket is not below, and nothing was typed: a signature has no fields.
        return Signature(no, "", replace(refusal(error), detail=_CHANGED))
    except (*OF_ACTS, UnknownTicket) as error:
        return Signature(no, "", refusal(error))
    return Signature(no, after.complaint.title, None)


async def listed(visit: Visit, code: str, wished: Wish, *, alone: bool = False) -> Queue:
    """Return the page of a queue that is asked for, `alone` as the desk understands it."""
    place = read_due(List.QUEUE, wished.after)
    if not code:
        return Queue([])
    app = visit.app
    wanted = wished.owed(app.now())
    return await app.desk.queue(code, visit.by, _PAGE, wanted, after=place, alone=alone)


def mark_of(tickets: Sequence[Ticket]) -> str:
    """Return what is another as soon as one of these tickets has changed, or which they are."""
    told = [
        f"{t.no}.{t.version}.{'.'.join(m.stage for m in t.milestones if m.is_open)}"
        for t in tickets
    ]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


def unit_of(visit: Visit, wished: Wish) -> str:
    """Return whose queue is asked for, "" for nobody's."""
    by = visit.by
    if wished.unit:
        return wished.unit
    if by.role is Role.HANDLER:
        return by.units[0] if by.units else ""
    return visit.app.router.coordinator(by.region).code if by.region else ""
