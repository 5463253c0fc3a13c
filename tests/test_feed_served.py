"""`GET /v1/events`: what each caller gets, page by page, and what is refused."""

import base64
from pathlib import Path
from typing import Any

import pytest

from tests.served import CALLERS, Served, served, sqlite

READERS = [who for who, actor in CALLERS.items() if actor.role != "source"]


def push(service: Served, number: str, **fields: Any) -> dict[str, Any]:
    payload = {
        "workOrderNo": number,
        "acceptTime": "2026-11-21 08:50:00",
        "appealTypeName": "投诉",
        "title": "超市短斤少两",
        "content": "买了两斤排骨回家一称只有一斤七两，电话13800000001",
        "areaCode": "360732",
        "contactName": "王某",
        "contactPhone": "13800000001",
        **fields,
    }
    answer = service.post("/v1/intake/hotline-12345", payload, "hotline-12345")
    assert answer.status_code == 201, answer.text
    ticket: dict[str, Any] = answer.json()["ticket"]
    return ticket


def ordered(service: Served) -> None:
    service.run(lambda parts: parts.feed.order())


def page(service: Served, who: str = "admin", **asked: Any) -> dict[str, Any]:
    query = "&".join(f"{name}={value}" for name, value in asked.items())
    answer = service.get(f"/v1/events?{query}", who)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()
    return found


def whole(service: Served, who: str = "admin", limit: int = 200, **asked: Any) -> list[Any]:
    found: list[Any] = []
    after, more = "", True
    while more:
        got = page(service, who, after=after, limit=limit, **asked)
        assert len(got["items"]) <= limit
        found += got["items"]
        after, more = got["next"], got["more"]
    return found


def world(service: Served) -> dict[str, dict[str, Any]]:
    """Tickets of two counties: one that the market's office works, one of another unit's, one of
    whom it is kept who complained."""
    market = {"unit": "360732-market_regulation", "assist": [], "reason": "属其职责"}
    ours = push(service, "E1")
    ours = service.act(ours, "admin", "dispatch", **market)
    ours = service.act(ours, "handler", "sign")
    ours = service.act(ours, "handler", "note", text="已联系 13912345678")
    other = push(service, "E2", title="路灯不亮", content="街上的路灯坏了好几天没人修")
    other = service.act(
        other, "admin", "dispatch", **(market | {"unit": "360732-housing_construction"})
    )
    secret = push(service, "E3", isSecret="是")
    far = push(service, "E4", areaCode="360300", title="超市短斤少两")
    ordered(service)
    return {"ours": ours, "other": other, "secret": secret, "far": far}


def test_each_caller_gets_what_the_histories_give_him(database_url: str) -> None:
    with served(database_url) as service:
        tickets = world(service)
        for who in READERS:
            expected = {}
            for ticket in tickets.values():
                answer = service.get(f"/v1/tickets/{ticket['no']}/events", who)
                if answer.status_code == 200:
                    for item in answer.json()["items"]:
                        expected[item["id"]] = item | {
                            "no": ticket["no"],
                            "region": ticket["region"],
                        }
                else:
                    assert answer.status_code == 404
            for limit in (1, 3, 200):
                got = whole(service, who, limit)
                assert {item["id"]: _but_cursor(item) for item in got} == expected, who
                assert len(got) == len(expected)
        assert len(whole(service)) > len(whole(service, "supervisor"))
        assert len(whole(service, "supervisor")) > len(whole(service, "handler"))
        assert {item["no"] for item in whole(service, "stranger")} == {tickets["far"]["no"]}
        note = [item for item in whole(service, "auditor") if item["act"] == "note"]
        assert note[0]["content"]["text"] == "已联系 139****5678"
        assert "13912345678" not in str(whole(service, "supervisor"))
        assert {item["region"] for item in whole(service, region="360300")} == {"360300"}
        assert whole(service, "supervisor", region="360300") == []
        for source in ("hotline-12345", "haochaping"):
            answer = service.get("/v1/events", source)
            assert answer.status_code == 403
            assert "查看事件流" in answer.json()["detail"]
        assert service.client.get("/v1/events").status_code == 401


