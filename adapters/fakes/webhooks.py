"""Standard Webhooks as the other side does them: signs what it pushes, verifies what it is told.

Written apart from the service's own signing, from the specification alone: two that agree are right.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping

_DIGESTS = {"v1": "sha256", "v1sm3": "sm3"}
TOLERANCE_S = 300


def key(secret: str) -> bytes:
    """Return the key of a secret: what follows `whsec_` is base64, anything else is the key itself."""
    found = secret.removeprefix("whsec_")
    return secret.encode() if found == secret else base64.b64decode(found)


def signature(secret: str, number: str, timestamp: int, body: bytes, version: str = "v1") -> str:
    """Return what `webhook-signature` holds: `v1,` and the base64 of the HMAC, or `v1sm3,`."""
    signed = b".".join((number.encode(), str(timestamp).encode(), body))
    digest = hmac.new(key(secret), signed, lambda: hashlib.new(_DIGESTS[version])).digest()
    return f"{version},{base64.b64encode(digest).decode()}"


def headers(
    secret: str, number: str, timestamp: int, body: bytes, version: str = "v1"
) -> dict[str, str]:
    """Return the three headers of a signed request."""
    return {
        "webhook-id": number,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(secret, number, timestamp, body, version),
    }


def fault(secret: str, given: Mapping[str, str], body: bytes, now: int) -> str:
    """Return what is wrong with a signed request, "" if it is right. Names are in lower case."""
    number, timestamp = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    if not number or not timestamp.isdecimal():
        return "no webhook-id or webhook-timestamp"
    if abs(int(timestamp) - now) > TOLERANCE_S:
        return "the timestamp is more than five minutes off"
    for each in given.get("webhook-signature", "").split():
        version = each.partition(",")[0]
        if version in _DIGESTS and hmac.compare_digest(
            each, signature(secret, number, int(timestamp), body, version)
        ):
            return ""
    return "no signature fits"
