"""Proposals (提议) to the responsible-unit table: to make one, to see what it would change, to decide."""

import re
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BeforeValidator
from starlette.exceptions import HTTPException
from starlette.responses import Response

from service.domain.access import Ask, Forbidden, Role, check_act, reach
from service.domain.kpi import day_of
from service.domain.ports import Unit
from service.domain.proposal import FOLLOWS, Proposal, Sort, Standing
from service.domain.region import covers
from service.proposals import (
    LOOKED_AT,
    BadProposal,
    NotSoAnyMore,
    OwnProposal,
    may_agree,
)
from service.web.refusals import Refusal, refusal
from service.web.sessions import Form, Signed, SignedForm, Visit, go

router = APIRouter()

_PAGE = 50
_LIST = "/desk/rules/proposals"
# What people part words with; in a rule file they would be a part of the word, which nobody says.
_PARTING = re.compile(r"[、，,；;]")
# Several times what the longest field may hold, blanks and all: what is said against a text without an
# end takes long, and nobody reads it.
_MOST_CHARS = 4_000
_FIELDS = ("kind", "unit", "region", "name", "words", "pairs", "examples", "reason")

OneStanding = Annotated[Standing, BeforeValidator(lambda value: value or Standing.WAITING)]
Number = Annotated[int, Path(ge=1, le=2**62)]


@router.get(_LIST)
async def listed(
    visit: Signed,
    state: OneStanding = Standing.WAITING,
    before: Annotated[int, Query(ge=0, le=2**62)] = 0,
) -> Response:
    """Show the proposals that wait, or what became of the others, and the forms to propose."""
    return await _listed(visit, state, before)


@router.post(_LIST)
async def propose(visit: Signed, form: SignedForm) -> Response:
    """Keep a proposal, or show the page again with what is wrong with it and what was typed."""
    check_act(visit.by, Ask.PROPOSE)
    if any(len(form.one(name)) > _MOST_CHARS for name in _FIELDS):
        raise HTTPException(413)
    app = visit.app
    try:
        sort = Sort(form.one("kind"))
    except ValueError as error:
        raise HTTPException(400) from error
    asked = form.one("region").strip()
    region = app.gazetteer.find(asked) or "" if asked else visit.by.region
    unit = _code(visit, form.one("unit").strip()[:64], region)
    wanted = Proposal(
        sort,
        unit,
        region if asked else _usual(visit, unit),
        form.one("name"),
        form.one("reason"),
        visit.by.name,
        app.now(),
        tuple(_parted(form.one("words")).split()),
        tuple(map(_parted, form.one("pairs").split("\n"))),
        tuple(form.one("examples").split("\n")),
    )
    try:
        made = await app.proposals.propose(visit.by, wanted)
    except (BadProposal, Forbidden) as error:
        return await _listed(visit, Standing.WAITING, 0, refusal(error), form)
    return go(f"{_LIST}/{made.id}", f"{Ask.PROPOSE}.{made.id}")


@router.get(f"{_LIST}/{{number}}")
async def shown(visit: Signed, number: Number) -> Response:
    """Show a proposal, what the rules say to it, and which tickets it would send elsewhere."""
    return await _shown(visit, number)


@router.post(f"{_LIST}/{{number}}")
async def decide(visit: Signed, number: Number, form: SignedForm) -> Response:
    """Agree, refuse or withdraw, or show the page again with the reason why not."""
    try:
        standing = Standing(form.one("verdict"))
        FOLLOWS[standing]
    except (ValueError, KeyError) as error:
        check_act(visit.by, Ask.DECIDE_PROPOSAL)
        raise HTTPException(400) from error
    app = visit.app
    try:
        await app.proposals.decide(visit.by, number, standing, form.one("reason"), app.now())
    except (BadProposal, OwnProposal, NotSoAnyMore) as error:
        return await _shown(visit, number, refusal(error), form.one("reason"))
    return go(f"{_LIST}/{number}", f"{standing}.{number}")


async def _listed(
    visit: Visit,
    standing: Standing,
    before: int,
    why: Refusal | None = None,
    form: Form | None = None,
) -> Response:
    app, by = visit.app, visit.by
    found = await app.proposals.listed(by, standing, before, _PAGE + 1)
    more = len(found) > _PAGE
    return visit.page(
        "proposals.html",
        why.status if why else 200,
        why=why,
        typed={name: form.one(name) if form else "" for name in _FIELDS},
        standing=standing,
        standings=list(Standing),
        found=found[:_PAGE],
        onward=f"{_LIST}?state={standing}&before={found[_PAGE - 1].id}" if more else "",
        may_propose=reach(by.role, Ask.PROPOSE) is not None,
        bound=bool(by.region),
        units=_units(visit),
        unit_name=visit.unit_name,
        region_name=app.gazetteer.name,
    )


async def _shown(
    visit: Visit, number: int, why: Refusal | None = None, reason: str = ""
) -> Response:
    app, by = visit.app, visit.by
    found = await app.proposals.one(by, number)
    decides = reach(by.role, Ask.DECIDE_PROPOSAL) is not None and covers(by.region, found.region)
    waits = found.standing is Standing.WAITING
    trial = await app.proposals.trial(by, found) if decides and waits else None
    return visit.page(
        "proposal.html",
        why.status if why else 200,
        why=why,
        reason=reason,
        it=found,
        trial=trial,
        looked_at=LOOKED_AT,
        verdicts=_verdicts(visit, found) if decides else (),
        own=waits and decides and not may_agree(by, found),
        unit_name=visit.unit_name,
        region_name=app.gazetteer.name,
    )


def _verdicts(visit: Visit, found: Proposal) -> Sequence[tuple[Standing, str]]:
    said = {
        Standing.ACCEPTED: "同意",
        Standing.REFUSED: "不同意",
        Standing.WITHDRAWN: "撤回",
    }
    return [
        (standing, said[standing])
        for standing, before in FOLLOWS.items()
        if before is found.standing
        and (standing is not Standing.ACCEPTED or may_agree(visit.by, found))
    ]


def _units(visit: Visit) -> Sequence[Unit]:
    """Return the units to choose from: a handler's own, or those of the region itself; none for who
    works for the whole province."""
    router, by = visit.app.router, visit.by
    if by.role is Role.HANDLER:
        return [unit for code in by.units if (unit := router.unit(code))]
    return [u for u in router.units(by.region) if u.region == by.region] if by.region else []


def _parted(words: str) -> str:
    """Return words as a rule file parts them: by blanks, those that mean the same by a half-width bar."""
    return _PARTING.sub(" ", words).replace("｜", "|")


def _code(visit: Visit, told: str, region: str) -> str:
    """Return the code of a unit that was told by it or by name; what is neither as it is, to be refused."""
    if visit.app.router.unit(told):
        return told
    unit = visit.app.router.named(told, region, day_of(visit.app.now()))
    return unit.code if unit else told


def _usual(visit: Visit, code: str) -> str:
    """Return the region of a proposal that names none: the caller's, else its unit's."""
    unit = visit.app.router.unit(code)
    return visit.by.region or (unit.region if unit else "")
