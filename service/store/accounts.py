"""People's accounts, the browsers they were signed in from, and the tries that failed."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from service.domain.access import Actor, Role
from service.domain.sign_in import Counted, Tries
from service.store import sessions, tokens
from service.store.bulk import upsert
from service.store.tables import (
    AccountRow,
    DeviceRow,
    SecretRow,
    SessionRow,
    TriesRow,
    metadata,
)

_accounts = metadata.tables[AccountRow.__tablename__]
_sessions = metadata.tables[SessionRow.__tablename__]
_devices = metadata.tables[DeviceRow.__tablename__]
_tries = metadata.tables[TriesRow.__tablename__]
_secrets = metadata.tables[SecretRow.__tablename__]
_a = _accounts.c


class AccountExists(Exception):
    """There is an account of this name."""


@dataclass(frozen=True, slots=True)
class Account:
    """A person who may sign in; `password` is encoded, None for whom the identity provider vouches."""

    id: int
    name: str
    by: Actor
    password: str | None
    version: int
    changed_at: datetime


def add(connection: sa.Connection, name: str, by: Actor, password: str, at: datetime) -> None:
    """Add a local account, or raise AccountExists."""
    added = connection.execute(
        upsert(connection, _accounts)
        .values(name=name, password=password, version=1, created_at=at, **_who(by, at))
        .on_conflict_do_nothing()
    )
    if not added.rowcount:
        raise AccountExists(name)


def find(connection: sa.Connection, name: str) -> Account | None:
    """Return an account by its name."""
    row = connection.execute(sa.select(_accounts).where(_a.name == name)).first()
    return _account(row) if row else None


def of_session(connection: sa.Connection, session_id: int) -> Account | None:
    """Return the account that a session belongs to."""
    query = sa.select(_accounts).join(_sessions, _sessions.c.account_id == _a.id)
    row = connection.execute(query.where(_sessions.c.id == session_id)).first()
    return _account(row) if row else None


def all_of(connection: sa.Connection) -> Sequence[Account]:
    """Return every account by name."""
    return [_account(row) for row in connection.execute(sa.select(_accounts).order_by(_a.name))]


def any_local(connection: sa.Connection) -> bool:
    """Whether somebody signs in by a password."""
    query = sa.select(_a.id).where(_a.password.is_not(None)).limit(1)
    return connection.execute(query).first() is not None


def remove(connection: sa.Connection, name: str) -> bool:
    """Remove an account with its sessions; return False if there is none."""
    account = _locked(connection, _a.name == name)
    if account is None:
        return False
    _shut_out(connection, account.id)
    connection.execute(_devices.delete().where(_devices.c.account == name))
    connection.execute(_accounts.delete().where(_a.id == account.id))
    return True


def _shut_out(connection: sa.Connection, account_id: int) -> None:
    sessions.end_of(connection, account_id)
    tokens.drop_links_of(connection, account_id)


def set_password(connection: sa.Connection, name: str, password: str, at: datetime) -> bool:
    """Give an account another password and end its sessions; return False if there is no local account
    of this name."""
    account = _locked(connection, (_a.name == name) & _a.password.is_not(None))
    if account is None:
        return False
    _shut_out(connection, account.id)
    connection.execute(
        _accounts.update()
        .where(_a.id == account.id)
        .values(password=password, changed_at=at, version=_a.version + 1)
    )
    return True


def unchanged(connection: sa.Connection, account: Account) -> bool:
    """Whether an account is still as it was read; it cannot be changed before this transaction ends."""
    now = _locked(connection, _a.id == account.id)
    return now is not None and now.version == account.version


def vouched(connection: sa.Connection, subject: str, by: Actor, at: datetime) -> Account:
    """Return the account of whom the identity provider vouches for, made or brought up to date. Where
    it says something new of a person, his earlier sessions end."""
    connection.execute(
        upsert(connection, _accounts)
        .values(
            name=f"oidc-{subject[:16]}",
            subject=subject,
            password=None,
            version=1,
            created_at=at,
            **_who(by, at),
        )
        .on_conflict_do_nothing()
    )
    account = _locked(connection, _a.subject == subject)
    assert account is not None
    if account.by != by:
        _shut_out(connection, account.id)
        connection.execute(
            _accounts.update()
            .where(_a.id == account.id)
            .values(version=_a.version + 1, **_who(by, at))
        )
    return account


def _who(by: Actor, at: datetime) -> dict[str, object]:
    return {
        "shown": by.name,
        "role": by.role,
        "units": list(by.units),
        "region": by.region,
        "changed_at": at,
    }


def _locked(connection: sa.Connection, which: sa.ColumnElement[bool]) -> Account | None:
    row = connection.execute(sa.select(_accounts).where(which).with_for_update()).first()
    return _account(row) if row else None


def _account(row: sa.Row[tuple[object, ...]]) -> Account:
    by = Actor(row.shown, Role(row.role), tuple(row.units), region=row.region)
    return Account(row.id, row.name, by, row.password, row.version, row.changed_at)


# Where a person was signed in from before


def known_device(connection: sa.Connection, device: str, name: str) -> bool:
    """Whether an account was signed in from this browser before."""
    d = _devices.c
    query = sa.select(d.digest).where(d.digest == tokens.digest(device), d.account == name)
    return connection.execute(query).first() is not None


def keep_device(connection: sa.Connection, device: str, name: str, at: datetime) -> None:
    """Remember that an account was signed in from this browser."""
    row = upsert(connection, _devices).values(
        digest=tokens.digest(device), account=name, seen_at=at
    )
    connection.execute(
        row.on_conflict_do_update(index_elements=["digest", "account"], set_={"seen_at": at})
    )


# What failed


def keys(connection: sa.Connection, told: Mapping[Counted, str]) -> dict[Counted, str]:
    """Return under which keys tries are counted: who reads the table cannot tell whose they are."""
    secret = connection.execute(
        sa.select(_secrets.c.secret).where(_secrets.c.name == "sign_in")
    ).scalar_one()
    key = bytes.fromhex(secret)
    return {
        counted: hmac.new(key, f"{counted}\n{text}".encode(), hashlib.sha256).hexdigest()
        for counted, text in told.items()
    }


def counted(connection: sa.Connection, wanted: Sequence[str]) -> dict[str, Tries]:
    """Return what was counted under those of these keys under which anything was."""
    rows = connection.execute(sa.select(_tries).where(_tries.c.key.in_(wanted)))
    return {row.key: Tries(row.failures, row.at, row.until) for row in rows}


def hold(connection: sa.Connection, wanted: Sequence[str], at: datetime) -> dict[str, Tries]:
    """Return what was counted under keys, nothing too, and hold it: whoever tries beside waits for this
    transaction."""
    t = _tries.c
    for key in sorted(wanted):
        new = upsert(connection, _tries).values(key=key, failures=0, at=at, until=None)
        connection.execute(new.on_conflict_do_nothing())
    rows = connection.execute(
        sa.select(_tries).where(t.key.in_(wanted)).order_by(t.key).with_for_update()
    )
    return {row.key: Tries(row.failures, row.at, row.until) for row in rows}


def count(connection: sa.Connection, key: str, now: Tries) -> None:
    """Write what is counted under a key."""
    connection.execute(
        _tries.update()
        .where(_tries.c.key == key)
        .values(failures=now.failures, at=now.at, until=now.until)
    )
