"""The doors: how people come in and go out. Every sign-in ends here, whatever way it came.

A door says no as it says it to everybody: it does not tell whether an account exists, and takes as
long. What it remembers is in the database, so that it holds on every replica and after a restart.
"""

import asyncio
import hashlib
import ipaddress
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
import structlog

from service import passwords
from service.domain.access import Actor, Role
from service.domain.sign_in import (
    ACCOUNT,
    LONGEST,
    Claims,
    Counted,
    Ends,
    NotMapped,
    Record,
    Way,
    account_name,
    failed,
    forgiven,
    wait_s,
    weakness,
)
from service.store import Store, accounts, sessions, tokens
from service.store.accounts import Account
from service.store.sessions import Session
from service.store.tokens import Use

# One check takes 64 MiB and a tenth of a second of a processor.
_CHECKS_AT_ONCE = 2
_CHECKS_WAITING = 64
# How exactly it is known when a session was last seen: not every page is a write.
_SEEN_EVERY = timedelta(minutes=1)

log = structlog.get_logger()

T = TypeVar("T")


class Refused(Exception):
    """Nobody comes in: what was shown is wrong, over or used up."""


class HeldOff(Exception):
    """Too many tries failed; nothing is looked at for so many seconds."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Busy(Exception):
    """As many passwords wait to be checked as this replica takes on."""


class Weak(Exception):
    """A password will not do; says in Chinese why."""


class NoPassword(Exception):
    """Whoever it is signs in some other way."""


class Provider(Protocol):
    """An identity provider (统一身份认证)."""

    @property
    def issuer(self) -> str:
        """Return by what name it vouches for people."""
        ...

    async def address(self, secret: str) -> str:
        """Return where a browser is sent that holds `secret`, or raise Unreachable."""
        ...

    async def claims(self, secret: str, answer: Mapping[str, str]) -> Mapping[str, Any]:
        """Return the claims about whom the browser that holds `secret` comes back for; raise Unvouched
        for what the provider did not say to this browser, or Unreachable."""
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity provider, what it is called on the page, and what its claims mean."""

    provider: Provider
    label: str
    claims: Claims


@dataclass(frozen=True, slots=True)
class Comer:
    """Where somebody comes from: a network address, and the cookie by which a browser is known."""

    address: str
    device: str

    @property
    def network(self) -> str:
        """Return by what tries from there are counted: of IPv6 the part that one line has."""
        try:
            address = ipaddress.ip_address(self.address)
        except ValueError:
            return self.address
        if isinstance(address, ipaddress.IPv6Address) and not address.ipv4_mapped:
            return str(ipaddress.ip_network((address, 64), strict=False))
        return str(address)


@dataclass(frozen=True, slots=True)
class _Try:
    """A password that is to be checked, counted as a failure in advance."""

    account: Account | None
    keys: Mapping[Counted, str]
    is_last: bool  # if it fails, nothing more is looked at for a while


