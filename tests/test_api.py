"""The HTTP interface as integrators meet it: the walk, and what clumsy callers are told."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.api.problems import MEDIA_TYPE
from service.api.schemas import TicketAnswer, TicketList
from service.config import Settings
from service.main import build, wire
from service.store import StoreUnavailable
from tests.served import Served, served, sqlite
from tests.worlds import at

SAMPLES = Path(__file__).parent / "samples"
ROOT = Path(__file__).parent.parent


def short(value: object) -> str:
    """Return an id for a test's parameter that fits on a line."""
    return repr(value)[:60]


def payloads(source: str) -> list[dict[str, Any]]:
    """Return the sample payloads of a source."""
    rows: list[dict[str, Any]] = json.loads((SAMPLES / f"{source}.json").read_text("utf-8"))
    return rows


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(sqlite(tmp_path_factory.mktemp("api"))) as running:
        yield running


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Served]:
    with served(sqlite(tmp_path)) as running:
        yield running


def hotline(**changes: Any) -> dict[str, Any]:
    """Return the first hotline payload with changes; a field set to None stays as null."""
    return payloads("hotline-12345")[0] | changes


_numbers = iter(range(1, 10_000))


def new(**changes: Any) -> dict[str, Any]:
    """Return a hotline payload with a number of its own."""
    return hotline(workOrderNo=f"NEW{next(_numbers):05}", **changes)


def received(service: Served, payload: dict[str, Any], source: str = "hotline-12345") -> Any:
    answer = service.post(f"/v1/intake/{source}", payload, source)
    assert answer.status_code == 201, answer.text
    return answer.json()["ticket"]


