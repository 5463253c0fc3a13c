"""An identity provider (统一身份认证) by OpenID Connect: authorization code with PKCE, state and nonce.

State, nonce and verifier are made of one secret that only the browser holds, in a cookie: nothing
is kept on the server, any replica can take the answer, and an answer that is brought by another
browser fits no secret.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from adapters.http import Client
from service.domain.ports import Unreachable
from service.domain.sign_in import Unvouched

# Signatures that only the provider can make. A shared secret or none at all is no word of his.
_ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA", "RS384", "RS512", "PS384", "PS512", "ES384")
_MOST = 1024 * 1024
_TIMEOUT_S = 10.0
_LEEWAY_S = 60
# Its addresses are asked for anew after a day, its keys at once when one is not known, but not for
# everybody who makes one up.
_KEPT_S = 86_400.0
_KEYS_AGAIN_S = 60.0
_FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}

Document = Mapping[str, Any]


class OpenId:
    """One provider, as a confidential or public client of it."""

    def __init__(
        self,
        issuer: str,
        client_id: str,
        client_secret: str,
        redirect_uri: str,
        scopes: str,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`redirect_uri` is where the provider sends browsers back to, as it is registered there."""
        self._issuer = issuer
        self._client_id = client_id
        self._client_secret = client_secret
        self._redirect_uri = redirect_uri
        self._scopes = scopes
        self._now = now
        self._monotonic = monotonic
        self._http = Client(_TIMEOUT_S, {})
        self._described: tuple[float, Document] | None = None
        self._keys: tuple[float, KeySet] | None = None
        self._asking = asyncio.Lock()

    @property
    def issuer(self) -> str:
        """Return by what name it vouches for people."""
        return self._issuer

    async def address(self, secret: str) -> str:
        """Return where a browser is sent that holds `secret`; raise Unreachable."""
        described = await self._description()
        found: str = prepare_grant_uri(
            described["authorization_endpoint"],
            self._client_id,
            "code",
            self._redirect_uri,
            self._scopes,
            state=_made(secret, "state"),
            nonce=_made(secret, "nonce"),
            code_challenge=create_s256_code_challenge(_made(secret, "verifier")),
            code_challenge_method="S256",
        )
        return found

    async def claims(self, secret: str, answer: Mapping[str, str]) -> Mapping[str, Any]:
        """Return the claims about whom the browser that holds `secret` comes back for.

        Raises Unvouched for what the provider did not say, or not to this browser, and Unreachable.
        """
        state = answer.get("state", "")
        if not secret or not hmac.compare_digest(state.encode(), _made(secret, "state").encode()):
            raise Unvouched("state")
        if answer.get("error"):
            raise Unvouched("denied" if answer["error"] == "access_denied" else "provider")
        # RFC 9207: an answer that names another provider was mixed up with his.
        if answer.get("iss", self._issuer) != self._issuer or not answer.get("code"):
            raise Unvouched("answer")
        told = await self._exchanged(answer["code"], _made(secret, "verifier"))
        access_token = told.get("access_token")
        claims = await self._verified(told.get("id_token"), _made(secret, "nonce"), access_token)
        return {**await self._more(access_token, claims["sub"]), **claims}

    async def _exchanged(self, code: str, verifier: str) -> Document:
        described = await self._description()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": verifier,
        }
        headers = dict(_FORM)
        methods = described.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if not self._client_secret:
            form["client_id"] = self._client_id
        elif "client_secret_basic" in methods:
            pair = f"{quote(self._client_id, safe='')}:{quote(self._client_secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": self._client_id, "client_secret": self._client_secret}
        status, told = await self._asked(
            "POST", described["token_endpoint"], headers, urlencode(form).encode()
        )
        if status != 200:
            # A code that was used up, is too old or another's; or we are not known there.
            raise Unvouched("client" if told.get("error") == "invalid_client" else "code")
        return told

    async def _verified(self, token: Any, nonce: str, access_token: Any) -> dict[str, Any]:
        """Return the claims of an ID token that is the provider's, for us, for this sign-in, and not
        over; else raise Unvouched."""
        if not isinstance(token, str):
            raise Unvouched("token")
        try:
            signed = await self._signed(token)
            claims = CodeIDToken(
                signed.claims,
                signed.header,
                {
                    "iss": {"essential": True, "value": self._issuer},
                    "aud": {"essential": True, "value": self._client_id},
                    "sub": {"essential": True},
                    "nonce": {"essential": True, "value": nonce},
                },
                {"nonce": nonce, "client_id": self._client_id, "access_token": access_token},
            )
            claims.validate(now=int(self._now()), leeway=_LEEWAY_S)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            # A kind alone: its message may quote the token.
            raise Unvouched("token") from error
        if not isinstance(claims["sub"], str) or not claims["sub"]:
            raise Unvouched("token")
        return dict(claims)

    async def _signed(self, token: str) -> jwt.Token:
        allowed = await self._algorithms()
        keys, fresh = await self._key_set(again=False)
        try:
            return jwt.decode(token, keys, algorithms=allowed)
        except (JoseError, ValueError):
            if fresh:
                raise
        # The provider may have changed its keys.
        keys, _ = await self._key_set(again=True)
        return jwt.decode(token, keys, algorithms=allowed)

    async def _algorithms(self) -> list[str]:
        named = (await self._description()).get("id_token_signing_alg_values_supported", ["RS256"])
        return [name for name in _ALGORITHMS if name in named]

    async def _more(self, access_token: Any, subject: str) -> Document:
        """Return what the provider says of somebody beside the ID token, if it says anything."""
        address = (await self._description()).get("userinfo_endpoint")
        if not address or not isinstance(access_token, str):
            return {}
        headers = {"Authorization": f"Bearer {access_token}", "Accept": "application/json"}
        status, told = await self._asked("GET", address, headers)
        if status != 200 or told.get("sub") != subject:
            raise Unvouched("userinfo")
        return told

    async def _description(self) -> Document:
        async with self._asking:
            now = self._monotonic()
            if self._described is None or now - self._described[0] > _KEPT_S:
                address = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
                status, told = await self._asked("GET", address, {"Accept": "application/json"})
                if status != 200 or told.get("issuer") != self._issuer:
                    raise Unreachable("not-the-issuer")
                for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                    if not _safe(told.get(name), self._issuer):
                        raise Unreachable("bad-description")
                # Not every provider has it; where it is, the access token goes there.
                more = told.get("userinfo_endpoint")
                if more and not _safe(more, self._issuer):
                    raise Unreachable("bad-description")
                self._described = (now, told)
            return self._described[1]

    async def _key_set(self, *, again: bool) -> tuple[KeySet, bool]:
        """Return the provider's keys, and whether they were asked for just now."""
        described = await self._description()
        async with self._asking:
            now = self._monotonic()
            age = now - self._keys[0] if self._keys else _KEPT_S
            if self._keys is None or age >= (_KEYS_AGAIN_S if again else _KEPT_S):
                status, told = await self._asked(
                    "GET", described["jwks_uri"], {"Accept": "application/json"}
                )
                if status != 200 or not isinstance(told.get("keys"), list):
                    raise Unreachable("bad-keys")
                self._keys = (now, _key_set(told["keys"]))
                return self._keys[1], True
            return self._keys[1], False

    async def _asked(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes = b""
    ) -> tuple[int, Document]:
        """Return status and JSON object of an answer; an answer that is none raises Unreachable."""
        answer = await self._http.exchange(
            method, url, {**headers, "Accept-Encoding": "identity"}, _MOST, content
        )
        try:
            told = json.loads(answer.body)
        except ValueError:
            told = None
        if answer.cut or not isinstance(told, dict):
            raise Unreachable(f"http-{answer.status}")
        return answer.status, told


def _key_set(keys: list[Any]) -> KeySet:
    """Return the keys that sign; of others, and of sorts that we do not know, none."""
    found = []
    for key in keys:
        if not isinstance(key, dict) or key.get("use", "sig") != "sig" or key.get("kty") == "oct":
            continue
        try:
            found += KeySet.import_key_set({"keys": [key]}).keys
        except (JoseError, ValueError, KeyError):
            continue
    if not found:
        raise Unreachable("bad-keys")
    return KeySet(found)


def _safe(address: Any, issuer: str) -> bool:
    """Whether an address is one to send secrets to: as safe as the issuer's own."""
    return isinstance(address, str) and address.startswith(
        ("https://",) if issuer.startswith("https://") else ("https://", "http://")
    )


def _made(secret: str, what: str) -> str:
    """Return what is made of a browser's secret for one purpose. It tells nothing of the secret."""
    digest = hmac.new(secret.encode(), f"banjie oidc {what}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
