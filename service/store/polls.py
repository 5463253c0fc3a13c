"""Where the reading of each list stands, and the rows of it that could not become tickets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import sqlalchemy as sa
from pydantic import TypeAdapter

from service.domain.polling import Place
from service.domain.ports import FieldProblem
from service.store import sealing
from service.store.bulk import upsert
from service.store.leases import LeaseLost
from service.store.tables import PollRow, RejectedRow, metadata


@dataclass(frozen=True, slots=True)
class KnownPage:
    """A page as it came the last time, so that a 304 can stand for it, and its validators."""

    etag: str
    modified: str
    count: int
    newest: datetime | None
    digest: str


@dataclass(frozen=True, slots=True)
class PollState:
    """How the reading of a source's list stands. `pages` are the last ones, by a digest of their
    address; `failures` is how often it failed in a row, `error` why, in Chinese, "" if it went well."""

    source: str
    place: Place = Place()  # noqa: RUF009 it is frozen
    pages: Mapping[str, KnownPage] = field(default_factory=dict)
    next_at: datetime | None = None
    succeeded_at: datetime | None = None
    caught_up_at: datetime | None = None
    failed_at: datetime | None = None
    error: str = ""
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row of a list that could not become a ticket: its number if it has one that can be read, the
    row as it came, and what is wrong with it."""

    source: str
    source_no: str
    digest: str
    body: str
    problems: tuple[FieldProblem, ...]
    first_at: datetime | None = None
    last_at: datetime | None = None
    id: int = 0


_PLACE = TypeAdapter(Place)
_PAGES = TypeAdapter(dict[str, KnownPage])
_PROBLEMS = TypeAdapter(tuple[FieldProblem, ...])

_polls = metadata.tables[PollRow.__tablename__]
_rejected = metadata.tables[RejectedRow.__tablename__]
_p = _polls.c
_r = _rejected.c


def begin(connection: sa.Connection, source: str, term: int) -> PollState:
    """Return how a source's reading stands, for a reader of this term; those before it write no more.

    Raises LeaseLost if a later one has begun.
    """
    empty = _values(PollState(source))
    connection.execute(
        upsert(connection, _polls)
        .values(source=source, term=term, **empty)
        .on_conflict_do_nothing(index_elements=["source"])
    )
    mine = (_p.source == source) & (_p.term <= term)
    row = connection.execute(
        _polls.update().where(mine).values(term=term).returning(_polls)
    ).one_or_none()
    if row is None:
        raise LeaseLost
    return _state(row)


def save(connection: sa.Connection, state: PollState, term: int) -> None:
    """Write how a reading stands, or raise LeaseLost: then the whole transaction is nothing."""
    mine = (_p.source == state.source) & (_p.term == term)
    if not connection.execute(_polls.update().where(mine).values(**_values(state))).rowcount:
        raise LeaseLost


def states(connection: sa.Connection) -> list[PollState]:
    """Return how every list stands that was ever read."""
    return [_state(row) for row in connection.execute(sa.select(_polls).order_by(_p.source))]


def reject(connection: sa.Connection, rows: Sequence[Rejected], at: datetime) -> set[str]:
    """Keep rows that could not become tickets; return the digests of those that were not there before.

    A row that comes again is the same one, seen again.
    """
    new: set[str] = set()
    for row in rows:
        problems = _PROBLEMS.dump_python(row.problems, mode="json")
        values = {"source": row.source, "digest": row.digest, "source_no": row.source_no}
        added = connection.execute(
            upsert(connection, _rejected)
            .values(**values, body="", problems=problems, first_at=at, last_at=at)
            .on_conflict_do_nothing(index_elements=["source", "digest"])
        ).rowcount
        if added:
            new.add(row.digest)
            sealing.put(connection, [_part(row.source, row.digest, row.body)])
        else:
            same = (_r.source == row.source) & (_r.digest == row.digest)
            connection.execute(
                _rejected.update()
                .where(same)
                .values(last_at=at, problems=problems, source_no=row.source_no, taken_at=None)
            )
            sealing.put(connection, [_part(row.source, row.digest, row.body)])
    return new


