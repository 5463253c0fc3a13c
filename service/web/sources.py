"""How each source fares: what came last, what failed, what waits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.exceptions import HTTPException
from starlette.responses import Response

from service.cursors import List, cursor_of, read_cursor
from service.domain.access import Ask, check_act
from service.domain.kpi import day_of
from service.domain.ports import Source
from service.domain.ticket import of_source
from service.store import intakes, polls
from service.store.deliveries import COUNTED
from service.store.intakes import Fate, Pushed
from service.store.polls import PollState
from service.web.queue import Asked
from service.web.sessions import Signed, Visit

router = APIRouter()

DAYS = 14
# Nothing for so long is worth a look: a week has days without a word, a source seldom has more.
_SILENT = timedelta(days=3)
_PAGE = 50
_FATES = tuple(Fate)


@dataclass(frozen=True, slots=True)
class Health:
    """How a source fares. `heard_at` is when it was last heard of, by a ticket or a push that was
    taken; None if never, as far as was looked at. `wrong` and `odd` are what has
    to be mended and what to look at, in Chinese; `waits` and `dead` are deliveries to it."""

    source: Source
    ticket_at: datetime | None
    heard_at: datetime | None
    pushes: Sequence[Pushed]
    reading: PollState | None
    rejected: int
    waits: int
    dead: int
    wrong: Sequence[str]
    odd: Sequence[str]

    @property
    def is_used(self) -> bool:
        """Whether anything was ever heard of it."""
        return bool(self.heard_at or self.pushes or self.reading)

    def count(self, fate: Fate) -> int:
        """Return how many of its pushes came to this."""
        return intakes.merged(self.pushes, fate)[0]

    def last(self, fate: Fate) -> datetime | None:
        """Return when the last of its pushes came to this."""
        return intakes.merged(self.pushes, fate)[1]


@router.get("/desk/sources")
async def sources(visit: Signed) -> Response:
    """Show every source, what is wrong with it first."""
    found, since = await _healths(visit, visit.app.sources)
    order = sorted(found, key=lambda h: (not h.wrong, not h.odd, not h.is_used, h.source.name))
    return visit.page(
        "sources.html",
        healths=order,
        since=since,
        days=DAYS,
        now=visit.app.now(),
        Fate=Fate,
        counted=COUNTED,
        ago=lambda at: _ago(at, visit.app.now()),
    )


@router.get("/desk/sources/{name}")
async def source(
    visit: Signed, name: Annotated[str, Path(max_length=64)], after: Asked = ""
) -> Response:
    """Show one source day by day, and the rows of its list that could not become tickets."""
    app = visit.app
    check_act(visit.by, Ask.SOURCES)
    if name not in app.sources:
        raise HTTPException(404)
    [health], _ = await _healths(visit, {name: app.sources[name]})
    place = read_cursor(List.REJECTED, after)
    rows = await app.store.read(lambda c: polls.rejected(c, name, after=place, limit=_PAGE + 1))
    shown = rows[:_PAGE]
    onward = cursor_of(List.REJECTED, shown[-1].id if len(rows) > _PAGE else 0)
    days = sorted({each.on for each in health.pushes}, reverse=True)
    by_day = {(each.on, each.fate): each.count for each in health.pushes}
    return visit.page(
        "source.html",
        health=health,
        days=days,
        by_day=by_day,
        fates=_FATES,
        counted_days=DAYS,
        rows=shown,
        is_first=not place,
        onward=f"/desk/sources/{name}?after={onward}" if onward else "",
        now=app.now(),
        ago=lambda at: _ago(at, app.now()),
    )


async def _healths(
    visit: Visit, named: Mapping[str, Source]
) -> tuple[list[Health], datetime | None]:
    """Return how sources fare, and since when a ticket of each was looked for, None for ever."""
    app, by = visit.app, visit.by
    check_act(by, Ask.SOURCES)
    now = app.now()
    first = day_of(now) - timedelta(DAYS - 1)

    seen = await app.store.read(lambda c: intakes.seen(c, by.region, named, first))
    found = [
        _health(
            each,
            seen.latest.at.get(name),
            seen.pushes[name],
            seen.readings.get(name),
            seen.rejected.get(name, 0),
            seen.waits.get(of_source(name), 0),
            seen.dead.get(of_source(name), 0),
            now,
        )
        for name, each in named.items()
    ]
    return found, seen.latest.since


def _health(
    source: Source,
    ticket_at: datetime | None,
    pushes: Sequence[Pushed],
    reading: PollState | None,
    rejected: int,
    waits: int,
    dead: int,
    now: datetime,
) -> Health:
    taken_at = intakes.merged(pushes, Fate.TAKEN)[1]
    unproven_at = intakes.merged(pushes, Fate.UNPROVEN)[1]
    refused_at = intakes.merged(pushes, Fate.REJECTED)[1]
    # That a list was read says that it is there, and not that anybody complained.
    heard = [at for at in (ticket_at, taken_at) if at]
    heard_at = max(heard, default=None)
    wrong, odd = [], []
    if reading and reading.failures:
        wrong.append(f"读取列表连续失败 {reading.failures} 次：{reading.error}")
    if unproven_at and (taken_at is None or unproven_at > taken_at):
        wrong.append("最近一次推送的签名或令牌不对")
    elif unproven_at:
        odd.append("有推送的签名或令牌不对")
    if refused_at and (taken_at is None or refused_at > taken_at):
        wrong.append("最近一次推送的内容被退回")
    if rejected:
        odd.append(f"{rejected} 行不能成为工单")
    if dead:
        odd.append(f"{dead if dead < COUNTED else f'{COUNTED} 以上'} 件回告投递失败")
    if heard_at and now - heard_at > _SILENT:
        odd.append(f"已 {(now - heard_at).days} 天没有来件")
    return Health(source, ticket_at, heard_at, pushes, reading, rejected, waits, dead, wrong, odd)


def _ago(at: datetime | None, now: datetime) -> str:
    """Return how long ago something was, in its largest unit."""
    if at is None:
        return ""
    seconds = max(0, int((now - at).total_seconds()))
    for size, unit in ((86_400, "天"), (3_600, "小时"), (60, "分钟")):
        if seconds >= size:
            return f"{seconds // size} {unit}前"
    return "刚刚"
