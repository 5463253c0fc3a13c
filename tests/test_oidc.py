"""Signing in by an identity provider: a real one as a process of its own, and one that lies."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from adapters.oidc import OpenId
from service.domain.ports import Unreachable
from service.domain.sign_in import Unvouched
from tests.process import free_port
from tests.served import Served, served, sqlite

pytestmark = pytest.mark.slow

HERE = {"Origin": "http://testserver"}
BACK = "http://localhost/desk/sign-in/oidc/back"
MARKET = "360732-market_regulation"
SETTINGS = {
    "oidc_client_id": "banjie",
    "oidc_client_secret": "a secret of the client",
    "oidc_roles": "cb=handler, fb=dispatcher",
    "oidc_units": "SCJG=" + MARKET,
    "public_url": "http://localhost",
}
CLAIMS = {"name": "张某", "roles": ["cb", "其他"], "unit": "SCJG", "region": "360732"}


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.provider", "--port", "0"],
        env={**os.environ, "AUTHLIB_INSECURE_TRANSPORT": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def service(tmp_path: Path, provider: str) -> Iterator[Served]:
    with served(sqlite(tmp_path), oidc_issuer=provider, **SETTINGS) as running:
        running.client.follow_redirects = False
        # The provider's clock is the machine's.
        running.clock.time = datetime.now(UTC)
        yield running


def known_there(provider: str, who: str, **changed: Any) -> None:
    claims = {k: v for k, v in (CLAIMS | changed).items() if v is not None}
    assert httpx.put(f"{provider}/users/{who}", json=claims, timeout=60).status_code == 204


def led(service: Served, onward: str = "/desk/queue") -> str:
    """Return where the sign-in page leads to."""
    service.client.cookies.clear()
    page = service.client.get(f"/desk/sign-in?next={onward}").text
    assert f'href="/desk/sign-in/oidc?next={onward}">统一身份认证登录</a>' in page
    answer = service.client.get(f"/desk/sign-in/oidc?next={onward}")
    assert answer.status_code == 303
    assert "HttpOnly" in answer.headers["set-cookie"]
    return str(answer.headers["location"])


def said(address: str, who: str, **form: str) -> str:
    """Return where the provider sends a browser back to, when somebody signs in there."""
    answer = httpx.post(address, data={"sub": who, **form}, timeout=60)
    assert answer.status_code == 302, answer.text
    back = urlsplit(answer.headers["location"])
    assert f"{back.scheme}://{back.netloc}{back.path}" == BACK
    return f"{back.path}?{back.query}"


def signed_in(service: Served, who: str, onward: str = "/desk/queue") -> Any:
    return service.client.get(said(led(service, onward), who))


def test_whom_the_provider_vouches_for_comes_in_and_goes_on(service: Served, provider: str) -> None:
    known_there(provider, "zhang")
    address = led(service)
    asked = parse_qs(urlsplit(address).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["redirect_uri"] == [BACK]
    assert len({asked[name][0] for name in ("state", "nonce", "code_challenge")}) == 3
    back = said(address, "zhang")
    answer = service.client.get(back)
    assert (answer.status_code, answer.headers["location"]) == (303, "/desk/queue")
    page = service.client.get("/desk/queue")
    assert page.status_code == 200
    assert "张某" in page.text
    assert "市场监督管理局" in page.text
    # A second time the answer is no good: neither cookie nor code are left.
    again = service.client.get(back)
    assert again.status_code == 401
    assert "没有完成或已过期" in again.text
    assert back.partition("code=")[2] not in again.text
    # The name that the account has with us is nothing that he signs in with.
    own = service.client.get("/desk/account").text
    assert "统一身份" in own
    assert "oidc" not in own


def test_an_answer_is_good_for_the_browser_alone_that_asked(service: Served, provider: str) -> None:
    known_there(provider, "zhang")
    back = said(led(service), "zhang")
    service.client.cookies.clear()
    assert service.client.get(back).status_code == 401
    led(service)  # another browser, with a secret of its own
    assert service.client.get(back).status_code == 401
    assert service.client.get("/desk/queue").status_code == 303


def test_who_gives_up_there_is_told_so(service: Served, provider: str) -> None:
    address = led(service)
    answer = httpx.post(address, data={"action": "deny"}, timeout=60)
    to = answer.headers["location"]
    state = parse_qs(urlsplit(address).query)["state"][0]
    back = f"/desk/sign-in/oidc/back?error=access_denied&state={state}"
    assert "error=access_denied" in to
    refused = service.client.get(back)
    assert refused.status_code == 401
    assert "取消了登录" in refused.text


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"roles": ["其他"]}, "没有角色"),
        ({"roles": ["cb", "fb"]}, "多个角色"),
        ({"unit": "WJJ"}, "没有对应的承办单位"),
        ({"region": "999999"}, "不在本系统的区划表中"),
        ({"name": None}, "没有给出姓名"),
    ],
    ids=str,
)
def test_whom_no_row_gives_anything_stays_outside(
    service: Served, provider: str, changed: dict[str, Any], why: str
) -> None:
    known_there(provider, "somebody", **changed)
    answer = signed_in(service, "somebody")
    assert answer.status_code == 403
    assert why in answer.text
    assert service.client.get("/desk/queue").status_code == 303


def test_what_is_new_of_a_person_ends_the_sessions_he_had(service: Served, provider: str) -> None:
    known_there(provider, "wang")
    signed_in(service, "wang")
    before = service.client.cookies["banjie_session"]
    assert service.client.get("/desk/queue").status_code == 200
    assert service.client.get("/desk/sorting").status_code == 403
    signed_in(service, "wang")
    service.client.cookies.clear()
    service.client.cookies.set("banjie_session", before, path="/desk")
    assert service.client.get("/desk/queue").status_code == 200, "nothing was new"
    known_there(provider, "wang", roles=["fb"])
    signed_in(service, "wang")
    assert service.client.get("/desk/sorting").status_code == 200
    service.client.cookies.clear()
    service.client.cookies.set("banjie_session", before, path="/desk")
    assert service.client.get("/desk/queue").status_code == 303


@pytest.mark.parametrize(
    "onward", ["https://example.org/", "//example.org", "/desk/../v1", "/desk\\@example.org"]
)
def test_the_way_back_leads_to_no_other_site(service: Served, provider: str, onward: str) -> None:
    known_there(provider, "zhang")
    answer = service.client.get("/desk/sign-in/oidc", params={"next": onward})
    answer = service.client.get(said(answer.headers["location"], "zhang"))
    assert answer.headers["location"] == "/desk"


def test_a_provider_that_is_gone_is_told_and_other_doors_stay_open(tmp_path: Path) -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    with served(sqlite(tmp_path), oidc_issuer=gone, **SETTINGS) as service:
        service.client.follow_redirects = False
        answer = service.client.get("/desk/sign-in/oidc")
        assert answer.status_code == 503
        assert "连不上统一身份平台" in answer.text
        assert "访问令牌" in answer.text


# A provider that lies

KEY = RSAKey.generate_key(2048, {"kid": "1", "use": "sig"})
SECRET = "what only the browser knows"
NOW = 1_800_000_000


class Liar:
    """A provider whose answers a test makes up."""

    def __init__(self, address: str) -> None:
        self.issuer = address
        self.keys: list[Any] = [KEY.as_dict(private=False)]
        self.token: Any = None
        self.userinfo: dict[str, Any] = {"sub": "zhang"}
        self.described: dict[str, Any] = {}
        self.asked: list[str] = []

    def says(self, path: str) -> Any:
        """Return what an address answers."""
        self.asked.append(path)
        if path == "/.well-known/openid-configuration":
            return {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "userinfo_endpoint": f"{self.issuer}/userinfo",
                "id_token_signing_alg_values_supported": ["RS256", "ES256", "HS256", "none"],
                **self.described,
            }
        return {
            "/keys": {"keys": self.keys},
            "/token": {"access_token": "a", "token_type": "Bearer", "id_token": self.token},
            "/userinfo": self.userinfo,
        }[path]


@contextmanager
def lying() -> Iterator[Liar]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            body = json.dumps(liar.says(self.path)).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 as the library calls it

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    liar = Liar(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield liar
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def vouched(liar: Liar, times: int = 1, **token: Any) -> dict[str, Any]:
    """Return the claims that an answer of the liar's comes to, told with an ID token of these."""
    client = OpenId(liar.issuer, "banjie", "secret", BACK, "openid", now=lambda: NOW)
    asked = parse_qs(urlsplit(await client.address(SECRET)).query)
    key = token.pop("key", KEY)
    header = token.pop("header", {"alg": "RS256", "kid": "1"})
    claims = {
        "iss": liar.issuer,
        "aud": "banjie",
        "sub": "zhang",
        "nonce": asked["nonce"][0],
        "iat": NOW,
        "exp": NOW + 300,
        **token,
    }
    claims = {name: value for name, value in claims.items() if value is not None}
    if liar.token is None:
        liar.token = jwt.encode(header, claims, key, algorithms=[header["alg"]])
    answer = {"state": asked["state"][0], "code": "c"}
    found: dict[str, Any] = {}
    for _ in range(times):
        found = dict(await client.claims(SECRET, answer))
    await client._http.close()
    return found


