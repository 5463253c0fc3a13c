"""Pushes over HTTP: signatures, repeats of them, older formats, and too much at once."""

import asyncio
import json
import re
import socketserver
import threading
from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from adapters.signature import keys, sign
from service.api.problems import MEDIA_TYPE
from service.domain.ports import FieldProblem, PayloadRejected
from service.store import messages, tickets
from service.store.tables import metadata
from service.wiring import Wiring
from tests.served import Served, served
from tests.worlds import at

NEW = "whsec_" + b64encode(b"the new secret of this city").decode()
OLD = "whsec_" + b64encode(b"the old secret of this city").decode()
SOURCES = """\
signed:
  adapter: hotline_12345
  channel: hotline-12345
  label: 只收签名的来源
  region: "360732"
  secrets: [CITY_SECRET, CITY_SECRET_OLD]
  auth: signature
either:
  adapter: hotline_12345
  channel: hotline-12345
  label: 都收的来源
  region: "360732"
  secrets: [CITY_SECRET]
  field_map: {gd.bh: workOrderNo, gd.sj: acceptTime, gd.nr: content}
hotline-12345:
  adapter: hotline_12345
  channel: hotline-12345
  label: 只收令牌的来源
  region: "360732"
  rate_limit: {per_minute: 60, burst: 1000}
unset:
  adapter: hotline_12345
  channel: hotline-12345
  label: 密钥没有设置
  secrets: [NOT_SET_ANYWHERE]
"""
_numbers = iter(range(1, 100_000))


def payload(**changes: Any) -> dict[str, Any]:
    return {
        "workOrderNo": f"P{next(_numbers):06}",
        "acceptTime": "2026-11-20 09:12:33",
        "appealTypeName": "求助",
        "title": "路灯不亮",
        "content": "高兴镇圩上的路灯坏了快半个月",
        **changes,
    }


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CITY_SECRET", NEW)
        patch.setenv("CITY_SECRET_OLD", OLD)
        folder = tmp_path_factory.mktemp("pushes")
        (folder / "sources.yaml").write_text(SOURCES, "utf-8")
        yield folder


@pytest.fixture(scope="module")
def service(city: Path) -> Iterator[Served]:
    with served(f"sqlite:///{city}/pushes.db", sources=city / "sources.yaml") as running:
        yield running


@pytest.fixture
def both(city: Path, database_url: str) -> Iterator[Served]:
    with served(database_url, sources=city / "sources.yaml") as running:
        yield running


