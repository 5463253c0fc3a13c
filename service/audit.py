"""The audit (审计): the chain that follows the feed, the heads of each day, and what is wrong with
either (ADR 0031)."""

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from service.domain.access import Actor, Ask, check_act
from service.domain.calendar import SHANGHAI
from service.domain.chain import Finding, Head, Tail, Walk, forged, head_bytes, instant
from service.domain.region import covers
from service.store import Store, chain

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

# Of what is wrong, so much is told one by one.
_TOLD_MOST = 1_000


class BadKey(ValueError):
    """A file that holds no Ed25519 key that can be read; the message says what is wrong with it."""


class BadHead(ValueError):
    """A line that is no head."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """What heads are signed with: the public key in base64, and the secret one."""

    public: str
    secret: "Ed25519PrivateKey"

    def sign(self, head: Head) -> Head:
        """Return the head signed."""
        signature = self.secret.sign(head_bytes(head))
        return replace(head, key=self.public, signature=base64.b64encode(signature).decode())


def read_key(path: Path) -> SigningKey:
    """Return the key that a PEM file holds, or raise BadKey."""
    # Whoever signs nothing does without a library of ciphers.
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PrivateKey,
    )
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        secret = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise BadKey(f"读不了 {path}：{error.strerror}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadKey(f"{path} 不是未加密的 PEM 私钥；可用 banjie audit key 生成") from None
    if not isinstance(secret, Ed25519PrivateKey):
        raise BadKey(f"{path} 里的私钥不是 Ed25519；可用 banjie audit key 生成")
    return _key_of(secret)


def new_key() -> tuple[SigningKey, bytes]:
    """Return a new key, and the PEM file that holds it."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PrivateKey,
    )

    secret = Ed25519PrivateKey.generate()
    pem = secret.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return _key_of(secret), pem


def _key_of(secret: "Ed25519PrivateKey") -> SigningKey:
    return SigningKey(base64.b64encode(secret.public_key().public_bytes_raw()).decode(), secret)


def is_signed(head: Head, keys: Sequence[str]) -> bool:
    """Whether the signature of a head is by its key, and that one of these; of any where none is given.

    A key that is none is answered with False, as a wrong signature is.
    """
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PublicKey,
    )

    if keys and head.key not in keys:
        return False
    try:
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(head.key, validate=True))
        public.verify(base64.b64decode(head.signature, validate=True), head_bytes(head))
    except (ValueError, InvalidSignature):
        return False
    return True


def head_line(head: Head) -> dict[str, Any]:
    """Return a head as the document that is kept elsewhere."""
    return {
        "region": head.region,
        "date": head.date.isoformat(),
        "sequence": head.sequence,
        "hash": head.hash,
        "events": head.events,
        "made_at": instant(head.made_at),
        "key": head.key,
        "signature": head.signature,
    }


def read_head(line: str) -> Head:
    """Return the head that a line of what is kept elsewhere holds, or raise BadHead."""
    try:
        given = json.loads(line)
        head = Head(
            region=given["region"],
            date=date.fromisoformat(given["date"]),
            sequence=given["sequence"],
            hash=given["hash"],
            events=given["events"],
            made_at=datetime.fromisoformat(given["made_at"]),
            key=given["key"],
            signature=given["signature"],
        )
        texts = (head.region, head.hash, head.key, head.signature)
        sound = (
            all(isinstance(text, str) for text in texts)
            and len(bytes.fromhex(head.hash)) == 32
            and all(type(number) is int and number >= 0 for number in (head.sequence, head.events))
            and head.made_at.tzinfo is not None
        )
    except (ValueError, KeyError, TypeError):
        sound = False
    if not sound:
        raise BadHead
    return head


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be checked: the chains of a region and what lies in it, "" for all; from the last head
    before a day on, None for the beginning; against heads that were kept elsewhere, signed by one of
    these keys where any are named."""

    region: str = ""
    since: date | None = None
    kept: Sequence[Head] = ()
    keys: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a check: how many events of how many regions were recomputed, how far each chain
    goes, how many events wait for their links, how many heads were met, and what is wrong: all of it
    counted, the first ones told."""

    events: int
    tails: Mapping[str, Tail]
    waiting: int
    stored: int
    kept: int
    unsigned: int
    keys: Sequence[str]
    faults: int
    findings: Sequence[Finding]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