def test_a_word_that_is_true_is_taken() -> None:
    with lying() as liar:
        liar.userinfo = {"sub": "zhang", "dept": "SCJG", "iss": "another"}
        found = asyncio.run(vouched(liar, name="张某"))
        assert (found["sub"], found["dept"], found["iss"]) == ("zhang", "SCJG", liar.issuer)
        assert liar.asked.count("/keys") == 1


@pytest.mark.parametrize(
    "token",
    [
        {"iss": "https://another.example"},
        {"aud": "another client"},
        {"aud": ["banjie", "another"], "azp": "another"},
        {"nonce": "of another sign-in"},
        {"nonce": None},
        {"exp": NOW - 61},
        {"exp": None},
        {"iat": NOW + 3600},
        {"sub": None},
        {"sub": ""},
        {"sub": "another than userinfo's"},
        {"key": RSAKey.generate_key(2048)},
        {"key": ECKey.generate_key("P-256"), "header": {"alg": "ES256", "kid": "1"}},
        {"key": OctKey.import_key(b"secret" * 8), "header": {"alg": "HS256"}},
    ],
    ids=lambda token: str({k: v for k, v in token.items() if k != "key"}),
)
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_a_word_that_is_not_for_us_now_is_not_taken(token: dict[str, Any]) -> None:
    with lying() as liar, pytest.raises(Unvouched):
        asyncio.run(vouched(liar, **token))


