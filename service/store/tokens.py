"""Callers' tokens. The store knows a token by its SHA-256 alone."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from service.domain.access import Actor, Role
from service.store.tables import TokenRow, metadata


class Use(StrEnum):
    """What a token is good for; it is good for nothing else."""

    API = "api"  # the bearer token of a program
    LINK = "link"  # opens the desk once


_tokens = metadata.tables[TokenRow.__tablename__]


def create(
    connection: sa.Connection,
    actor: Actor,
    at: datetime,
    *,
    use: Use = Use.API,
    expires_at: datetime | None = None,
    account_id: int | None = None,
) -> str:
    """Return a new token for the actor, of a link for an account with its id. It is shown once and
    cannot be read again."""
    token = drawn()
    connection.execute(
        _tokens.insert().values(
            digest=digest(token),
            use=use,
            name=actor.name,
            role=actor.role,
            units=list(actor.units),
            source=actor.source,
            region=actor.region,
            created_at=at,
            expires_at=expires_at,
            account_id=account_id,
        )
    )
    return token


def issued_to(connection: sa.Connection, token: str) -> str | None:
    """Return the name of whom a token or link was made for, whether it is still good or not; None if
    it never was one."""
    found: str | None = connection.execute(
        sa.select(_tokens.c.name).where(_tokens.c.digest == digest(token))
    ).scalar()
    return found


def account_of(connection: sa.Connection, token: str) -> int | None:
    """Return the id of the account that a link is for, None for none."""
    found: int | None = connection.execute(
        sa.select(_tokens.c.account_id).where(_tokens.c.digest == digest(token))
    ).scalar()
    return found


def drop_links_of(connection: sa.Connection, account_id: int) -> None:
    """Forget the links of an account, used or not."""
    t = _tokens.c
    connection.execute(_tokens.delete().where(t.account_id == account_id, t.use == Use.LINK))


def find(connection: sa.Connection, token: str, at: datetime, use: Use = Use.API) -> Actor | None:
    """Return whom a token stands for, or None if it is unknown, expired, revoked or for another
    use."""
    t = _tokens.c
    row = connection.execute(
        sa.select(_tokens).where(
            t.digest == digest(token),
            t.use == use,
            t.revoked_at.is_(None),
            sa.or_(t.expires_at.is_(None), t.expires_at > at),
        )
    ).first()
    return None if row is None else _actor(row)


def revoke(connection: sa.Connection, token: str, at: datetime, use: Use) -> bool:
    """End a token now; return False if it had ended before. Of two at once only one gets True."""
    t = _tokens.c
    ended = connection.execute(
        _tokens.update()
        .where(t.digest == digest(token), t.use == use, t.revoked_at.is_(None))
        .values(revoked_at=at)
    )
    return bool(ended.rowcount)


@dataclass(frozen=True, slots=True)
class Listed:
    """What there is to tell of a program's token: all but the token, which nobody knows."""

    id: int
    actor: Actor
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    def good_at(self, at: datetime) -> bool:
        """Return whether a caller gets in with it."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > at)


def listed(connection: sa.Connection) -> Sequence[Listed]:
    """Return the tokens of programs that there are or were, the oldest first."""
    rows = connection.execute(
        sa.select(_tokens).where(_tokens.c.use == Use.API).order_by(_tokens.c.id)
    )
    return [
        Listed(row.id, _actor(row), row.created_at, row.expires_at, row.revoked_at) for row in rows
    ]


def revoke_listed(connection: sa.Connection, token_id: int, at: datetime) -> None:
    """End a listed token now; one that has ended keeps its time."""
    t = _tokens.c
    connection.execute(
        _tokens.update()
        .where(t.id == token_id, t.use == Use.API, t.revoked_at.is_(None))
        .values(revoked_at=at)
    )


def _actor(row: sa.Row[Any]) -> Actor:
    return Actor(
        name=row.name,
        role=Role(row.role),
        units=tuple(row.units),
        source=row.source,
        region=row.region,
        id=str(row.id),
    )


def drawn() -> str:
    """Return a new token of 256 random bits."""
    return f"bj_{secrets.token_urlsafe(32)}"


def digest(token: str) -> str:
    """Return what is kept of a token."""
    # A token has 256 random bits: a plain hash cannot be searched, unlike one of a password.
    return hashlib.sha256(token.encode()).hexdigest()