def refused(answer: Any, status: int, name: str) -> dict[str, Any]:
    """Return the problem of a refusal, whole in form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == MEDIA_TYPE
    problem: dict[str, Any] = answer.json()
    assert set(problem) == {"type", "title", "status", "detail", "errors"}
    assert problem["type"] == f"urn:banjie:problem:{name}"
    assert problem["status"] == status
    assert any("\u4e00" <= c <= "\u9fff" for c in problem["title"])
    return problem


def pointers(problem: dict[str, Any]) -> set[str]:
    return {error["pointer"] for error in problem["errors"]}


# The walk


def test_every_sample_payload_becomes_the_ticket_it_should(fresh: Served) -> None:
    tickets = {
        payload_no: received(fresh, payload, source)
        for source in ("hotline-12345", "wenzheng-jiangxi", "haochaping")
        for payload in payloads(source)
        for payload_no in [
            payload.get("workOrderNo") or payload.get("receiptno") or payload["evaluateId"]
        ]
    }
    licence = tickets["XG20261118000731"]
    assert licence["lead"]["name"] == "兴国县市场监督管理局"
    clocks = {(m["kind"], m["clock"]): m for m in licence["milestones"] if not m["assisting"]}
    assert clocks["resolve", "own"]["limit"] == "1 工作日"
    assert "第4项" in clocks["resolve", "own"]["basis"]
    assert clocks["resolve", "own"]["due_at"] == "2026-11-19T17:30:00+08:00"
    assert clocks["resolve", "sender"]["due_at"] == "2026-11-25T17:30:00+08:00"
    evidence = licence["route"]["candidates"][0]["evidence"]
    assert any(e["document"] == "兴五型办字〔2021〕4号" and e["item"] == "4" for e in evidence)
    lamp = tickets["XG20261118000732"]
    assert lamp["confidential"]
    assert lamp["links"] == [{"rel": "related", "source_no": "XG20261104000115"}]
    assert [a["url"] for a in lamp["attachments"]] == ["https://files.example/1.jpg"]
    assert lamp["contact"]["phone"] == "138****0002"
    assert "高兴镇" in lamp["lead"]["name"] + str(lamp["assist"])
    report = tickets["XG20261118000733"]
    assert "五型" in report["lead"]["name"]
    forum = tickets["WZ-2026-118820"]
    assert "<p>" not in forum["content"]
    resolve = next(m for m in forum["milestones"] if m["kind"] == "resolve")
    assert resolve["started_at"] == "2026-11-17T10:00:00+08:00"
    barbecue = tickets["WZ-2026-118901"]
    assert barbecue["region"] == "360113"
    assert {e["basis"] for c in barbecue["route"]["candidates"][:1] for e in c["evidence"]} == {
        "line"
    }
    bad = tickets["HCP20261119-5521"]
    assert bad["lead"]["name"] == "兴国县市场监督管理局"
    assert bad["state"] == "dispatched"
    counted = tickets["HCP20261119-5522"]
    assert (counted["state"], counted["milestones"]) == ("closed", [])


def test_a_ticket_is_worked_from_dispatch_to_close_and_seen_in_the_metrics(fresh: Served) -> None:
    ticket = received(fresh, hotline())
    fresh.clock.time = at("2026-11-23 09:00")
    ticket = fresh.act(ticket, "handler", "sign")
    ticket = fresh.act(ticket, "handler", "contact", text="已联系")
    ticket = fresh.act(ticket, "handler", "resolve", public_reply="已发照", solved=True)
    ticket = fresh.act(ticket, "dispatcher", "call_back", reached=True, solved=True, grade=5)
    ticket = fresh.act(ticket, "dispatcher", "close")
    assert ticket["state"] == "closed"
    assert ticket["acts"] == ["reopen", "note", "check"]
    lines = fresh.client.get("/metrics").text.splitlines()
    unit = "360732-market_regulation"
    assert (
        'banjie_tickets_received_total{channel="hotline-12345",decision="auto",'
        'kind="complaint",region="360732"} 1.0'
    ) in lines
    assert (
        f'banjie_milestones_met_total{{milestone="resolve",outcome="late",'
        f'region="360732",unit="{unit}"}} 1.0'
    ) in lines
    assert (
        f'banjie_tickets_closed_total{{channel="hotline-12345",kind="complaint",'
        f'region="360732",unit="{unit}"}} 1.0'
    ) in lines
    assert (
        f'banjie_callbacks_total{{grade="5",region="360732",solved="true",unit="{unit}"}} 1.0'
        in lines
    )
    assert any(
        line.startswith(
            'banjie_http_request_seconds_count{method="POST",route="/v1/tickets/{no}/acts"'
        )
        for line in lines
    )


def test_the_same_again_is_a_duplicate_and_a_changed_body_a_supplement(service: Served) -> None:
    payload = new()
    first = received(service, payload)
    again = service.post("/v1/intake/hotline-12345", payload, "hotline-12345")
    assert (again.status_code, again.json()["duplicate"]) == (200, True)
    assert again.json()["ticket"]["no"] == first["no"]
    changed = service.post(
        "/v1/intake/hotline-12345", payload | {"content": "又来催了一次"}, "hotline-12345"
    )
    assert (changed.status_code, changed.json()["supplemented"]) == (200, True)
    assert changed.json()["ticket"]["version"] == 2
    assert changed.headers["etag"] == '"2"'


@pytest.mark.parametrize("source", ["hotline-12345", "wenzheng-jiangxi", "haochaping"])
def test_a_push_is_answered_with_the_ticket_as_it_is_read(fresh: Served, source: str) -> None:
    for payload in payloads(source):
        told = received(fresh, payload, source)
        assert told == fresh.get(f"/v1/tickets/{told['no']}").json()["ticket"]


def test_lists_and_tickets_hold_what_is_described_of_them_and_nothing_else(fresh: Served) -> None:
    # They are written past their descriptions, straight from the values.
    for source in ("hotline-12345", "wenzheng-jiangxi", "haochaping"):
        for payload in payloads(source):
            received(fresh, payload, source)
    done = received(fresh, new())
    fresh.clock.time = at("2026-11-23 09:00")
    done = fresh.act(fresh.act(done, "handler", "sign"), "handler", "contact", text="已联系")
    done = fresh.act(done, "supervisor", "supervise", level="yellow", text="请尽快")
    page = fresh.get("/v1/tickets?limit=200").json()
    assert {m["outcome"] for t in page["items"] for m in t["milestones"]} == {None, "on_time"}
    assert TicketList.model_validate(page).model_dump(mode="json") == page
    one = fresh.get(f"/v1/tickets/{done['no']}").json()
    assert TicketAnswer.model_validate(one).model_dump(mode="json") == one


def test_gb18030_is_understood_declared_or_not(service: Served) -> None:
    for content_type in ("application/json; charset=GB18030", "application/json"):
        body = json.dumps(new(title="龘字路灯"), ensure_ascii=False).encode("gb18030")
        answer = service.client.post(
            "/v1/intake/hotline-12345",
            content=body,
            headers={**service.headers("hotline-12345"), "Content-Type": content_type},
        )
        assert answer.status_code == 201, answer.text
        assert answer.json()["ticket"]["title"] == "龘字路灯"


def test_a_batch_gives_each_line_its_own_result(service: Served) -> None:
    good, bad = new(), new(areaCode="999999", areaName="")
    body = "\n".join(json.dumps(row) for row in (good, bad, good)) + "\n{\n"
    answer = service.post("/v1/intake/hotline-12345/batch", body.encode(), "hotline-12345")
    assert answer.status_code == 200, answer.text
    lines = answer.json()["items"]
    assert [line["status"] for line in lines] == [201, 422, 200, 400]
    assert lines[1]["errors"][0]["pointer"] == "/areaCode"
    assert lines[2]["duplicate"]


class _FailsOn:
    """An adapter that fails on one title, and reads the others."""

    def __init__(self, title: str, error: Exception, adapter: Any) -> None:
        self._title, self._error, self._adapter = title, error, adapter

    def complaint(self, payload: Any, source: Any) -> Any:
        if payload["title"] == self._title:
            raise self._error
        return self._adapter.complaint(payload, source)


def test_a_line_that_fails_unforeseen_harms_no_other_and_tells_no_secret(
    fresh: Served, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    adapters: Any = fresh.parts.adapters
    failing = _FailsOn("坏", RuntimeError("13912345678"), adapters["hotline_12345"])
    adapters["hotline_12345"] = failing
    body = [new(), new(title="坏"), new()]
    answer = fresh.post("/v1/intake/hotline-12345/batch", body, "hotline-12345")
    assert answer.status_code == 200, answer.text
    assert [line["status"] for line in answer.json()["items"]] == [201, 500, 201]
    said = capfd.readouterr()
    assert "RuntimeError" in said.out + said.err + caplog.text
    assert "13912345678" not in said.out + said.err + caplog.text + answer.text


def test_a_batch_tells_which_lines_the_store_did_not_confirm(fresh: Served) -> None:
    adapters: Any = fresh.parts.adapters
    failing = _FailsOn("坏", StoreUnavailable("gone"), adapters["hotline_12345"])
    adapters["hotline_12345"] = failing
    body = [new(), new(areaCode="999999", areaName=""), new(title="坏"), new()]
    answer = fresh.post("/v1/intake/hotline-12345/batch", body, "hotline-12345")
    assert answer.status_code == 503
    problem = answer.json()
    assert problem["type"] == "urn:banjie:problem:store-unavailable"
    assert answer.headers["retry-after"] == "5"
    assert [item["status"] for item in problem["items"]] == [201, 422, 503, 201]
    assert problem["items"][0]["ticket_no"]
    assert "共 4 行，其中 1 行未能确认保存" in problem["detail"]
    assert [item["errors"] != [] for item in problem["items"]] == [False, True, True, False]
    adapters["hotline_12345"] = failing._adapter
    again = fresh.post("/v1/intake/hotline-12345/batch", body, "hotline-12345").json()["items"]
    assert [(item["status"], item["duplicate"]) for item in again] == [
        (200, True),
        (422, False),
        (201, False),
        (200, True),
    ]


def test_a_batch_of_which_nothing_was_stored_says_so(fresh: Served) -> None:
    adapters: Any = fresh.parts.adapters
    adapters["hotline_12345"] = _FailsOn("坏", StoreUnavailable("gone"), adapters["hotline_12345"])
    body = [new(areaCode="999999", areaName=""), new(title="坏")]
    answer = fresh.post("/v1/intake/hotline-12345/batch", body, "hotline-12345")
    refused(answer, 503, "store-unavailable")


def test_a_retried_act_happens_once(service: Served) -> None:
    ticket = received(service, new())
    path = f"/v1/tickets/{ticket['no']}/acts"
    for _ in range(2):
        answer = service.post(path, {"act": "sign"}, "handler", If_Match="1", Idempotency_Key="a1")
        assert answer.json()["ticket"]["version"] == 2
    refused(
        service.post(
            path, {"act": "note", "text": "?"}, "handler", If_Match="2", Idempotency_Key="a1"
        ),
        422,
        "key-reused",
    )


def test_lists_are_paged_by_an_opaque_cursor(fresh: Served) -> None:
    numbers = [received(fresh, new())["no"] for _ in range(5)]
    seen, cursor = [], ""
    while cursor is not None:
        page = fresh.get(f"/v1/tickets?limit=2&cursor={cursor}").json()
        seen += [ticket["no"] for ticket in page["items"]]
        cursor = page["next"]
    assert seen == numbers[::-1]
    refused(fresh.get("/v1/tickets?cursor=xyz"), 400, "bad-cursor")


def test_queue_sorting_and_units_answer(service: Served) -> None:
    ticket = received(service, new())
    queue = service.get("/v1/units/360732-market_regulation/queue", "handler").json()["items"]
    assert ticket["no"] in [t["no"] for t in queue]
    unclear = received(service, new(title="听不清", content="喂喂听得到吗信号不好", category=[]))
    assert unclear["state"] == "sorting"
    waiting = service.get("/v1/sorting", "dispatcher").json()["items"]
    assert unclear["no"] in [t["no"] for t in waiting]
    units = service.get("/v1/units?region=360732").json()["items"]
    assert {"code": "360732-market_regulation", "name": "兴国县市场监督管理局"}.items() <= next(
        u for u in units if u["code"] == "360732-market_regulation"
    ).items()
    refused(service.get("/v1/units/nobody/queue"), 404, "unknown-queue")


def test_the_number_is_shown_to_who_says_why_and_to_nobody_else(service: Served) -> None:
    ticket = received(service, new())
    path = f"/v1/tickets/{ticket['no']}/contact-readings"
    answer = service.post(path, {"reason": "电话核实情况"}, "handler")
    assert answer.json()["contact"]["phone"] == "13800000001"
    refused(service.post(path, {"reason": "看看"}, "auditor"), 403, "forbidden")
    refused(service.post(path, {"reason": " "}, "handler"), 422, "invalid")
    assert "13800000001" not in service.get(f"/v1/tickets/{ticket['no']}/events").text


def test_a_route_and_a_due_date_are_explained_and_nothing_is_stored(fresh: Served) -> None:
    asked = {"region": "兴国县", "kind": "投诉", "title": "路灯不亮", "content": "街上路灯坏了"}
    route = fresh.post("/v1/routing/explain", asked).json()
    assert (route["decision"], route["lead"]["unit"]) == ("auto", "360732-urban_management")
    assert fresh.get("/v1/tickets").json()["items"] == []
    due = {"from": "2025-09-30 10:00", "limit": "5 工作日", "count_from": "next_day"}
    answer = fresh.post("/v1/deadlines/explain", due).json()
    assert answer["due_at"] == "2025-10-14T17:30:00+08:00"
    assert not answer["provisional"]
    assert any("10-11 调休上班" in line for line in answer["reasoning"])
    there = fresh.post("/v1/deadlines/explain", due | {"region": "兴国县"}).json()
    assert there == answer  # no closure is entered for it


def test_alive_and_ready_say_so_and_how_far_the_calendar_reaches(service: Served) -> None:
    assert service.client.get("/healthz").json() == {"status": "alive"}
    ready = service.client.get("/readyz")
    assert ready.status_code == 200
    calendar = ready.json()["checks"]["calendar"]
    assert calendar["until"] == "2026-12-31"
    assert calendar["days_left"] == 40
    assert not calendar["covers_next_60_days"]
    assert "暂定" in calendar["detail"]


def test_the_committed_openapi_document_is_the_applications(tmp_path: Path) -> None:
    settings = Settings(database_url=sqlite(tmp_path))
    made = build(wire(settings), settings).openapi()
    committed = yaml.safe_load((ROOT / "openapi.yaml").read_text("utf-8"))
    assert committed == json.loads(json.dumps(made)), "run `make openapi`"


# Bad input


@pytest.mark.parametrize(
    ("body", "status", "name"),
    [
        (b"", 400, "undecodable"),
        (b"{", 400, "undecodable"),
        (b"\xff\xfe\x00", 400, "undecodable"),
        (b"null", 400, "undecodable"),
        (b"[]", 400, "undecodable"),
        (b'"text"', 400, "undecodable"),
        (b'{"a": NaN}', 400, "undecodable"),
        (b"[" * 5000, 400, "undecodable"),
        (b'{"a":1,"a":2}', 400, "undecodable"),
        (b"{}", 422, "payload"),
        (b'{"a": "' + b"x" * 5_000_000 + b'"}', 413, "too-large"),
    ],
    ids=[
        "empty",
        "cut",
        "no text",
        "null",
        "array",
        "string",
        "NaN",
        "deep",
        "twice",
        "no fields",
        "5 MB",
    ],
)
def test_a_body_that_is_no_payload_is_refused(
    service: Served, body: bytes, status: int, name: str
) -> None:
    refused(service.post("/v1/intake/hotline-12345", body, "hotline-12345"), status, name)


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"workOrderNo": None}, "/workOrderNo"),
        ({"workOrderNo": 17.5}, "/workOrderNo"),
        ({"workOrderNo": "x" * 65}, "/workOrderNo"),
        ({"title": "字" * 201}, "/title"),
        ({"content": "字" * 20_001}, "/content"),
        ({"content": "有\x00字节"}, "/content"),
        ({"content": {"a": 1}}, "/content"),
        ({"areaCode": "110101", "areaName": "北京市东城区"}, "/areaCode"),
        ({"acceptTime": "昨天"}, "/acceptTime"),
        ({"acceptTime": "2026-11-22 09:00:00"}, "/acceptTime"),
        ({"acceptTime": "1900-01-01 00:00:00"}, "/acceptTime"),
        ({"acceptTime": "2000-01-01 00:00:00"}, "/acceptTime"),
        ({"replyDeadline": "2001-01-01 00:00:00"}, "/replyDeadline"),
        ({"replyDeadline": "2199-01-01 00:00:00"}, "/replyDeadline"),
        ({"anonymous": "perhaps"}, "/anonymous"),
        ({"contactPhone": "1" * 51}, "/contactPhone"),
    ],
    ids=short,
)
def test_a_wrong_field_is_pointed_at_and_nothing_is_stored(
    service: Served, changes: dict[str, Any], pointer: str
) -> None:
    before = len(service.get("/v1/tickets?limit=200").json()["items"])
    answer = service.post("/v1/intake/hotline-12345", new() | changes, "hotline-12345")
    assert pointer in pointers(refused(answer, 422, "payload"))
    assert len(service.get("/v1/tickets?limit=200").json()["items"]) == before


def test_a_refusal_never_repeats_what_was_sent(service: Served) -> None:
    answer = service.post(
        "/v1/intake/hotline-12345", new(acceptTime="13800009999"), "hotline-12345"
    )
    assert "13800009999" not in answer.text


def test_who_may_push_where(service: Served) -> None:
    refused(service.post("/v1/intake/nowhere", new()), 404, "unknown-source")
    refused(service.post("/v1/intake/hotline-12345", new(), "wenzheng-jiangxi"), 403, "forbidden")
    refused(service.post("/v1/intake/hotline-12345", new(), "handler"), 403, "forbidden")


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": "Basic eDp5"},
        {"Authorization": "Bearer"},
    ],
)
def test_without_a_good_token_nobody_comes_in(service: Served, header: dict[str, str]) -> None:
    for path in ("/v1/tickets", "/v1/units", "/v1/sorting"):
        answer = service.client.get(path, headers=header)
        refused(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"
    refused(
        service.client.post("/v1/intake/hotline-12345", json={}, headers=header),
        401,
        "unauthenticated",
    )


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"act": "dance"}, ""),
        ({"act": "dispatch"}, "/unit"),
        ({"act": "dispatch", "unit": "nobody"}, "/unit"),
        ({"act": "dispatch", "unit": "360732-market_regulation", "assist": ["x"]}, "/assist/0"),
        ({"act": "send_back", "reason": "不归我管"}, "/basis"),
        ({"act": "resolve", "public_reply": "", "solved": True}, "/public_reply"),
        ({"act": "resolve", "public_reply": "好\x00", "solved": True}, "/public_reply"),
        ({"act": "resolve", "public_reply": "字" * 5001, "solved": True}, "/public_reply"),
        ({"act": "call_back", "reached": True, "grade": 6}, "/grade"),
        ({"act": "call_back", "reached": False, "grade": 5}, "/grade"),
        ({"act": "call_back", "reached": False, "solved": False}, "/solved"),
        ({"act": "sign", "typo": 1}, "/typo"),
    ],
    ids=short,
)
def test_an_act_with_a_wrong_field_is_pointed_at(
    service: Served, body: dict[str, Any], pointer: str
) -> None:
    ticket = received(service, new())
    answer = service.post(f"/v1/tickets/{ticket['no']}/acts", body, If_Match="1")
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert pointer in pointers(answer.json())
    assert service.get(f"/v1/tickets/{ticket['no']}").json()["ticket"]["version"] == 1


def test_a_refusal_tells_fifty_faults_and_repeats_little_of_a_name(service: Served) -> None:
    ticket = received(service, new())
    path = f"/v1/tickets/{ticket['no']}/acts"
    many = {f"{n:03}{'~' * 500}": 1 for n in range(60)}
    problem = refused(service.post(path, {"act": "sign", **many}, If_Match="1"), 422, "invalid")
    assert len(problem["errors"]) == 50
    assert "60" in problem["detail"]
    assert max(map(len, pointers(problem))) == 64
    problem = refused(service.post(path, {"act": "x" * 9_000}, If_Match="1"), 422, "invalid")
    assert "x" * 65 not in str(problem)
    faulty = {f"{n:03}{'名' * 90}": "\0" for n in range(60)}
    problem = refused(
        service.post("/v1/intake/hotline-12345", new(**faulty), "hotline-12345"), 422, "payload"
    )
    assert len(problem["errors"]) == 50
    assert max(map(len, pointers(problem))) == 64
    answer = service.post("/v1/intake/hotline-12345/batch", [new(**faulty)], "hotline-12345")
    (line,) = answer.json()["items"]
    assert len(line["errors"]) == 50
    assert max(map(len, pointers(line))) == 64


def test_an_act_needs_the_version_that_was_read(service: Served) -> None:
    ticket = received(service, new())
    path = f"/v1/tickets/{ticket['no']}/acts"
    refused(service.post(path, {"act": "sign"}, "handler"), 428, "version-required")
    refused(service.post(path, {"act": "sign"}, "handler", If_Match="*"), 428, "version-required")
    stale = refused(service.post(path, {"act": "sign"}, "handler", If_Match='"7"'), 412, "stale")
    assert "1" in stale["detail"]
    assert service.post(path, {"act": "sign"}, "handler", If_Match='"1"').status_code == 200


def test_an_act_that_the_state_does_not_allow_says_what_it_does(service: Served) -> None:
    ticket = received(service, new())
    path = f"/v1/tickets/{ticket['no']}/acts"
    problem = refused(service.post(path, {"act": "close"}, If_Match="1"), 409, "act-not-allowed")
    assert "签收" in problem["detail"]


def test_what_may_not_be_done_to_a_clock_is_refused_with_the_reason_and_nothing_changes(
    fresh: Served,
) -> None:
    told = {"title": "超市短斤少两", "content": "买了两斤排骨，回家一称只有一斤七两"}
    posted = hotline(urgency="一般", acceptTime="2026-11-20 09:12:33", **told)
    ticket = received(fresh, posted)
    market = "360732-market_regulation"
    ticket = fresh.act(ticket, "admin", "dispatch", unit=market, reason="试")
    ticket = fresh.act(ticket, "handler", "sign")

    def forbidden(who: str, act: str, status: int, said: str, **fields: Any) -> None:
        answer = fresh.post(
            f"/v1/tickets/{ticket['no']}/acts",
            {"act": act, **fields},
            who,
            If_Match=str(ticket["version"]),
        )
        assert answer.status_code == status, answer.text
        assert said in answer.text
        assert fresh.get(f"/v1/tickets/{ticket['no']}").json()["ticket"] == ticket

    def more(amount: str, status: int, said: str, reason: str = "难") -> None:
        forbidden("handler", "request_extension", status, said, amount=amount, reason=reason)

    more("三五天", 422, "看不懂的时限")
    more("1e3 工作日", 422, "看不懂的时限")
    more("-3 工作日", 422, "应在 1 到 1000 之间")
    more("999999999 工作日", 422, "应在 1 到 1000 之间")
    more("1 工作日", 422, "不能为空", reason="")
    more("1000 工作日", 409, "延期合计不能超过")
    forbidden("handler", "pause", 422, "缺少此项")
    forbidden("handler", "pause", 409, "不是允许的挂起事由", reason="busy")
    forbidden("dispatcher", "request_extension", 403, "没有权限", amount="1 工作日", reason="难")
    forbidden("supervisor", "decide_extension", 409, "没有待批的延期申请", granted=True, reason="")
    ticket = fresh.act(ticket, "handler", "request_extension", amount="1 工作日", reason="难")
    forbidden("handler", "decide_extension", 403, "没有权限", granted=True, reason="")
    forbidden("admin", "decide_extension", 409, "延期不由此角色审批", granted=True, reason="")
    fresh.clock.time = at("2027-02-01 09:00")
    late = "已过，延期应在到期前申请和批准"
    forbidden("supervisor", "decide_extension", 409, late, granted=True, reason="")
    more("1 工作日", 409, late)


def test_a_foreign_ticket_is_not_there(service: Served) -> None:
    ticket = received(service, new())
    for path in (f"/v1/tickets/{ticket['no']}", f"/v1/tickets/{ticket['no']}/events"):
        refused(service.get(path, "stranger"), 404, "unknown-ticket")
    refused(
        service.post(
            f"/v1/tickets/{ticket['no']}/acts", {"act": "close"}, "stranger", If_Match="1"
        ),
        404,
        "unknown-ticket",
    )
    for no in ("x", "360732-20261121-99999", "%00", "360732-20261121-00001%00"):
        refused(service.get(f"/v1/tickets/{no}"), 404, "unknown-ticket")


@pytest.mark.parametrize(
    "query",
    ["state=gone", "limit=0", "limit=201", "limit=x", "q=%00", "kind=举报", "region=" + "1" * 101],
)
def test_a_wrong_filter_is_refused(service: Served, query: str) -> None:
    refused(service.get(f"/v1/tickets?{query}"), 422, "invalid")


@pytest.mark.parametrize(
    "body",
    [
        {"from": "2026-11-18", "limit": "5 周"},
        {"from": "2026-11-18", "limit": "-1 工作日"},
        {"from": "soon", "limit": "5 工作日"},
        {"from": "1800-01-01T00:00", "limit": "5 工作日"},
        {"from": "9999-12-31T23:59", "limit": "1000 工作日"},
        {"from": "2026-11-18", "limit": "5 工作日", "count_from": "tomorrow"},
        {"from": "2026-11-18", "limit": "5 工作日", "region": "火星"},
        {"limit": "5 工作日"},
    ],
    ids=short,
)
def test_a_deadline_that_cannot_be_worked_out_is_refused(
    service: Served, body: dict[str, str]
) -> None:
    answer = service.post("/v1/deadlines/explain", body)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.json()["errors"]


def test_malformed_json_of_our_own_is_refused_too(service: Served) -> None:
    refused(service.post("/v1/routing/explain", b"{"), 400, "malformed")
    refused(service.post("/v1/routing/explain", {"region": "亚特兰蒂斯"}), 422, "payload")


def test_a_large_body_is_refused_at_every_address(service: Served) -> None:
    ticket = received(service, new())
    large = b'{"act": "note", "text": "' + b"x" * 2_000_000 + b'"}'
    answer = service.post(f"/v1/tickets/{ticket['no']}/acts", large, If_Match="1")
    assert "1 MiB" in refused(answer, 413, "too-large")["detail"]


def test_an_unknown_address_or_method_is_a_problem_too(service: Served) -> None:
    refused(service.client.get("/v2/tickets"), 404, "not-found")
    refused(service.client.delete("/v1/tickets"), 405, "method-not-allowed")


def test_an_error_that_nobody_foresaw_is_a_problem_and_tells_no_secret(
    fresh: Served, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def complaint(self, payload: Any, _source: Any) -> Any:
            raise RuntimeError(payload["contactPhone"])

    fresh.parts.adapters["hotline_12345"] = Broken()  # type: ignore[index]
    answer = fresh.post(
        "/v1/intake/hotline-12345", new(contactPhone="13912345678"), "hotline-12345"
    )
    problem = refused(answer, 500, "failed")
    assert "13912345678" not in str(problem)
    said = capfd.readouterr()
    assert "RuntimeError" in said.out + said.err + caplog.text
    assert "13912345678" not in said.out + said.err + caplog.text
