"""Who comes in: what a password must be, how often may be tried, and what a provider's claims make of
a person. Decisions alone; the doors keep what they rest on."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Any

from service.domain.access import GRANTS, Actor, Ask, Role

# Who may have a session at all.
PERSONS = frozenset(GRANTS[Ask.DESK])


class Way(StrEnum):
    """How somebody comes in."""

    PASSWORD = "password"  # noqa: S105 a local account
    OIDC = "oidc"  # the word of an identity provider
    TOKEN = "token"  # noqa: S105 an API token
    LINK = "link"  # a one-time link


class Record(StrEnum):
    """What is recorded of sign-ins and accounts."""

    SIGNED_IN = "signed_in"
    SIGNED_OUT = "signed_out"
    REFUSED = "refused"
    HELD_OFF = "held_off"  # too many tries before
    ACCOUNT_ADDED = "account_added"
    ACCOUNT_CHANGED = "account_changed"
    ACCOUNT_REMOVED = "account_removed"


# Accounts

ACCOUNT = re.compile(r"[a-z0-9][a-z0-9._-]{1,31}")
_TYPED_CHARS = 64


def account_name(text: str) -> str:
    """Return an account's name as it is kept: full-width letters, capitals and blanks around it are
    how people type. What is longer than any account's is cut first: of a text without an end that
    anybody may send, bringing it to form takes seconds."""
    return unicodedata.normalize("NFKC", text[:_TYPED_CHARS]).strip().casefold()


# Of one factor alone, as NIST SP 800-63B-4 has it: length counts, what sorts of characters does not.
SHORTEST = 15
LONGEST = 128
_SAME_MOST = 4
_COMMON = ("password", "banjie", "qwerty", "iloveyou", "admin", "woaini", "12345", "letmein")


def plain_password(text: str) -> str:
    """Return a password as it is hashed: the same however a keyboard composes its characters."""
    return unicodedata.normalize("NFC", text)


def weakness(password: str, name: str) -> str:
    """Return in Chinese why a password will not do for an account, "" if it will."""
    too_long = f"密码最多 {LONGEST} 个字符"
    if len(password) > LONGEST:  # as typed, for no more of it is looked at when it is checked
        return too_long
    password = plain_password(password)
    if len(password) < SHORTEST:
        return f"密码至少 {SHORTEST} 个字符，可以用一句话；不要求大小写、数字或符号"
    if len(password) > LONGEST:
        return too_long
    if not password.isprintable():
        return "密码含有不可见的字符"
    folded = password.casefold()
    rest = folded.replace(name.casefold(), "") if name else folded
    for word in _COMMON:
        rest = rest.replace(word, "")
    if len(set(folded)) <= _SAME_MOST or _is_run(folded) or len(rest) < SHORTEST // 2:
        return "密码太容易猜到：不要用账号名、常见密码、重复或连续的字符"
    return ""


def _is_run(text: str) -> bool:
    """Whether most of it is characters that follow each other, up or down: 123456789012345."""
    steps = [ord(b) - ord(a) for a, b in pairwise(text)]
    return max(sum(step == d for step in steps) for d in (1, -1)) > len(steps) * 0.7


# How often

_FIRST_WAIT = timedelta(seconds=30)
_LONGEST_WAIT = timedelta(minutes=15)
# After a day without a failure it begins anew.
_FORGOTTEN = timedelta(days=1)


class Counted(StrEnum):
    """By what failures are counted."""

    DEVICE = "device"  # an account, from a browser that it was signed in from
    PAIR = "pair"  # an account, from an address
    ACCOUNT = "account"  # an account, from browsers that it never was signed in from
    ADDRESS = "address"  # an address, whatever the account


# How many failures have no consequence. An office of a hundred people has one address.
FREE = {Counted.DEVICE: 10, Counted.PAIR: 5, Counted.ACCOUNT: 20, Counted.ADDRESS: 100}


@dataclass(frozen=True, slots=True)
class Tries:
    """Failures that were counted, when the last one was, and until when nothing is tried."""

    failures: int
    at: datetime
    until: datetime | None = None


def wait_s(tries: Tries | None, at: datetime) -> int:
    """Return for how many seconds a try is not even looked at, 0 for none.

    What is not looked at is not counted either: nobody who goes on trying makes it longer.
    """
    if tries is None or tries.until is None or tries.until <= at:
        return 0
    return int((tries.until - at).total_seconds()) + 1


def failed(tries: Tries | None, counted: Counted, at: datetime) -> Tries:
    """Return what is counted after one more failure: each beyond the free ones doubles the wait, up
    to a quarter of an hour."""
    before = tries.failures if tries and at - tries.at < _FORGOTTEN else 0
    failures = before + 1
    beyond = failures - FREE[counted]
    if beyond <= 0:
        return Tries(failures, at)
    wait = min(_FIRST_WAIT * 2 ** min(beyond - 1, 10), _LONGEST_WAIT)
    return Tries(failures, at, at + wait)


def forgiven(tries: Tries, counted: Counted) -> Tries:
    """Return what is counted after a success that had been counted as a failure in advance. It says
    nothing of what others tried."""
    if counted in {Counted.DEVICE, Counted.PAIR}:
        return Tries(0, tries.at)
    return Tries(max(0, tries.failures - 1), tries.at)


# Sessions


@dataclass(frozen=True, slots=True)
class Ends:
    """After how long without a request a session is over, and after how long in any case."""

    idle: timedelta = timedelta(hours=1)
    whole: timedelta = timedelta(hours=12)


# A provider's word


class NotMapped(Exception):
    """A provider vouches for somebody of whom its claims do not say what he may do here; the message
    says in Chinese what is missing."""


EVERYWHERE = "*"


@dataclass(frozen=True, slots=True)
class Claims:
    """Where a provider's claims say what somebody is. A dotted name goes into objects.

    `roles` maps the values of the role's claim to roles, `units` those of the unit's claim to unit
    codes; without `units` the values are the codes.
    """

    roles: Mapping[str, Role]
    units: Mapping[str, str]
    name: str = "name"
    role: str = "roles"
    unit: str = "unit"
    region: str = "region"

    def person(self, claims: Mapping[str, Any]) -> Actor:
        """Return who the claims speak of, or raise NotMapped: nobody gets what no row gives him."""
        names = _values(claims, self.name)
        # In one line, for it stands in lists and events; directories write blanks of many sorts.
        name = " ".join(names[0].split()) if len(names) == 1 else ""
        if not name:
            raise NotMapped("统一身份平台没有给出姓名")
        if not name.isprintable():
            raise NotMapped("您账号的姓名含有不可见的字符")
        roles = {self.roles[value] for value in _values(claims, self.role) if value in self.roles}
        if not roles:
            raise NotMapped("您的账号在本系统没有角色")
        if len(roles) > 1:
            raise NotMapped("您的账号在本系统对应了多个角色，无法确定用哪一个")
        role = roles.pop()
        regions = _values(claims, self.region)
        if len(regions) > 1:
            raise NotMapped("您的账号对应了多个地区")
        if not regions and role not in {Role.HANDLER, Role.ADMIN}:
            raise NotMapped("您的账号没有所属地区")
        units = [
            self.units.get(value, "") if self.units else value
            for value in _values(claims, self.unit)
        ]
        units = [unit for unit in units if unit]
        if role is Role.HANDLER and not units:
            raise NotMapped("您的账号没有对应的承办单位")
        region = regions[0] if regions and regions[0] != EVERYWHERE else ""
        return Actor(
            name[:100],
            role,
            tuple(dict.fromkeys(units)) if role is Role.HANDLER else (),
            region=region,
        )


def _values(claims: Mapping[str, Any], name: str) -> list[str]:
    """Return the texts that a claim holds: one, or a list; a name with dots goes into objects where no
    claim is so called as a whole."""
    found: Any = claims.get(name)
    if found is None:
        found = claims
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return [found] if found else []
    if isinstance(found, list | tuple):
        return [each for each in found if isinstance(each, str) and each]
    return []


class Unvouched(Exception):
    """The identity provider did not vouch for somebody: he gave up, or what came is no good. The reason
    is a word of ours."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