def signed(
    service: Served,
    body: bytes | dict[str, Any],
    path: str = "signed",
    *,
    secret: str = NEW,
    number: str = "",
    version: str = "v1",
    timestamp: int | None = None,
    headers: dict[str, str] | None = None,
) -> Any:
    """Return the answer to a signed push."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    number = number or f"msg_{next(_numbers)}"
    stamp = str(timestamp or int(service.clock.time.timestamp()))
    made = sign(version, keys(secret)[0], number, stamp, sent)
    return service.client.post(
        f"/v1/intake/{path}",
        content=sent,
        headers={
            "Content-Type": "application/json",
            "webhook-id": number,
            "webhook-timestamp": stamp,
            "webhook-signature": f"{version},{made}",
        }
        | (headers or {}),
    )


def refused(answer: Any, status: int, name: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == MEDIA_TYPE
    problem: dict[str, Any] = answer.json()
    assert problem["type"] == f"urn:banjie:problem:{name}"
    assert re.search("[\u4e00-\u9fff]", problem["title"])
    return problem


def count(service: Served, table: str = "tickets") -> int:
    query = sa.select(sa.func.count()).select_from(metadata.tables[table])
    found: int = service.run(lambda parts: parts.store.read(lambda c: c.execute(query).scalar()))
    return found


# Signatures


@pytest.mark.parametrize("version", ["v1", "v1sm3"])
@pytest.mark.parametrize("secret", [NEW, OLD])
def test_a_signed_push_needs_no_token(service: Served, version: str, secret: str) -> None:
    answer = signed(service, payload(), version=version, secret=secret)
    assert answer.status_code == 201, answer.text
    assert answer.json()["ticket"]["source"] == "signed"


def test_a_push_that_is_not_signed_as_it_must_be_is_refused(service: Served) -> None:
    before = count(service)
    now = int(service.clock.time.timestamp())
    other = "whsec_" + b64encode(b"somebody else's secret").decode()
    cases = {
        "签名不符": signed(service, payload(), secret=other),
        "超过 5 分钟": signed(service, payload(), timestamp=now - 301),
        "晚 301 秒": signed(service, payload(), timestamp=now + 301),
        "缺少请求头 webhook-id": signed(service, payload(), headers={"webhook-id": ""}),
    }
    for word, answer in cases.items():
        assert word in refused(answer, 401, "signature")["detail"]
        assert answer.headers["www-authenticate"] == "Bearer"
    plain = service.post("/v1/intake/signed", payload())
    assert "只接受签名" in refused(plain, 401, "signature")["detail"]
    unset = signed(service, payload(), "unset")
    assert "尚未设置" in refused(unset, 401, "signature")["detail"]
    token_only = signed(service, payload(), "hotline-12345")
    assert "令牌" in refused(token_only, 401, "signature")["detail"]
    refused(signed(service, payload(), "nowhere"), 404, "unknown-source")
    assert count(service) == before


def test_a_wrong_signature_is_never_passed_over_for_a_token(service: Served) -> None:
    nested = {"gd": {"bh": "E-1", "sj": "2026-11-20 09:00", "nr": "路灯坏了"}}
    assert service.post("/v1/intake/either", nested).status_code == 201
    both = service.headers("admin")
    assert signed(service, nested, "either", headers=both).status_code == 200
    refused(signed(service, nested, "either", secret=OLD, headers=both), 401, "signature")
    bare = refused(service.client.post("/v1/intake/either", json=nested), 401, "unauthenticated")
    assert "webhook-signature" in bare["detail"]


def test_the_same_push_again_is_a_duplicate_and_another_body_is_refused(both: Served) -> None:
    one = payload()
    assert signed(both, one, number="msg_1").status_code == 201
    again = signed(both, one, number="msg_1")
    assert (again.status_code, again.json()["duplicate"]) == (200, True)
    other = signed(both, one | {"title": "换了内容"}, number="msg_1")
    refused(other, 409, "webhook-reused")
    refused(signed(both, payload(), number="msg_1"), 409, "webhook-reused")
    assert count(both) == 1
    # Another source has numbers of its own.
    nested = {"gd": {"bh": "E-1", "sj": "2026-11-20 09:00", "nr": "路灯坏了"}}
    assert signed(both, nested, "either", number="msg_1").status_code == 201


def test_what_was_refused_may_come_again_mended_under_its_id(both: Served) -> None:
    refused(signed(both, payload(acceptTime="昨天"), number="msg_2"), 422, "payload")
    assert count(both, "messages") == 0
    assert signed(both, payload(), number="msg_2").status_code == 201


def test_a_signed_batch_is_one_push(both: Served) -> None:
    lines = [payload(), payload(acceptTime="昨天"), payload()]
    body = json.dumps(lines).encode()
    answers = [signed(both, body, "signed/batch", number="msg_3").json()["items"] for _ in "ab"]
    assert [[item["status"] for item in items] for items in answers] == [
        [201, 422, 201],
        [200, 422, 200],
    ]
    assert count(both, "messages") == 1
    more = json.dumps([payload()]).encode()
    refused(signed(both, more, "signed/batch", number="msg_3"), 409, "webhook-reused")
    assert count(both) == 2


def test_ids_of_long_ago_are_forgotten(both: Served) -> None:
    for _ in range(3):
        assert signed(both, payload()).status_code == 201
    both.clock.time = at("2026-11-29 09:00")
    for _ in range(2):
        assert signed(both, payload()).status_code == 201

    async def purge(parts: Wiring) -> int:
        return await parts.store.run(partial(messages.purge, at=parts.now()))

    assert [both.run(purge) for _ in range(2)] == [3, 0]
    assert count(both, "messages") == 2


# Formats


def xml(fields: dict[str, Any]) -> str:
    return "<gd>" + "".join(f"<{name}>{text}</{name}>" for name, text in fields.items()) + "</gd>"


@pytest.mark.parametrize("charset", ["utf-8", "gb18030"])
@pytest.mark.parametrize("declared", [True, False])
def test_one_matter_is_one_ticket_in_whatever_form_it_comes(
    service: Served, charset: str, declared: bool
) -> None:
    one = payload()
    also = f"; charset={charset}" if declared else ""
    bodies = {
        f"application/json{also}": json.dumps(one, ensure_ascii=False).encode(charset),
        f"application/xml{also}": xml(one).encode(charset),
        f"application/x-www-form-urlencoded{also}": urlencode(one, encoding=charset).encode(),
    }
    answers = [
        service.client.post(
            "/v1/intake/hotline-12345",
            content=body,
            headers=service.headers("admin", Content_Type=content_type),
        )
        for content_type, body in bodies.items()
    ]
    assert [answer.status_code for answer in answers] == [201, 200, 200]
    assert [answer.json()["duplicate"] for answer in answers] == [False, True, True]
    assert answers[0].json()["ticket"]["content"] == one["content"]


def test_a_batch_may_be_xml(service: Served) -> None:
    body = f"<l>{xml(payload())}<gd>x</gd>{xml(payload(acceptTime='昨天'))}{xml(payload())}</l>"
    answer = service.client.post(
        "/v1/intake/hotline-12345/batch",
        content=body.encode(),
        headers=service.headers("admin", Content_Type="text/xml"),
    )
    assert [item["status"] for item in answer.json()["items"]] == [201, 400, 422, 201]


TYPES = {
    "application/json": b'{"a": 1}',
    "application/xml": b"<a><b>1</b></a>",
    "application/x-www-form-urlencoded": b"a=1&b=2",
}


@pytest.mark.parametrize("said", TYPES)
@pytest.mark.parametrize("sent", TYPES)
def test_a_body_is_what_its_content_type_says(service: Served, said: str, sent: str) -> None:
    headers = service.headers("admin", Content_Type=said)
    answer = service.client.post("/v1/intake/hotline-12345", content=TYPES[sent], headers=headers)
    if said == sent:
        refused(answer, 422, "payload")
    else:
        assert "Content-Type" in refused(answer, 400, "undecodable")["detail"]


# What JSON may say and a store may not take, and what is kept of it, "" for what is refused.
HARD = {
    "18446744073709551615": "18446744073709551615",
    "18446744073709551617": "18446744073709551617",
    "-9223372036854775809": "-9223372036854775809",
    "9" * 32: "9" * 32,
    '[1, {"a": 18446744073709551617}]': '[1, {"a": 18446744073709551617}]',
    "1e308": "1e+308",
    r'"\ud83d\ude00"': "\U0001f600",
    r'"\u0001 \uffff"': "\uffff",
    "9" * 33: "",
    "1e400": "",
    "NaN": "",
    "-Infinity": "",
    r'"\ud800"': "",
    r'{"a": ["\udfff"]}': "",
    r'{"\ud83d": 1}': "",
    r'"\u0000"': "",
}


def test_what_no_store_takes_is_refused_and_the_rest_is_kept_as_it_was_written(
    both: Served,
) -> None:
    def hard(number: str, value: str) -> bytes:
        return json.dumps(payload(workOrderNo=number))[:-1].encode() + f', "x": {value}}}'.encode()

    def kept(number: str) -> Any:
        sent = ("hotline-12345", number)
        found = both.run(lambda parts: parts.store.run(lambda c: tickets.find_all(c, [sent])))
        return found[sent].complaint.extra.get("x") if sent in found else None

    path = "/v1/intake/hotline-12345"
    lines: list[bytes] = []
    for n, (value, as_kept) in enumerate(HARD.items()):
        answer = both.post(path, hard(f"ONE-{n}", value))
        assert answer.status_code in ({201} if as_kept else {400, 422}), (value, answer.text)
        # Of what comes again the ticket is changed: it is written in another way.
        assert both.post(path, payload(workOrderNo=f"TWO-{n}")).status_code == 201
        again = both.post(path, hard(f"TWO-{n}", value))
        assert again.status_code in ({200} if as_kept else {400, 422}), (value, again.text)
        lines += [hard(f"ALL-{n}", value), json.dumps(payload()).encode()]
        assert (kept(f"ONE-{n}") or "") == as_kept
    answer = both.post(f"{path}/batch", b"\n".join(lines))
    taken = [item["status"] == 201 for item in answer.json()["items"]]
    assert taken[1::2] == [True] * len(HARD)
    assert taken[::2] == [bool(as_kept) for as_kept in HARD.values()]
    assert [kept(f"ALL-{n}") or "" for n in range(len(HARD))] == list(HARD.values())


def test_an_act_says_nothing_that_no_store_takes(both: Served) -> None:
    ticket = both.post("/v1/intake/hotline-12345", payload()).json()["ticket"]
    for text in (r"\ud800", r"\u0000", r"a\udc00"):
        body = f'{{"act": "note", "text": "{text}"}}'.encode()
        answer = both.post(f"/v1/tickets/{ticket['no']}/acts", body, If_Match="1")
        assert answer.status_code == 422, answer.text
    body = rb'{"act": "note", "text": "\ud83d\ude00 18446744073709551617"}'
    assert both.post(f"/v1/tickets/{ticket['no']}/acts", body, If_Match="1").status_code == 200
    told = both.get(f"/v1/tickets/{ticket['no']}/events").json()["items"][-1]
    assert told["content"]["text"] == "\U0001f600 18446744073709551617"


def test_another_content_type_is_told_which_are_read(service: Served) -> None:
    headers = service.headers("admin", Content_Type="text/plain")
    answer = service.client.post("/v1/intake/hotline-12345", content=b"{}", headers=headers)
    assert "application/json" in refused(answer, 415, "media-type")["detail"]
    assert "application/xml" in answer.headers["accept"]


def test_links_of_attachments_are_text_wherever_they_point(service: Served) -> None:
    """A link to the inside of an office is kept as it came, and nobody ever knocks."""
    knocked = threading.Event()

    class Inside(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            knocked.set()

    with socketserver.TCPServer(("127.0.0.1", 0), Inside) as inside:
        threading.Thread(target=inside.serve_forever, daemon=True).start()
        links = [
            f"http://127.0.0.1:{inside.server_address[1]}/secret",
            f"http://localhost:{inside.server_address[1]}/secret",
            "http://169.254.169.254/latest/meta-data/",
            "http://[::1]:22/",
            "https://10.0.0.8/1.jpg",
        ]
        files = [{"name": "1.jpg", "url": link} for link in links]
        answer = service.post("/v1/intake/hotline-12345", payload(attachments=files))
        assert answer.status_code == 201, answer.text
        ticket = answer.json()["ticket"]
        for path in (f"/v1/tickets/{ticket['no']}", f"/v1/tickets/{ticket['no']}/events"):
            assert service.get(path).status_code == 200
        inside.shutdown()
    assert [file["url"] for file in ticket["attachments"]] == links
    assert not knocked.is_set()


# Too much


def test_a_source_that_sends_too_fast_is_told_when_to_go_on(city: Path, tmp_path: Path) -> None:
    slow = SOURCES.replace("burst: 1000", "burst: 2")
    (tmp_path / "sources.yaml").write_text(slow, "utf-8")
    with served(f"sqlite:///{tmp_path}/b.db", sources=tmp_path / "sources.yaml") as service:
        path = "/v1/intake/hotline-12345"
        stranger = service.client.post(path, json=payload())
        refused(stranger, 401, "unauthenticated")
        assert [service.post(path, payload()).status_code for _ in "ab"] == [201, 201]
        answer = service.post(path, payload())
        assert "每分钟 60 件" in refused(answer, 429, "rate-limited")["detail"]
        assert answer.headers["retry-after"] == "1"
        # Others are not slowed down by it.
        assert signed(service, payload()).status_code == 201
        service.clock.time = at("2026-11-21 09:00:02")
        assert service.post(f"{path}/batch", [payload(), payload()]).status_code == 200
        answer = service.post(f"{path}/batch", [payload(), payload()])
        refused(answer, 429, "rate-limited")
        assert count(service) == 5


def test_a_batch_above_the_burst_gets_in_when_it_was_told(city: Path, tmp_path: Path) -> None:
    slow = SOURCES.replace("burst: 1000", "burst: 3")
    (tmp_path / "sources.yaml").write_text(slow, "utf-8")
    with served(f"sqlite:///{tmp_path}/b.db", sources=tmp_path / "sources.yaml") as service:
        path = "/v1/intake/hotline-12345/batch"
        assert service.post(path, [payload() for _ in range(5)]).status_code == 200
        service.clock.time += timedelta(seconds=1)
        answer = service.post(path, [payload() for _ in range(5)])
        refused(answer, 429, "rate-limited")
        service.clock.time += timedelta(seconds=int(answer.headers["retry-after"]))
        assert service.post(path, [payload() for _ in range(5)]).status_code == 200
        assert count(service) == 10


def test_a_long_body_is_read_while_others_are_answered(service: Served) -> None:
    async def read(parts: Wiring) -> bool:
        others = threading.Event()
        asyncio.get_running_loop().call_soon(others.set)
        return await parts.inflow.read(1024 * 1024, lambda: others.wait(10))

    assert service.run(read)
    long = json.dumps(payload(note="长" * 30_000), ensure_ascii=False).encode()
    assert signed(service, long).status_code == 201
    refused(signed(service, long + b"}"), 400, "undecodable")
    wrong = signed(service, long, headers={"webhook-signature": "v1,AAAA"})
    refused(wrong, 401, "signature")


def test_others_have_their_turn_between_lines_that_are_refused(both: Served) -> None:
    others = iter(range(1_000_000))
    turn = next(others)
    done = threading.Event()

    async def take_turns() -> None:
        nonlocal turn
        while not done.is_set():
            await asyncio.sleep(0)
            turn = next(others)

    class Refusing:
        seen: ClassVar[list[int]] = []

        def complaint(self, _payload: Any, _source: Any) -> Any:
            self.seen.append(turn)
            raise PayloadRejected([FieldProblem("", "有误")])

    both.parts.adapters["hotline_12345"] = Refusing()  # type: ignore[index]
    assert both.client.portal is not None
    counted = both.client.portal.start_task_soon(take_turns)
    answer = both.post("/v1/intake/hotline-12345/batch", [{}] * 100)
    done.set()
    counted.result(10)
    assert [item["status"] for item in answer.json()["items"]] == [422] * 100
    assert len(set(Refusing.seen)) == 100


def test_a_service_with_its_hands_full_says_so(city: Path, migrated_url: str) -> None:
    sources = city / "sources.yaml"
    with served(migrated_url, sources=sources, intake_in_flight=1) as service:
        with service.parts.inflow.place("either"):
            answer = service.post("/v1/intake/hotline-12345", payload())
        refused(answer, 503, "overloaded")
        assert answer.headers["retry-after"] == "1"
        assert service.post("/v1/intake/hotline-12345", payload()).status_code == 201
        refused(service.post("/v1/intake/hotline-12345", {}), 422, "payload")
        assert service.post("/v1/intake/hotline-12345", payload()).status_code == 201


def test_no_source_takes_every_place(city: Path, tmp_path: Path) -> None:
    sources = city / "sources.yaml"
    with served(f"sqlite:///{tmp_path}/b.db", sources=sources, intake_in_flight=4) as service:
        inflow = service.parts.inflow
        with inflow.place("signed"), inflow.place("signed"), inflow.place("signed"):
            refused(signed(service, payload()), 503, "overloaded")
            assert service.post("/v1/intake/hotline-12345", payload()).status_code == 201
        assert signed(service, payload()).status_code == 201


def test_a_batch_waits_as_so_many_complaints(city: Path, tmp_path: Path) -> None:
    sources = city / "sources.yaml"
    with served(f"sqlite:///{tmp_path}/b.db", sources=sources, intake_in_flight=8) as service:
        inflow = service.parts.inflow
        three = [payload() for _ in range(3)]
        with inflow.place("signed", 5):
            assert service.post("/v1/intake/hotline-12345/batch", three).status_code == 200
        with inflow.place("signed", 6):
            refused(service.post("/v1/intake/hotline-12345/batch", three), 503, "overloaded")
            assert service.post("/v1/intake/hotline-12345", payload()).status_code == 201


def test_a_batch_above_the_bound_is_taken_while_nobody_waits(city: Path, tmp_path: Path) -> None:
    sources = city / "sources.yaml"
    with served(f"sqlite:///{tmp_path}/b.db", sources=sources, intake_in_flight=4) as service:
        many = [payload() for _ in range(20)]
        with service.parts.inflow.place("signed", 2):
            refused(service.post("/v1/intake/hotline-12345/batch", many), 503, "overloaded")
        answer = service.post("/v1/intake/hotline-12345/batch", many)
        assert [item["status"] for item in answer.json()["items"]] == [201] * 20
        with service.parts.inflow.place("signed", 3):  # nothing is held for good
            assert service.post("/v1/intake/hotline-12345", payload()).status_code == 201


def test_of_many_pushes_at_once_each_is_stored_or_told_to_come_again(
    city: Path, migrated_url: str
) -> None:
    sources = city / "sources.yaml"
    with served(migrated_url, sources=sources, intake_in_flight=4) as service:
        told: list[tuple[int, str]] = []

        def push() -> None:
            answer = service.post("/v1/intake/hotline-12345", payload())
            told.append((answer.status_code, answer.headers.get("retry-after", "")))

        threads = [threading.Thread(target=push) for _ in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(told) <= {(201, ""), (503, "1")}
        assert told.count((201, "")) == count(service)


# Anything


BODIES = (
    st.binary(max_size=80)
    | st.sampled_from([*TYPES.values(), b"", b"[" * 2000, b"<a>" * 2000])
    | st.builds(
        lambda changes: json.dumps(payload() | changes).encode(),
        st.dictionaries(
            st.sampled_from([*payload(), "areaCode", "attachments", "x"]),
            st.none() | st.text(max_size=5) | st.integers() | st.lists(st.integers(), max_size=2),
            max_size=3,
        ),
    )
)
MEDIA = st.sampled_from(
    [*TYPES, "", "text/xml; charset=gbk", "application/json; charset=x"]
) | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)


@given(body=BODIES, content_type=MEDIA, batch=st.booleans(), is_signed=st.booleans())
def test_no_bytes_get_anything_but_an_answer_or_a_problem(
    service: Served, body: bytes, content_type: str, batch: bool, is_signed: bool
) -> None:
    service.clock.time = at("2026-11-21 09:00")
    service.parts.inflow._buckets.clear()
    path = ("signed" if is_signed else "hotline-12345") + ("/batch" if batch else "")
    if is_signed:
        answer = signed(service, body, path, headers={"Content-Type": content_type})
    else:
        headers = {**service.headers("admin"), "Content-Type": content_type}
        answer = service.client.post(f"/v1/intake/{path}", content=body, headers=headers)
    assert answer.status_code in {200, 201, 400, 415, 422}, answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == MEDIA_TYPE
        assert re.search("[\u4e00-\u9fff]", answer.json()["detail"])