class Doors:
    """Signs people in and out."""

    def __init__(
        self,
        store: Store,
        now: Callable[[], datetime],
        ends: Ends,
        identity: Identity | None,
        unit_exists: Callable[[str], bool],
        region_exists: Callable[[str], bool],
    ) -> None:
        self._store = store
        self._now = now
        self.ends = ends
        self.identity = identity
        self._unit_exists = unit_exists
        self._region_exists = region_exists
        self._checker = ThreadPoolExecutor(_CHECKS_AT_ONCE, "passwords")
        self._checks = 0

    async def session(self, token: str, *, attended: bool = True) -> Session | None:
        """Return a session that is good, and let it go on if somebody is there. It is asked for anew
        with every request: what was ended is over at once, on every replica."""
        now = self._now()
        found = await self._store.read(lambda c: sessions.find(c, token, now, self.ends))
        if attended and found and now - found.seen_at >= _SEEN_EVERY:
            await self._store.run(lambda c: sessions.seen(c, found.id, now))
        return found

    async def by_token(self, token: str, use: Use, comer: Comer) -> str:
        """Return the token of a new session for an API token or a one-time link, or raise Refused."""
        now = self._now()
        way = Way.LINK if use is Use.LINK else Way.TOKEN
        # What nobody was ever given is made up: it writes nothing, however often it comes.
        whose = await self._store.read(lambda c: tokens.issued_to(c, token))
        if whose is None:
            return self._told(None, way)

        def work(connection: sa.Connection) -> str | None:
            opened = sessions.start_by_token(connection, token, use, now, now + self.ends.whole)
            what = Record.SIGNED_IN if opened else Record.REFUSED
            sessions.record(connection, now, what, way, whose, comer.address)
            return opened[0] if opened else None

        return self._told(await self._store.run(work), way)

    async def opens(self, link: str) -> bool:
        """Return whether a one-time link lets its person in; it is not used up by that."""
        now = self._now()
        return await self._store.read(lambda c: tokens.find(c, link, now, Use.LINK)) is not None

    async def by_password(self, name: str, password: str, comer: Comer) -> str:
        """Return the token of a new session for a local account, or raise Refused, HeldOff or Busy."""
        return await self._by_password(account_name(name)[:64], password, comer)

    async def account(self, session: Session) -> Account | None:
        """Return the account that a session belongs to, None for an API token's."""
        return await self._store.read(lambda c: accounts.of_session(c, session.id))

    async def change_password(self, session: Session, old: str, new: str, comer: Comer) -> str:
        """Give the account of a session another password, and return the token of the only session that
        it has then. Who came in by a one-time link has forgotten the old one and is not asked for it.

        Raises Weak, NoPassword for who signs in otherwise, and what `by_password` raises.
        """
        account = await self.account(session)
        if account is None or account.password is None:
            raise NoPassword
        if why := weakness(new, account.name):
            raise Weak(why)
        if session.way is not Way.LINK:
            return await self._by_password(account.name, old, comer, new)
        with self._counted():
            encoded = await self._beside(passwords.hashed, new)
        now = self._now()

        def work(connection: sa.Connection) -> str | None:
            if not accounts.unchanged(connection, account):
                return None
            self._change(connection, account, encoded, now, comer)
            return self._start(connection, account, Way.PASSWORD, now, comer)

        return self._told(await self._store.run(work), Way.PASSWORD)

    async def _by_password(self, name: str, password: str, comer: Comer, new: str = "") -> str:
        """Return the token of a new session; with `new` the account has that password from now on."""
        with self._counted():
            tried = await self._tried(name, comer)
            account = tried.account
            encoded = account.password if account else None
            right = await self._beside(passwords.fits, encoded, password[: LONGEST + 1])
            changed = await self._beside(passwords.hashed, new) if new and right else ""
        now = self._now()

        def work(connection: sa.Connection) -> str | None:
            if not right or account is None or not accounts.unchanged(connection, account):
                who = account.by.name if account else ""
                for what in (Record.REFUSED, *((Record.HELD_OFF,) if tried.is_last else ())):
                    sessions.record(connection, now, what, Way.PASSWORD, who, comer.address)
                return None
            held = accounts.hold(connection, list(tried.keys.values()), now)
            for counted, key in tried.keys.items():
                accounts.count(connection, key, forgiven(held[key], counted))
            if comer.device:
                accounts.keep_device(connection, comer.device, name, now)
            if changed:
                self._change(connection, account, changed, now, comer)
            return self._start(connection, account, Way.PASSWORD, now, comer)

        return self._told(await self._store.run(work), Way.PASSWORD)

    async def by_identity(self, secret: str, answer: Mapping[str, str], comer: Comer) -> str:
        """Return the token of a new session for whom the identity provider vouches, or raise
        Unvouched, NotMapped or Unreachable."""
        assert self.identity is not None
        claims = await self.identity.provider.claims(secret, answer)
        now = self._now()
        try:
            by = self.identity.claims.person(claims)
            self._check(by)
        except NotMapped:
            await self._store.run(
                lambda c: sessions.record(c, now, Record.REFUSED, Way.OIDC, "", comer.address)
            )
            raise
        told = f"{self.identity.provider.issuer}\n{claims['sub']}"
        subject = hashlib.sha256(told.encode()).hexdigest()

        def work(connection: sa.Connection) -> str:
            account = accounts.vouched(connection, subject, by, now)
            account = Account(account.id, account.name, by, None, account.version, now)
            return self._start(connection, account, Way.OIDC, now, comer)

        return self._told(await self._store.run(work), Way.OIDC)

    async def out(self, token: str, session: Session, comer: Comer) -> None:
        """End a session for good."""
        now = self._now()

        def work(connection: sa.Connection) -> None:
            sessions.end(connection, token)
            sessions.record(
                connection, now, Record.SIGNED_OUT, session.way, session.by.name, comer.address
            )

        await self._store.run(work)

    async def has_accounts(self) -> bool:
        """Whether anybody signs in by a password."""
        return await self._store.read(accounts.any_local)

    async def purge(self) -> int:
        """Delete some of what has ended; return how many rows it was."""
        now = self._now()
        return await self._store.run(lambda c: sessions.purge(c, now, self.ends))

    def _start(
        self, connection: sa.Connection, account: Account, way: Way, now: datetime, comer: Comer
    ) -> str:
        sessions.record(connection, now, Record.SIGNED_IN, way, account.by.name, comer.address)
        ends = now + self.ends.whole
        return sessions.start(connection, account.by, way, now, ends, account_id=account.id)

    @staticmethod
    def _told(session: str | None, way: Way) -> str:
        """Return the session, or raise Refused. The log knows how many, and nobody."""
        if session is None:
            log.info("sign_in.refused", way=way.value)
            raise Refused
        log.info("sign_in.done", way=way.value)
        return session

    async def _tried(self, name: str, comer: Comer) -> _Try:
        """Count a try as a failure before it is looked at, so that many at once are counted too, or
        raise HeldOff."""
        now = self._now()

        def work(connection: sa.Connection) -> _Try | int:
            # What can be no account is not asked for: PostgreSQL takes no NUL.
            may_be = ACCOUNT.fullmatch(name) is not None
            found = accounts.find(connection, name) if may_be else None
            if may_be and comer.device and accounts.known_device(connection, comer.device, name):
                told = {Counted.DEVICE: f"{name}\n{comer.device}"}
            else:
                told = {
                    Counted.PAIR: f"{name}\n{comer.network}",
                    Counted.ACCOUNT: name,
                    Counted.ADDRESS: comer.network,
                }
            keys = accounts.keys(connection, told)
            wanted = list(keys.values())
            # Looked at before anything is written: who is held off fills no table by going on.
            for look in (accounts.counted, partial(accounts.hold, at=now)):
                held = look(connection, wanted)
                if seconds := max((wait_s(tries, now) for tries in held.values()), default=0):
                    return seconds
            after = {key: failed(held[key], counted, now) for counted, key in keys.items()}
            for key, tries in after.items():
                accounts.count(connection, key, tries)
            return _Try(found, keys, any(tries.until for tries in after.values()))

        tried = await self._store.run(work)
        if isinstance(tried, int):
            log.info("sign_in.held_off", way=Way.PASSWORD.value)
            raise HeldOff(tried)
        return tried

    @staticmethod
    def _change(
        connection: sa.Connection, account: Account, encoded: str, now: datetime, comer: Comer
    ) -> None:
        accounts.set_password(connection, account.name, encoded, now)
        what, who = Record.ACCOUNT_CHANGED, account.by.name
        sessions.record(connection, now, what, Way.PASSWORD, who, comer.address)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Count a password that is worked on, or raise Busy. Nothing is waited for before it is counted:
        of many at once each sees the others."""
        if self._checks >= _CHECKS_WAITING:
            raise Busy
        self._checks += 1
        try:
            yield
        finally:
            self._checks -= 1

    async def _beside(self, work: Callable[..., T], *given: Any) -> T:
        """Return what `work` returns, done beside the loop."""
        return await asyncio.get_running_loop().run_in_executor(self._checker, work, *given)

    def _check(self, by: Actor) -> None:
        """Raise NotMapped for units and a region that there are not."""
        if by.region and not self._region_exists(by.region):
            raise NotMapped("您账号的所属地区不在本系统的区划表中")
        if by.role is Role.HANDLER and not all(map(self._unit_exists, by.units)):
            raise NotMapped("您账号的承办单位不在本系统的责任单位表中")


__all__ = [
    "Busy",
    "Comer",
    "Doors",
    "HeldOff",
    "Identity",
    "NoPassword",
    "Provider",
    "Refused",
    "Weak",
]
