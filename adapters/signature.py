"""Signed pushes, as Standard Webhooks has them: pure, the time and the keys are arguments.

A sender signs `webhook-id`, `webhook-timestamp` and the bytes of the body, joined by full stops. The
header `webhook-signature` holds one or more signatures, separated by spaces: `v1,` and the base64
of HMAC-SHA256, or `v1sm3,` and that of HMAC-SM3 (GB/T 32905) where 国密 is asked for.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
TOLERANCE = timedelta(minutes=5)
_ALGORITHMS: Mapping[str, str] = {"v1": "sha256", "v1sm3": "sm3"}
_ID_CHARS = 200
_PREFIX = "whsec_"
# A header of a thousand signatures would be a thousand comparisons.
_SIGNATURES = 16


class NotSigned(Exception):
    """A push that is not proven to be its source's; `detail` is a sentence in Chinese."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class BadSecret(ValueError):
    """A secret that no signature can be made with; the message says why, and never the secret."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a sender says of a push beside its body: which one it is, when, and its signatures."""

    id: str
    timestamp: str
    signatures: tuple[str, ...]


def sm3_available() -> bool:
    """Whether this machine's Python can work out SM3: its OpenSSL may be built without."""
    return "sm3" in hashlib.algorithms_available


def keys(secret: str) -> tuple[bytes, ...]:
    """Return the keys that a secret may stand for, or raise BadSecret.

    After `whsec_` comes base64, and the key is what it encodes. Without it a sender may mean the
    characters themselves, or base64 as the libraries of Standard Webhooks do: both are tried.
    """
    secret = secret.strip()
    if secret.startswith(_PREFIX):
        decoded = _base64(secret.removeprefix(_PREFIX))
        if not decoded:
            raise BadSecret("whsec_ 之后不是有效的 base64")
        return (decoded,)
    if not secret:
        raise BadSecret("密钥是空的")
    found = _base64(secret)
    return (secret.encode(), found) if found else (secret.encode(),)


def stamp(headers: Mapping[str, str]) -> Stamp:
    """Return the three headers of a signed push, or raise NotSigned. Names are in lower case."""
    missing = [name for name in HEADERS if not headers.get(name, "").strip()]
    if missing:
        raise NotSigned(f"缺少请求头 {'、'.join(missing)}")
    number, timestamp, signatures = (headers[name].strip() for name in HEADERS)
    if len(number) > _ID_CHARS or not number.isascii() or not number.isprintable():
        raise NotSigned(f"webhook-id 应为不超过 {_ID_CHARS} 个可见 ASCII 字符")
    return Stamp(number, timestamp, tuple(signatures.split()[:_SIGNATURES]))


def check_time(said: Stamp, at: datetime) -> None:
    """Raise NotSigned for a push that was signed more than five minutes before or after `at`."""
    text = said.timestamp
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise NotSigned("webhook-timestamp 应为 Unix 时间的秒数，如 1763428353，不带毫秒")
    apart = int(text) - int(at.timestamp())
    if abs(apart) > TOLERANCE.total_seconds():
        which = "晚" if apart > 0 else "早"
        minutes = int(TOLERANCE.total_seconds() // 60)
        raise NotSigned(
            f"webhook-timestamp 比本机时间{which} {abs(apart)} 秒，超过 {minutes} 分钟；"
            "请核对两边的时钟，重发时用新的时间重新签名"
        )


def verify(said: Stamp, body: bytes, secrets: Sequence[bytes], at: datetime) -> None:
    """Return if a signature is by one of the keys and fresh, else raise NotSigned.

    All the keys are live: while a secret is changed the old one holds beside the new one.
    """
    check_time(said, at)
    parted = (part.partition(",") for part in said.signatures)
    given = [(version, digest) for version, _, digest in parted if version in _ALGORITHMS]
    if not given:
        raise NotSigned("webhook-signature 应为“v1,”或“v1sm3,”加 base64 签名，多个以空格分开")
    versions = {version for version, _ in given if version != "v1sm3" or sm3_available()}
    if not versions:
        raise NotSigned("本机的 OpenSSL 不支持 SM3，请改用 v1（HMAC-SHA256）签名")
    good = [(v, sign(v, key, said.id, said.timestamp, body)) for v in versions for key in secrets]
    # Every pair is compared: how long it takes tells nothing of which was near.
    same = [
        hmac.compare_digest(",".join(theirs).encode(), ",".join(ours).encode())
        for theirs in given
        for ours in good
    ]
    if not any(same):
        raise NotSigned(
            "签名不符：应以本来源的密钥，对“webhook-id.webhook-timestamp.报文”"
            "的原始字节作 HMAC；报文在签名之后不能再改动或转码"
        )


def sign(version: str, key: bytes, number: str, timestamp: str, body: bytes) -> str:
    """Return the base64 of a signature of version `v1` or `v1sm3`.

    Raises ValueError where `sm3_available` is false and SM3 is asked for.
    """
    signed = b"%s.%s.%s" % (number.encode(), timestamp.encode(), body)
    return base64.b64encode(hmac.digest(key, signed, _ALGORITHMS[version])).decode()


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
