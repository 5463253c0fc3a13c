"""What is told to systems outside, over HTTP, signed as Standard Webhooks has it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from adapters.http import Answer, Client, SecretMissing, secret, token, wait_s
from adapters.signature import BadSecret, keys, sign, sm3_available
from service.domain.ports import Letter, Receiver, Refused, Unreachable

TIMEOUT_S = 10.0
# What is read of an answer, and thrown away: enough to use the connection again.
_ANSWER_BYTES = 64 * 1024
_SECRET_BYTES = 16
# Answers of 400 to 499 that mean "not now".
_NOT_NOW = frozenset({408, 409, 425, 429})


@dataclass(frozen=True, slots=True)
class _Known:
    url: str
    secrets: tuple[bytes, ...]
    token: str


def secrets_of(text: str) -> tuple[bytes, ...]:
    """Return the secrets of a variable's text, several apart by white space while one replaces the
    other: `whsec_` and base64, or the bytes as they are. Raises BadSecret for one too short."""
    # Of what a secret may stand for, the first is what it says; a sender must choose.
    found = tuple(keys(word)[0] for word in text.split())
    if any(len(key) < _SECRET_BYTES for key in found):
        raise BadSecret(f"密钥至少 {_SECRET_BYTES} 字节")
    return found


def signatures(secrets: Sequence[bytes], message: str, timestamp: int, body: bytes) -> str:
    """Return the value of `webhook-signature`: for each secret HMAC-SHA256 (`v1`), and HMAC-SM3
    (`v1sm3`) where this machine's OpenSSL has it."""
    return " ".join(
        f"{version},{sign(version, key, message, str(timestamp), body)}"
        for key in secrets
        for version in ("v1", "v1sm3")
        if version == "v1" or sm3_available()
    )


class Outbound:
    """A Post over HTTP. Goes to configured addresses alone."""

    def __init__(
        self,
        receivers: Mapping[str, Receiver],
        variables: Mapping[str, str],
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Read the secrets; raise SecretMissing for one that cannot be had."""
        self._known = {name: _known(each, variables) for name, each in receivers.items()}
        self._client = Client(timeout_s, {"Content-Type": "application/json"})

    async def send(self, letter: Letter) -> None:
        """See Post. Takes no longer than the timeout, whatever trickles in."""
        known = self._known[letter.destination]
        timestamp = int(letter.at.timestamp())
        headers = {
            "webhook-id": letter.message,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signatures(known.secrets, letter.message, timestamp, letter.body),
        }
        if known.token:
            headers["Authorization"] = f"Bearer {known.token}"
        answer = await self._client.exchange("POST", known.url, headers, _ANSWER_BYTES, letter.body)
        _judge(answer, letter.at)

    async def close(self) -> None:
        """See Post."""
        await self._client.close()


def _judge(answer: Answer, at: datetime) -> None:
    status = answer.status
    if 200 <= status < 300:
        return
    if 400 <= status < 500 and status not in _NOT_NOW:
        raise Refused(f"http-{status}")
    raise Unreachable(f"http-{status}", wait_s(answer, at))


def _known(receiver: Receiver, variables: Mapping[str, str]) -> _Known:
    asker = f"{receiver.destination} 的推送"
    try:
        secrets = secrets_of(secret(variables, receiver.secret, asker))
    except BadSecret as error:
        raise SecretMissing(f"环境变量 {receiver.secret} 无法使用：{error}") from error
    return _Known(receiver.url, secrets, token(variables, receiver.token, asker))
