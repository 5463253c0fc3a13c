"""What a supervisor (督办) begins the day with, and second looks (抽查) at what was closed."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from pydantic import BeforeValidator
from starlette.responses import Response

from service.cursors import List, cursor_due, cursor_of, read_cursor, read_due
from service.desk import is_offered
from service.domain.access import Ask, Reach, reach
from service.domain.acts import next_level
from service.domain.kpi import Rate, day_of
from service.domain.lifecycle import Act
from service.domain.personal import masked
from service.domain.ports import FieldProblem
from service.domain.sample import Standing
from service.domain.ticket import Milestone, Stage, Ticket
from service.labels import MILESTONES
from service.reports import Asked as AskedRates
from service.reports import BadPeriod, By, read_day
from service.store.samples import Tally
from service.store.supervised import Pressing
from service.supervision import MANY, BadDraw, Draw
from service.web.queue import Asked
from service.web.refusals import Refusal, refusal
from service.web.sessions import Form, Signed, SignedForm, Visit, go
from service.web.words import brief, left, next_owed

router = APIRouter()

_PAGE = 50
_EXTENSIONS = 20
_SENDERS_BACK = 10
DAYS = 30

OneSample = Annotated[int, Query(ge=0, le=2**62)]
OneStanding = Annotated[Standing, BeforeValidator(lambda value: value or Standing.WAITING)]


@router.get("/desk/supervision")
async def supervision(visit: Signed, after: Asked = "") -> Response:
    """Show what presses by unit, what waits for a decision, and who sends back most."""
    app, by = visit.app, visit.by
    now = app.now()
    board = await app.supervision.board(by, now)
    place = read_due(List.EXTENSIONS, after)
    asked = await app.supervision.extensions(by, place, _EXTENSIONS)
    extensions, second_looks, proposed = await app.supervision.waiting(by)
    until = day_of(now)
    since = until - timedelta(DAYS - 1)
    back = await _send_backs(visit, now)
    # An official may have written down who somebody is.
    say = masked if reach(by.role, Ask.SUPERVISION) is Reach.MASKED else str
    onward = cursor_due(List.EXTENSIONS, asked.onward)
    units = sorted(
        (unit for unit in board if unit),
        key=lambda unit: (-board[unit][Pressing.RED], -board[unit][Pressing.OVERDUE], unit),
    )
    return visit.page(
        "supervision.html",
        board=board,
        units=units,
        whys=list(Pressing),
        extensions=[
            (
                ticket,
                ticket.pending,
                say(ticket.pending.reason),
                _resolve(ticket),
                is_offered(by, Act.DECIDE_EXTENSION, ticket),
            )
            for ticket in asked.items
            if ticket.pending
        ],
        counts={
            "extensions": _many(extensions),
            "looks": _many(second_looks),
            "proposals": _many(proposed),
        },
        is_first=place is None,
        onward=f"/desk/supervision?{urlencode({'after': onward})}#extensions" if onward else "",
        back=back,
        days=DAYS,
        rates=urlencode({"from": since, "to": until, "by": By.UNIT, "rate": "sent_back"}),
        region=app.gazetteer.name(by.region) if by.region else "全省",
        now=now,
        unit_name=visit.unit_name,
        left=lambda m, t: left(app.times.calendar_of(t.region), now, m.due_at, m.limit),
    )


@router.get("/desk/supervision/tickets")
async def pressing(
    visit: Signed, why: Pressing = Pressing.OVERDUE, unit: Asked = "", after: Asked = ""
) -> Response:
    """Show the tickets that the board counts, the longest due first, with what to press by."""
    app, by = visit.app, visit.by
    now = app.now()
    place = read_due(List.PRESSING, after)
    found = await app.supervision.pressing(by, why, now, unit=unit, after=place, limit=_PAGE)
    asked = {"why": why.value, **({"unit": unit} if unit else {})}
    onward = cursor_due(List.PRESSING, found.onward)
    return visit.page(
        "pressing.html",
        why=why,
        whys=list(Pressing),
        unit=unit,
        unit_name=visit.unit_name,
        rows=[
            (
                ticket,
                _stage(ticket),
                m := _clock(ticket, why, unit),
                is_offered(by, Act.SUPERVISE, ticket),
                next_level(ticket),
                _press(m, now),
            )
            for ticket in found.items
        ],
        may_supervise=reach(by.role, Act.SUPERVISE) is not None,
        is_first=place is None,
        here=f"/desk/supervision/tickets?{urlencode(asked)}",
        onward=f"/desk/supervision/tickets?{urlencode({**asked, 'after': onward})}"
        if onward
        else "",
        left=lambda m, t: left(app.times.calendar_of(t.region), now, m.due_at, m.limit),
    )


@router.get("/desk/samples")
async def samples(
    visit: Signed,
    state: OneStanding = Standing.WAITING,
    sample: OneSample = 0,
    after: Asked = "",
) -> Response:
    """Show what was drawn and waits for a second look, and what was found."""
    return await _samples(visit, state, sample, after)


@router.post("/desk/samples")
async def draw(visit: Signed, form: SignedForm) -> Response:
    """Draw closed tickets, or show the page again with the reason why not and what was typed."""
    try:
        drawn = await visit.app.supervision.draw(visit.by, _wanted(visit, form), visit.app.now())
    except (BadDraw, BadPeriod) as error:
        return await _samples(visit, Standing.WAITING, 0, "", refusal(error), form)
    return go(f"/desk/samples?{urlencode({'sample': drawn.id})}#main", f"draw.{drawn.drawn}")


async def _samples(
    visit: Visit,
    standing: Standing,
    sample: int,
    after: str,
    why: Refusal | None = None,
    form: Form | None = None,
) -> Response:
    app, by = visit.app, visit.by
    now = app.now()
    today = day_of(now)
    place = read_cursor(List.CHECKS, after)
    found = await app.supervision.checks(by, standing, sample=sample, after=place, limit=_PAGE)
    draws = await app.supervision.draws(by)
    month = today.replace(day=1)
    first = (month - timedelta(1)).replace(day=1)
    first = (first - timedelta(1)).replace(day=1)
    tallies = await app.supervision.tallies(by, first, today)
    asked = {"state": standing.value, **({"sample": sample} if sample else {})}
    onward = cursor_of(List.CHECKS, found.onward)
    last_month = month - timedelta(1)
    usual = {"since": str(last_month.replace(day=1)), "until": str(last_month), "size": "20"}
    typed = {name: form.one(name) for name in _DRAW_FIELDS} if form else usual
    regions = {u.region: app.gazetteer.name(u.region) for u in app.router.units(by.region or None)}
    return visit.page(
        "samples.html",
        why.status if why else 200,
        why=why,
        typed={name: typed.get(name, "") for name in _DRAW_FIELDS},
        standing=standing,
        standings=list(Standing),
        sample=sample,
        checks=[(each, is_offered(by, Act.REOPEN, each.ticket)) for each in found.items],
        draws=draws,
        tallies=tallies,
        total=_total(tallies),
        may_draw=reach(by.role, Ask.DRAW) is not None,
        may_check=reach(by.role, Act.CHECK) is not None,
        regions=regions if len(regions) > 1 else {},
        region_name=app.gazetteer.name,
        units=[u for u in app.router.units(by.region) if u.region == by.region]
        if by.region
        else [],
        unit_name=visit.unit_name,
        is_first=not place,
        here=f"/desk/samples?{urlencode(asked)}",
        onward=f"/desk/samples?{urlencode({**asked, 'after': onward})}" if onward else "",
    )


def _total(tallies: Sequence[Tally]) -> Tally:
    """Return what second looks found of all units in all months."""
    columns = ("looks", "unreached", "answered", "unsolved", "judged", "untruthful")
    return Tally("", "", *(sum(getattr(each, name) for each in tallies) for name in columns))


_DRAW_FIELDS = ("since", "until", "size", "percent", "region", "unit")


def _wanted(visit: Visit, form: Form) -> Draw:
    """Return what a form asks to draw. Raises BadPeriod, and BadDraw for what is no number, or no unit
    or region that there is."""
    numbers = {}
    for name, label in (("size", "件数"), ("percent", "比例")):
        text = form.one(name).strip()
        if text and not (text.isascii() and text.isdigit() and len(text) <= 6):
            raise BadDraw(FieldProblem(f"/{name}", f"{label}应为整数"))
        numbers[name] = int(text or 0)
    region, unit = form.one("region").strip(), form.one("unit").strip()
    if region and visit.app.gazetteer.find(region) != region:
        raise BadDraw(FieldProblem("/region", "没有这个地区"))
    if unit and visit.app.router.unit(unit) is None:
        raise BadDraw(FieldProblem("/unit", "没有这个单位，请核对单位代码"))
    return Draw(
        read_day("/since", form.one("since")),
        read_day("/until", form.one("until")),
        numbers["size"],
        numbers["percent"],
        region,
        unit,
    )


async def _send_backs(visit: Visit, now: datetime) -> Sequence[tuple[str, str, Rate]]:
    """Return the units that sent back most of late: code, name and rate, the most first."""
    today = day_of(now)
    asked = AskedRates(today - timedelta(DAYS - 1), today, By.UNIT, rate="sent_back")
    report = await visit.app.reports.kpis(asked, visit.by, now)
    rows = [(row.key, row.name, row.rates["sent_back"]) for row in report.items]
    some = [row for row in rows if row[2].numerator]
    return sorted(some, key=lambda row: (-row[2].numerator, row[0]))[:_SENDERS_BACK]


def _resolve(ticket: Ticket) -> Milestone | None:
    """Return the clock that more time is asked for."""
    return next((m for m in ticket.open() if m.kind == "resolve" and not m.assisting), None)


def _clock(ticket: Ticket, why: Pressing, unit: str) -> Milestone | None:
    """Return the clock for which a ticket is on the board, the first to fall due of several."""
    counts = _counting(ticket)
    carded = tuple(m for m in counts if m.stage == why.value)
    return next_owed(carded if why in {Pressing.YELLOW, Pressing.RED} else counts, unit)


def _stage(ticket: Ticket) -> Stage:
    """Return the worst stage of the clocks that the board counts."""
    order = list(Stage)
    return max((m.stage for m in _counting(ticket)), key=order.index, default=Stage.NORMAL)


def _counting(ticket: Ticket) -> tuple[Milestone, ...]:
    return tuple(m for m in ticket.open() if m.governing and not m.assisting)


def _press(m: Milestone | None, now: datetime) -> str:
    """Return what a unit is told if nothing else is typed."""
    if m is None:
        return "请抓紧办理，今日内反馈进展。"
    past = "已于" if m.due_at < now else "将于"
    return f"{MILESTONES[m.kind]}时限{past} {brief(m.due_at)} 到期，请抓紧办理，今日内反馈进展。"


def _many(count: int) -> str:
    return f"{MANY} 以上" if count >= MANY else str(count)