def _name(source: str, digest: str) -> str:
    return f"rejected:{source}:{digest}"


def _part(source: str, digest: str, body: str) -> sealing.Part:
    return sealing.Part(0, _name(source, digest), {"body": body})


def seal_bodies(connection: sa.Connection, limit: int) -> int:
    """Seal some of the rows that were kept before anything was sealed; return how many."""
    query = sa.select(_r.id, _r.source, _r.digest, _r.body, _r.taken_at).where(_r.body != "")
    found = connection.execute(query.order_by(_r.id).limit(limit).with_for_update()).all()
    waiting = [each for each in found if each.taken_at is None]
    sealing.put(connection, [_part(each.source, each.digest, each.body) for each in waiting])
    ids = [each.id for each in found]
    connection.execute(_rejected.update().where(_r.id.in_(ids)).values(body=""))
    return len(ids)


def taken(connection: sa.Connection, source: str, numbers: Sequence[str], at: datetime) -> None:
    """Close the rejected rows whose numbers came in a form that could become a ticket."""
    mine = (_r.source == source) & _r.taken_at.is_(None) & _r.source_no.in_(numbers)
    _close(connection, source, mine, at)


def settle(connection: sa.Connection, source: str, digests: Sequence[str], at: datetime) -> None:
    """Close rejected rows that became tickets after all."""
    mine = (_r.source == source) & _r.taken_at.is_(None) & _r.digest.in_(digests)
    _close(connection, source, mine, at)


def _close(
    connection: sa.Connection, source: str, which: sa.ColumnElement[bool], at: datetime
) -> None:
    """Close rows, and forget what was in them: it is in a ticket now."""
    closed = connection.execute(
        _rejected.update().where(which).values(taken_at=at, body="").returning(_r.digest)
    ).scalars()
    sealing.forget(connection, [(0, _name(source, digest)) for digest in closed])


def rejected(
    connection: sa.Connection, source: str, *, after: int = 0, limit: int = 100
) -> list[Rejected]:
    """Return the rows of a source that still wait, in the order in which they first came."""
    rows = connection.execute(
        sa.select(_rejected)
        .where(_r.source == source, _r.taken_at.is_(None), _r.id > after)
        .order_by(_r.id)
        .limit(limit)
    ).all()
    names = {row.id: _name(row.source, row.digest) for row in rows}
    sealed = sealing.opened_parts(connection, 0, list(names.values()))
    return [
        Rejected(
            source=row.source,
            source_no=row.source_no,
            digest=row.digest,
            body=row.body or sealed.get(names[row.id], {}).get("body", ""),
            problems=_PROBLEMS.validate_python(row.problems),
            first_at=row.first_at,
            last_at=row.last_at,
            id=row.id,
        )
        for row in rows
    ]


def rejected_counts(connection: sa.Connection) -> dict[str, int]:
    """Return how many rows of each source wait that could not become tickets."""
    query = sa.select(_r.source, sa.func.count()).where(_r.taken_at.is_(None)).group_by(_r.source)
    return {source: int(count) for source, count in connection.execute(query)}


def _values(state: PollState) -> dict[str, object]:
    return {
        "place": _PLACE.dump_python(state.place, mode="json"),
        "pages": _PAGES.dump_python(dict(state.pages), mode="json"),
        "next_at": state.next_at,
        "succeeded_at": state.succeeded_at,
        "caught_up_at": state.caught_up_at,
        "failed_at": state.failed_at,
        "error": state.error,
        "failures": state.failures,
    }


def _state(row: sa.Row[tuple[object, ...]]) -> PollState:
    found = row._mapping
    names = ("source", "next_at", "succeeded_at", "caught_up_at", "failed_at", "error", "failures")
    return replace(
        PollState(**{name: found[name] for name in names}),
        place=_PLACE.validate_python(found["place"]),
        pages=_PAGES.validate_python(found["pages"]),
    )