def test_what_everybody_could_sign_is_not_taken() -> None:
    """The provider's public key, taken for a shared secret."""

    def part(content: bytes) -> str:
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

    with lying() as liar:
        claims = {"iss": liar.issuer, "aud": "banjie", "sub": "zhang", "iat": NOW, "exp": NOW + 300}
        signed = ".".join(
            part(json.dumps(each).encode()) for each in ({"alg": "HS256", "kid": "1"}, claims)
        )
        key = KEY.as_pem(private=False)
        mac = hmac.new(key, signed.encode(), hashlib.sha256).digest()
        liar.token = f"{signed}.{part(mac)}"
        with pytest.raises(Unvouched):
            asyncio.run(vouched(liar))


@pytest.mark.parametrize("token", [None, 1, "", "a.b.c", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ6In0."])
def test_what_is_no_signed_token_is_not_taken(token: Any) -> None:
    with lying() as liar:
        liar.token = token if token is not None else False
        with pytest.raises(Unvouched):
            asyncio.run(vouched(liar))


def test_new_keys_are_asked_for_but_not_for_everybody() -> None:
    async def scenario(liar: Liar) -> None:
        elapsed = [0.0]
        client = OpenId(
            liar.issuer, "b", "s", BACK, "openid", now=lambda: NOW, monotonic=lambda: elapsed[0]
        )
        await client._key_set(again=False)
        for _ in range(20):
            await client._key_set(again=True)
        assert liar.asked.count("/keys") == 1
        elapsed[0] = 61.0
        await client._key_set(again=True)
        assert liar.asked.count("/keys") == 2
        await client._http.close()

    with lying() as liar:
        asyncio.run(scenario(liar))


@pytest.mark.parametrize(
    "described",
    [
        {"issuer": "https://another.example"},
        {"token_endpoint": None},
        {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": ["x"]},
    ],
    ids=str,
)
def test_a_description_that_is_not_the_issuers_is_not_gone_by(described: dict[str, Any]) -> None:
    with lying() as liar:
        liar.described = described
        with pytest.raises(Unreachable):
            asyncio.run(vouched(liar))


@pytest.mark.parametrize(
    "name", ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"]
)
def test_no_address_of_a_safe_issuer_is_less_safe(name: str) -> None:
    issuer = "https://id.example"
    names = ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint")
    described = {each: f"{issuer}/{each}" for each in names} | {"issuer": issuer}

    class Described(OpenId):
        async def _asked(self, *_: Any) -> tuple[int, Any]:
            return 200, described

    async def scenario() -> None:
        assert (await Described(issuer, "banjie", "", BACK, "openid").address(SECRET)).startswith(
            issuer
        )
        described[name] = f"http://id.example/{name}"
        with pytest.raises(Unreachable):
            await Described(issuer, "banjie", "", BACK, "openid").address(SECRET)

    asyncio.run(scenario())