class Audit:
    """Adds to the chain, makes heads, and reads all of it again."""

    def __init__(self, store: Store, sign: Callable[[Head], Head] | None = None) -> None:
        """Without `sign` heads are made unsigned."""
        self._store = store
        self._sign = sign or _unsigned

    async def extend(self) -> int:
        """Add the links of some events that have none; return how many."""
        if not await self._store.read(chain.waiting):
            return 0
        return await self._store.run(chain.extend)

    async def make_heads(self, at: datetime) -> int:
        """Make the heads of the last day that is over, in Shanghai, unless they are there; return how
        many."""
        day = at.astimezone(SHANGHAI).date() - timedelta(days=1)
        if not await self._store.read(lambda c: chain.lacks_heads(c, day)):
            return 0
        return await self._store.run(lambda c: chain.make_heads(c, day, at, self._sign))

    async def heads(
        self, by: Actor, since: date | None, region: str, after: int, limit: int | None
    ) -> list[Head]:
        """Return heads that the caller may see, in the order of writing, after one of them. Raises
        Forbidden."""
        check_act(by, Ask.AUDIT)
        return await self._store.read(
            lambda c: chain.heads(
                c, since=since, regions=(region, by.region), after=after, limit=limit
            )
        )

    async def verify(self, wish: Wish) -> Verdict:
        """Return what is wrong with chains and heads, all of it as of one moment."""
        return await self._store.read(lambda c: verify(c, wish))


def _unsigned(head: Head) -> Head:
    return head


def verify(connection: sa.Connection, wish: Wish) -> Verdict:
    """See Audit."""
    kept = [head for head in wish.kept if covers(wish.region, head.region)]
    false = {head for head in kept if _claims(head) and not is_signed(head, wish.keys)}
    stored = chain.heads(connection, regions=(wish.region,))
    false |= {head for head in stored if _claims(head) and not is_signed(head, wish.keys)}
    good = [head for head in (*stored, *kept) if head not in false]
    walk = Walk(_starts(wish, good))
    for head in good:
        walk.expect(head)

    after = chain.start_of(connection, walk.starts, wish.region)

    def found() -> Iterator[Finding]:
        yield from map(forged, sorted(false, key=lambda head: (head.region, head.date)))
        for link, each in chain.links(connection, after, wish.region):
            yield from walk.step(link, each)
        yield from walk.end(chain.tails(connection, wish.region))

    faults, findings = 0, []
    for finding in found():
        faults += 1
        if faults <= _TOLD_MOST:
            findings.append(finding)
    alone = chain.unchained(connection, after if wish.since else 0, wish.region)
    return Verdict(
        events=walk.links,
        tails=walk.tails,
        waiting=alone.waiting,
        stored=len(stored),
        kept=len(kept),
        unsigned=sum(not _claims(head) for head in good),
        keys=sorted({head.key for head in good if head.key}),
        faults=faults + len(alone.wrong),
        findings=[*findings, *alone.wrong],
    )


def _claims(head: Head) -> bool:
    """Whether a head says that it is signed."""
    return bool(head.key or head.signature)


def _starts(wish: Wish, heads: Sequence[Head]) -> dict[str, Tail]:
    """Return where the chains begin: at the last head before the day, of those that were kept elsewhere
    if there is any of that region."""
    if wish.since is None:
        return {}
    before = [head for head in heads if head.date < wish.since]
    # Later ones, and those kept elsewhere (without a number of ours), go before others.
    before.sort(key=lambda head: (head.id == 0, head.date))
    return {head.region: Tail(head.sequence, head.hash) for head in before}
