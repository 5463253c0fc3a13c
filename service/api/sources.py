"""How the sources stand whose lists are read, and what of them could not become a ticket."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel

from service.api.callers import Caller
from service.api.problems import REFUSALS, UnknownSource
from service.api.schemas import LineProblem, Moment
from service.api.tickets import Asked, PageSize
from service.cursors import List, cursor_of, read_cursor
from service.domain.access import Ask, check_act
from service.domain.ports import Source
from service.parts import Parts
from service.store import polls

router = APIRouter(prefix="/v1/sources", tags=["sources"], responses=REFUSALS)


class ReadingOut(BaseModel):
    """How the reading of a source's list stands. `caught_up_at` is when the end of the list was last
    reached, `lag_seconds` how long that is ago; `error` is why the last try failed, "" if it did not."""

    caught_up_at: Moment | None
    lag_seconds: int | None
    succeeded_at: Moment | None
    failed_at: Moment | None
    error: str
    failures: int
    next_at: Moment | None
    read_up_to: Moment | None


class SourceOut(BaseModel):
    """A source of sources.yaml. `reading` is null where nothing is read, or was not yet; `rejected` is
    how many rows of its list wait that could not become a ticket."""

    name: str
    label: str
    channel: str
    region: str
    polled: bool
    reading: ReadingOut | None
    rejected: int


class SourceList(BaseModel):
    """Every source."""

    items: Sequence[SourceOut]
    next: None = None


class RejectedOut(BaseModel):
    """A row that could not become a ticket, and why. Look it up at the source by its number."""

    source_no: str
    first_at: Moment
    last_at: Moment
    errors: Sequence[LineProblem]


class RejectedList(BaseModel):
    """Rows that could not become tickets, in the order in which they first came."""

    items: Sequence[RejectedOut]
    next: str | None


@router.get("", summary="How the sources stand")
async def sources(app: Parts, by: Caller) -> SourceList:
    """List every source, with how the reading of its list stands where it offers one."""
    check_act(by, Ask.SOURCES)
    now = app.now()
    states, counts = await app.store.read(
        lambda c: ({s.source: s for s in polls.states(c)}, polls.rejected_counts(c))
    )
    return SourceList(
        items=[
            _source(source, states.get(name), counts.get(name, 0), now)
            for name, source in app.sources.items()
        ]
    )


@router.get("/{source}/rejected", summary="Rows of a list that could not become tickets")
async def rejected(
    source: Annotated[str, Path(max_length=64)],
    app: Parts,
    by: Caller,
    cursor: Asked = "",
    limit: PageSize = 50,
) -> RejectedList:
    """List the rows that wait until they, or what reads them, are mended."""
    check_act(by, Ask.SOURCES)
    if source not in app.sources:
        raise UnknownSource(source)
    after = read_cursor(List.REJECTED, cursor)
    rows = await app.store.read(lambda c: polls.rejected(c, source, after=after, limit=limit + 1))
    shown = rows[:limit]
    return RejectedList(
        items=[
            RejectedOut(
                source_no=row.source_no,
                first_at=row.first_at,
                last_at=row.last_at,
                errors=[LineProblem(pointer=p.pointer, detail=p.detail) for p in row.problems],
            )
            for row in shown
            if row.first_at and row.last_at
        ],
        next=cursor_of(List.REJECTED, shown[-1].id if len(rows) > limit else 0),
    )


def _source(
    source: Source, state: polls.PollState | None, waiting: int, now: datetime
) -> SourceOut:
    reading = None
    if state:
        lag = now - state.caught_up_at if state.caught_up_at else None
        reading = ReadingOut(
            caught_up_at=state.caught_up_at,
            lag_seconds=max(0, int(lag.total_seconds())) if lag is not None else None,
            succeeded_at=state.succeeded_at,
            failed_at=state.failed_at,
            error=state.error,
            failures=state.failures,
            next_at=state.next_at,
            read_up_to=state.place.mark,
        )
    return SourceOut(
        name=source.name,
        label=source.label,
        channel=source.channel,
        region=source.region,
        polled=source.poll is not None,
        reading=reading,
        rejected=waiting,
    )
