"""Browsers that are signed in, and the record of who came in, went out or was refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from service.domain.access import Actor, Role
from service.domain.sign_in import PERSONS, Ends, Record, Way
from service.store import tokens
from service.store.tables import (
    AccountRow,
    DeviceRow,
    IdempotencyRow,
    SessionRow,
    SignInRow,
    TokenRow,
    TriesRow,
    metadata,
)
from service.store.tokens import Use

_sessions = metadata.tables[SessionRow.__tablename__]
_accounts = metadata.tables[AccountRow.__tablename__]
_tokens = metadata.tables[TokenRow.__tablename__]
_records = metadata.tables[SignInRow.__tablename__]
_devices = metadata.tables[DeviceRow.__tablename__]
_tries = metadata.tables[TriesRow.__tablename__]
_keys = metadata.tables[IdempotencyRow.__tablename__]
_s = _sessions.c

DEVICES_KEPT = timedelta(days=180)
TRIES_KEPT = timedelta(days=1)
RECORDS_KEPT = timedelta(days=366)
KEYS_KEPT = timedelta(days=7)
_LINKS_KEPT = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Session:
    """A session that is good: whose it is, when it was last seen."""

    id: int
    by: Actor
    way: Way
    seen_at: datetime


def start(
    connection: sa.Connection,
    by: Actor,
    way: Way,
    at: datetime,
    expires_at: datetime,
    *,
    account_id: int | None = None,
    token_id: int | None = None,
) -> str:
    """Return the token of a new session. It is shown once and cannot be read again."""
    token = tokens.drawn()
    connection.execute(
        _sessions.insert().values(
            digest=tokens.digest(token),
            account_id=account_id,
            token_id=token_id,
            way=way,
            name=by.name,
            role=by.role,
            units=list(by.units),
            region=by.region,
            created_at=at,
            seen_at=at,
            expires_at=expires_at,
        )
    )
    return token


def start_by_token(
    connection: sa.Connection, token: str, use: Use, at: datetime, expires_at: datetime
) -> tuple[str, Actor] | None:
    """Return the token of a new session and whose it is, or None if the API token or link is no good.

    A link is used up by it: of two at once only one gets a session. A session is no good without
    the API token that it was opened with.
    """
    by = tokens.find(connection, token, at, use)
    if by is None or by.role not in PERSONS:
        return None
    if use is Use.LINK:
        if not tokens.revoke(connection, token, at, use):
            return None
        account_id = tokens.account_of(connection, token)
        return start(connection, by, Way.LINK, at, expires_at, account_id=account_id), by
    return start(connection, by, Way.TOKEN, at, expires_at, token_id=int(by.id)), by


def find(connection: sa.Connection, token: str, at: datetime, ends: Ends) -> Session | None:
    """Return the session of a cookie, or None if it is unknown or over."""
    t = _tokens.c
    opened = _sessions.outerjoin(_tokens, t.id == _s.token_id)
    row = connection.execute(
        sa.select(_sessions)
        .select_from(opened)
        .where(
            _s.digest == tokens.digest(token),
            _s.expires_at > at,
            _s.seen_at > at - ends.idle,
            sa.or_(
                _s.token_id.is_(None),
                sa.and_(t.revoked_at.is_(None), sa.or_(t.expires_at.is_(None), t.expires_at > at)),
            ),
        )
    ).first()
    if row is None:
        return None
    by = Actor(
        name=row.name,
        role=Role(row.role),
        units=tuple(row.units),
        region=row.region,
        id=f"s{row.id}",
    )
    return Session(row.id, by, Way(row.way), row.seen_at)


def seen(connection: sa.Connection, session_id: int, at: datetime) -> None:
    """Let a session go on from now."""
    connection.execute(
        _sessions.update().where(_s.id == session_id, _s.seen_at < at).values(seen_at=at)
    )


def end(connection: sa.Connection, token: str) -> None:
    """End a session for good, if there is one."""
    connection.execute(_sessions.delete().where(_s.digest == tokens.digest(token)))


def end_of(connection: sa.Connection, account_id: int) -> int:
    """End every session of an account; return how many there were."""
    return connection.execute(_sessions.delete().where(_s.account_id == account_id)).rowcount


@dataclass(frozen=True, slots=True)
class Recorded:
    """One line of the record. `who` is a name or, of what was refused, the account that was tried."""

    at: datetime
    what: Record
    way: str
    who: str
    address: str


def record(
    connection: sa.Connection, at: datetime, what: Record, way: str, who: str, address: str
) -> None:
    """Add a line to the record."""
    connection.execute(
        _records.insert().values(at=at, what=what, way=way, who=who[:100], address=address[:64])
    )


def recorded(connection: sa.Connection, since: datetime, limit: int) -> Sequence[Recorded]:
    """Return the record since a time, newest first."""
    r = _records.c
    rows = connection.execute(
        sa.select(_records).where(r.at >= since).order_by(r.at.desc(), r.id.desc()).limit(limit)
    )
    return [Recorded(row.at, Record(row.what), row.way, row.who, row.address) for row in rows]


def purge(connection: sa.Connection, at: datetime, ends: Ends, most: int = 1_000) -> int:
    """Delete up to `most` rows each of what has ended and nobody asks for any more; return how many it
    was. What another replica deletes at this moment is left to it."""
    d, t, k, r = _devices.c, _tries.c, _keys.c, _records.c
    over = sa.or_(_s.expires_at <= at, _s.seen_at <= at - ends.idle)
    used_up = sa.and_(_tokens.c.use == Use.LINK, _tokens.c.expires_at < at - _LINKS_KEPT)
    return sum(
        _delete(connection, table, condition, most)
        for table, condition in (
            (_sessions, over),
            (_devices, d.seen_at < at - DEVICES_KEPT),
            (_tries, t.at < at - TRIES_KEPT),
            (_keys, k.at < at - KEYS_KEPT),
            (_records, r.at < at - RECORDS_KEPT),
            (_tokens, used_up),
        )
    )


def _delete(
    connection: sa.Connection, table: sa.Table, condition: sa.ColumnElement[bool], most: int
) -> int:
    key = list(table.primary_key)
    some = sa.select(*key).where(condition).limit(most).with_for_update(skip_locked=True)
    what = key[0].in_(some) if len(key) == 1 else sa.tuple_(*key).in_(some)
    return connection.execute(table.delete().where(what)).rowcount