def _but_cursor(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name != "cursor"}


def test_a_follower_goes_on_from_any_cursor_and_past_what_it_may_not_see(
    database_url: str,
) -> None:
    with served(database_url) as service:
        world(service)
        items = whole(service)
        for at, item in enumerate(items):
            assert page(service, after=item["cursor"])["items"] == items[at + 1 :]
        end = page(service, after=items[-1]["cursor"])
        assert (end["items"], end["more"]) == ([], False)
        assert end["next"] == items[-1]["cursor"]
        now = page(service, "stranger", after="now")
        assert (now["items"], now["more"]) == ([], False)
        push(service, "E5")
        ordered(service)
        passed = page(service, "stranger", after=now["next"])
        assert passed["items"] == []
        assert passed["next"] != now["next"], "it need not look at these again"
        new = page(service, after=now["next"])["items"]
        assert [item["act"] for item in new][:1] == ["received"]
        assert new[0]["at"].endswith("+08:00")


def cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "wrong",
    ["x", "!!!", cursor("t5"), cursor("f5"), cursor("f-1.00000000"), cursor("f5.xyz"), "%E4%B8%AD"],
)
def test_a_cursor_that_is_none_of_ours_is_refused_in_plain_words(
    tmp_path: Path, wrong: str
) -> None:
    with served(sqlite(tmp_path)) as service:
        answer = service.get(f"/v1/events?after={wrong}")
        assert answer.status_code == 400
        body = answer.json()
        assert body["type"] == "urn:banjie:problem:bad-cursor"
        assert body["errors"][0]["pointer"] == "/query/after"
        stream = {"Accept": "text/event-stream", "Last-Event-ID": cursor("t5")}
        answer = service.client.get("/v1/events", headers=service.headers("admin") | stream)
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["pointer"] == "/header/last-event-id"


def test_who_follows_a_region_that_there_is_not_is_told_so(tmp_path: Path) -> None:
    with served(sqlite(tmp_path)) as service:
        for headers in ({}, {"Accept": "text/event-stream"}):
            asked = service.headers("admin") | headers
            answer = service.client.get("/v1/events?region=369999", headers=asked)
            assert answer.status_code == 422
            assert answer.json()["type"] == "urn:banjie:problem:unknown-region"
            assert answer.json()["errors"][0]["pointer"] == "/query/region"


def test_a_cursor_from_before_a_restore_is_told_so(database_url: str) -> None:
    with served(database_url) as service:
        push(service, "E1")
        ordered(service)
        last = page(service, after="now")["next"]
        text = base64.urlsafe_b64decode(last + "=" * (-len(last) % 4)).decode()
        place, _, mark = text[1:].partition(".")
        for gone in (f"f{int(place) + 100}.{mark}", f"f{place}.0000beef"):
            answer = service.get(f"/v1/events?after={cursor(gone)}")
            assert answer.status_code == 410
            assert "备份" in answer.json()["detail"]


@pytest.mark.parametrize("limit", ["0", "1001", "x"])
def test_a_limit_out_of_bounds_is_refused(tmp_path: Path, limit: str) -> None:
    with served(sqlite(tmp_path)) as service:
        answer = service.get(f"/v1/events?limit={limit}")
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/query/limit"


def test_no_more_streams_than_are_kept_open(tmp_path: Path) -> None:
    with served(sqlite(tmp_path), feed_streams=0) as service:
        stream = service.headers("admin") | {"Accept": "text/event-stream"}
        answer = service.client.get("/v1/events", headers=stream)
        assert answer.status_code == 503
        assert answer.json()["type"] == "urn:banjie:problem:streams-full"
        assert int(answer.headers["retry-after"]) > 0
