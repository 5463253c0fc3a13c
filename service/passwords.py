"""Passwords as they are kept: Argon2id, encoded with its salt and costs (RFC 9106, low memory)."""

from functools import cache
from typing import TYPE_CHECKING

from service.domain.sign_in import plain_password

if TYPE_CHECKING:
    from argon2 import PasswordHasher


def hashed(password: str) -> str:
    """Return a password as it is kept. It takes a tenth of a second and 64 MiB: not on the loop."""
    return _hasher().hash(plain_password(password))


def fits(encoded: str | None, password: str) -> bool:
    """Whether a password is the one that was kept; where none was, the answer takes as long."""
    from argon2.exceptions import VerifyMismatchError  # noqa: PLC0415 see below

    try:
        _hasher().verify(encoded or _nobodys(), plain_password(password))
    except VerifyMismatchError:
        return False
    return encoded is not None


@cache
def _hasher() -> "PasswordHasher":
    # Most commands, and services without local accounts, need none: they start without it.
    from argon2 import PasswordHasher  # noqa: PLC0415

    return PasswordHasher()


@cache
def _nobodys() -> str:
    return hashed("nobody's password")
