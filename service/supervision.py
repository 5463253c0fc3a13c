"""Supervision (督办): what presses, what waits for a decision, and second looks (抽查) at what was
closed. Acts on tickets are the desk's; here is what they are found by, and the draw."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta

import sqlalchemy as sa

from service.desk import sees_ticket, shown
from service.domain.access import Actor, Ask, Forbidden, check_act
from service.domain.calendar import SHANGHAI
from service.domain.kpi import day_of
from service.domain.ports import FieldProblem
from service.domain.region import covers
from service.domain.sample import Standing, drawn, size_of
from service.domain.ticket import Ticket
from service.store import Store, proposals, samples, supervised
from service.store.lists import Due
from service.store.pages import Page
from service.store.samples import Check, Sample, Stratum, Tally
from service.store.supervised import Board, Dues, Pressing, Times

# What is counted for a sign on a page; more is told as so many and more.
MANY = 1_000
_MOST_DAYS = 92
_MOST_CLOSED = 20_000
_MOST_DRAWN = 500
_DRAWS_SHOWN = 10


class BadDraw(Exception):
    """Nothing can be drawn as it was asked for; carries every fault."""

    def __init__(self, *problems: FieldProblem) -> None:
        super().__init__("；".join(problem.detail for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Draw:
    """What to draw: of the tickets of a region and unit ("" for all that the caller sees) resolved
    from `since` to `until`, both counted, so many (`size`), or so many of a hundred (`percent`)."""

    since: date
    until: date
    size: int = 0
    percent: int = 0
    region: str = ""
    unit: str = ""


class Supervision:
    """What a supervisor looks at, and what is drawn for a second look."""

    def __init__(
        self, store: Store, seed: Callable[[], str] = lambda: secrets.token_hex(8)
    ) -> None:
        """`seed` gives what decides a draw; it is kept with it."""
        self._store = store
        self._seed = seed

    # What presses

    async def board(self, by: Actor, at: datetime) -> Board:
        """Return how many tickets each unit of the caller's region has to answer for today, is late
        with, has a card for; under "" of all units. Raises Forbidden."""
        check_act(by, Ask.SUPERVISION)
        return await self._store.read(lambda c: supervised.board(c, by.region, _times(at)))

    async def pressing(
        self,
        by: Actor,
        why: Pressing,
        at: datetime,
        *,
        unit: str = "",
        after: Due | None = None,
        limit: int = 50,
    ) -> Dues:
        """Return a page of the tickets that the board counts, the longest due first. Raises
        Forbidden."""
        check_act(by, Ask.SUPERVISION)
        found = await self._store.read(
            lambda c: supervised.page(
                c, by.region, why, _times(at), unit=unit, after=after, limit=limit
            )
        )
        return _shown(by, found)

    async def extensions(self, by: Actor, after: Due | None = None, limit: int = 50) -> Dues:
        """Return a page of the tickets for which more time was asked for and nobody has decided, the
        longest waiting first. Raises Forbidden."""
        check_act(by, Ask.SUPERVISION)
        found = await self._store.read(
            lambda c: supervised.extensions(c, by.region, after=after, limit=limit)
        )
        return _shown(by, found)

    async def waiting(self, by: Actor) -> tuple[int, int, int]:
        """Return how many requests for more time wait, how many second looks, and how many proposals
        to the table; MANY is as many and more. Raises Forbidden."""
        check_act(by, Ask.SUPERVISION)
        return await self._store.read(
            lambda c: (
                supervised.extensions_waiting(c, by.region, MANY),
                samples.waiting(c, by.region, MANY),
                proposals.waiting(c, by.region, MANY),
            )
        )

    # Second looks

    async def draw(self, by: Actor, wanted: Draw, at: datetime) -> Sample:
        """Draw closed tickets for a second look, each of which waits until it is looked at. What was
        drawn since it was resolved is not drawn again. Raises Forbidden, also for a region that is not
        the caller's, and BadDraw."""
        check_act(by, Ask.DRAW)
        region = wanted.region or by.region
        if not covers(by.region, region):
            raise Forbidden(by.role, Ask.DRAW)
        _check(wanted, at)
        seed = self._seed()
        since, until = _midnight(wanted.since), _midnight(wanted.until + timedelta(1))

        def work(connection: sa.Connection) -> Sample:
            samples.lock(connection)
            found = samples.closed(connection, region, wanted.unit, since, until, _MOST_CLOSED + 1)
            if not found:
                raise BadDraw(
                    FieldProblem("/since", "这段时间办结的工单中，没有已结案而未抽查过的")
                )
            if len(found) > _MOST_CLOSED:
                said = f"可抽查的工单超过 {_MOST_CLOSED} 件，请缩短期间，或选定地区、单位"
                raise BadDraw(FieldProblem("/since", said))
            size = wanted.size or size_of(len(found), wanted.percent)
            if size > _MOST_DRAWN:
                said = f"共 {len(found)} 件，按此比例应抽 {size} 件，一次最多 {_MOST_DRAWN} 件"
                raise BadDraw(FieldProblem("/percent", said))
            chosen = drawn(found, size, seed)
            sample = Sample(
                region,
                wanted.unit,
                wanted.since,
                wanted.until,
                size,
                wanted.percent,
                seed,
                len(found),
                tuple(
                    Stratum(
                        unit,
                        sum(each.unit == unit for each in found),
                        sum(each.unit == unit for each in chosen),
                    )
                    for unit in sorted({each.unit for each in found})
                ),
                by.name,
                at,
            )
            return replace(sample, id=samples.keep(connection, sample, chosen))

        return await self._store.run(work)

    async def draws(self, by: Actor) -> Sequence[Sample]:
        """Return the latest draws of the caller's region, the newest first. Raises Forbidden."""
        check_act(by, Ask.SUPERVISION)
        return await self._store.read(lambda c: samples.samples(c, by.region, _DRAWS_SHOWN))

    async def checks(
        self,
        by: Actor,
        standing: Standing,
        *,
        sample: int = 0,
        after: int = 0,
        limit: int = 50,
    ) -> Page[Check]:
        """Return a page of the tickets that were drawn, of one draw or of all (0): what waits the
        oldest first, what was looked at the newest first. Raises Forbidden."""
        check_act(by, Ask.SUPERVISION)
        found = await self._store.read(
            lambda c: samples.page(c, by.region, standing, sample=sample, after=after, limit=limit)
        )
        items = [replace(each, ticket=shown(by, each.ticket)) for each in found.items]
        return Page(items, found.onward)

    async def check(self, by: Actor, ticket: Ticket) -> Check | None:
        """Return how the second look at a ticket stands, None where it was never drawn. Raises
        Forbidden."""
        check_act(by, Ask.SUPERVISION)
        if not sees_ticket(by, ticket):
            return None
        return await self._store.read(lambda c: samples.latest(c, ticket))

    async def tallies(self, by: Actor, since: date, until: date) -> Sequence[Tally]:
        """Return what second looks from `since` to `until` found, by month and unit. Raises
        Forbidden."""
        check_act(by, Ask.SUPERVISION)
        return await self._store.read(lambda c: samples.tallies(c, by.region, since, until))


def _check(wanted: Draw, at: datetime) -> None:
    days = (wanted.until - wanted.since).days + 1
    problems = []
    if wanted.since > day_of(at):
        problems.append(FieldProblem("/since", "期间尚未开始"))
    if days < 1:
        problems.append(FieldProblem("/until", "不能早于开始的日期"))
    elif days > _MOST_DAYS:
        problems.append(FieldProblem("/until", f"一次最多 {_MOST_DAYS} 天，此处为 {days} 天"))
    if bool(wanted.size) == bool(wanted.percent):
        problems.append(FieldProblem("/size", "件数和比例填写一项"))
    if not 0 <= wanted.size <= _MOST_DRAWN:
        problems.append(FieldProblem("/size", f"应为 1 至 {_MOST_DRAWN} 件"))
    if not 0 <= wanted.percent <= 100:
        problems.append(FieldProblem("/percent", "应为 1 至 100"))
    if problems:
        raise BadDraw(*problems)


def _shown(by: Actor, found: Dues) -> Dues:
    return replace(found, items=[shown(by, ticket) for ticket in found.items])


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), SHANGHAI)


def _times(at: datetime) -> Times:
    return Times(at, _midnight(day_of(at) + timedelta(1)))
