"""Lists over HTTP: page by page to the end, and refusals in Chinese."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.served import Served, served, sqlite
from tests.test_api import new, received


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(sqlite(Path(tmp_path_factory.mktemp("pages")))) as running:
        for _ in range(5):
            received(running, new())
        yield running


def whole(service: Served, path: str) -> list[Any]:
    """Return the items of all pages of a list."""
    items: list[Any] = []
    cursor = ""
    while cursor is not None:
        page = service.get(f"{path}{'&' if '?' in path else '?'}limit=2&cursor={cursor}").json()
        assert len(page["items"]) <= 2
        items += page["items"]
        cursor = page["next"]
    return items


def test_a_queue_and_a_history_are_read_page_by_page(service: Served) -> None:
    unit = service.get("/v1/tickets").json()["items"][0]["lead"]["unit"]
    at_once = service.get(f"/v1/units/{unit}/queue").json()
    assert at_once["next"] is None
    assert len(at_once["items"]) == 5
    assert whole(service, f"/v1/units/{unit}/queue") == at_once["items"]
    no = at_once["items"][0]["no"]
    for n in range(3):
        ticket = service.get(f"/v1/tickets/{no}").json()["ticket"]
        service.act(ticket, "admin", "note", text=f"第{n}次")
    history = service.get(f"/v1/tickets/{no}/events").json()["items"]
    assert len(history) > 4
    assert whole(service, f"/v1/tickets/{no}/events") == history


def test_a_cursor_of_another_list_is_refused(service: Served) -> None:
    cursor = service.get("/v1/tickets?limit=2").json()["next"]
    no = service.get("/v1/tickets").json()["items"][0]["no"]
    unit = service.get("/v1/tickets").json()["items"][0]["lead"]["unit"]
    for path in (
        "/v1/deliveries",
        "/v1/sorting",
        "/v1/groups",
        f"/v1/tickets/{no}/events",
        f"/v1/units/{unit}/queue",
        "/v1/sources/hotline-12345/rejected",
    ):
        for wrong in (cursor, "xyz", "dDE", "cTk5OTk5OTk5OTk5OTk5OTk5OS4x"):
            answer = service.get(f"{path}?cursor={wrong}")
            assert answer.status_code == 400, (path, wrong)
            assert answer.json()["type"] == "urn:banjie:problem:bad-cursor"
            assert answer.json()["title"] == "游标无效"


def test_a_region_that_there_is_not_is_refused(service: Served) -> None:
    for path in ("/v1/tickets", "/v1/sorting"):
        answer = service.get(f"{path}?region=999999")
        assert answer.status_code == 422
        assert answer.json()["type"] == "urn:banjie:problem:unknown-region"
    assert service.get("/v1/tickets?region=360700").json()["items"]
    assert service.get("/v1/tickets?region=360100").json()["items"] == []


@pytest.mark.parametrize(
    ("asked", "why"), [("水", "至少两个字"), ("13800000000", "个人信息"), ("，。", "至少两个字")]
)
def test_what_cannot_be_looked_for_is_told_why(service: Served, asked: str, why: str) -> None:
    answer = service.get(f"/v1/tickets?q={quote(asked)}")
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:banjie:problem:unsearchable"
    assert why in answer.json()["errors"][0]["detail"]


def test_blanks_alone_ask_for_everything(service: Served) -> None:
    assert len(service.get("/v1/tickets?q=%20").json()["items"]) == 5
