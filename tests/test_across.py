"""One matter by two channels, over HTTP and in the pages."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.served import Served, served, sqlite
from tests.test_api import hotline, payloads, received, refused
from tests.test_web import form_of, signed_in

HERE = {"Sec-Fetch-Site": "same-origin"}
CALLED = "平川大道的超市卖排骨短斤少两，两斤只有一斤七两，找超市不认账"
POSTED = "我在平川大道那家超市买排骨，两斤回家称只有一斤七两，短斤少两还不认账，电话13800099001"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Served]:
    with served(sqlite(tmp_path)) as running:
        running.client.follow_redirects = False
        yield running


def look(service: Served) -> None:
    async def all_of_them(parts: Any) -> None:
        while await parts.matching.look(parts.now()):
            pass

    service.run(all_of_them)


def twice(service: Served, **changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Push one matter by two channels."""
    called = hotline(
        workOrderNo="TWICE1",
        title="短斤少两",
        content=CALLED,
        address="潋江镇平川大道",
        contactPhone="13800099001",
        confidential=False,
        anonymous=False,
        **changes,
    )
    posted = payloads("wenzheng-jiangxi")[0] | {
        "receiptno": "TWICE2",
        "title": "超市短斤少两",
        "content": POSTED,
        "posttime": "2026-11-20 20:00:00",
        "areaName": "兴国县",
        "nickname": "赶集的人",
        "contactPhone": "138 0009 9001",
    }
    first = received(service, called)
    second = received(service, posted, "wenzheng-jiangxi")
    look(service)
    return first, second


def links(service: Served, no: str, who: str = "dispatcher") -> list[dict[str, Any]]:
    found = service.get(f"/v1/tickets/{no}", who).json()["ticket"]["links"]
    return [link for link in found if link["rel"] != "related"]


def test_it_is_proposed_over_http_and_merged_by_the_act(service: Served) -> None:
    first, second = twice(service)
    [link] = links(service, second["no"])
    assert link["rel"] == "proposed"
    assert (link["no"], link["later"], link["version"]) == (first["no"], True, first["version"])
    assert link["reason"].startswith("同一来电号码，同一地点（平川大道），内容相似 ")
    assert links(service, second["no"], "wenzheng-jiangxi") == []
    listed = service.get("/v1/tickets?q=短斤少两", "dispatcher").json()["items"]
    assert [item["links"][-1]["rel"] for item in listed] == ["proposed", "proposed"]
    merged = service.act(second, "dispatcher", "merge", into=first["no"], reason=link["reason"])
    assert [each["rel"] for each in merged["links"]] == ["into"]
    assert [each["rel"] for each in links(service, first["no"])] == ["from"]


def test_it_is_rejected_over_http(service: Served) -> None:
    first, second = twice(service)
    path = f"/v1/tickets/{second['no']}/not-same"
    refused(service.post(path, {"no": first["no"]}, "handler"), 403, "forbidden")
    refused(service.post(path, {"no": first["no"]}, "stranger"), 404, "unknown-ticket")
    refused(service.post(path, {"no": "x"}, "dispatcher"), 422, "invalid")
    answer = service.post(path, {"no": first["no"], "reason": "两次购物"}, "dispatcher")
    assert answer.status_code == 200, answer.text
    assert answer.headers["ETag"] == f'"{second["version"]}"'
    assert links(service, second["no"]) == links(service, first["no"]) == []


def test_personal_data_is_told_where_it_stands(service: Served) -> None:
    _, second = twice(service)
    ticket = service.get(f"/v1/tickets/{second['no']}").json()["ticket"]
    [found] = ticket["personal"]
    assert (found["pointer"], found["sort"]) == ("/content", "phone")
    assert ticket["content"][found["start"] : found["end"]] == "138****9001"
    masked = service.get(f"/v1/tickets/{second['no']}", "auditor").json()["ticket"]
    assert "13800099001" not in str(masked)
    assert masked["personal"] == ticket["personal"]


def test_one_press_on_the_page_merges_it(service: Served) -> None:
    first, second = twice(service)
    browser = signed_in(service, "dispatcher")
    page = browser.get(f"/desk/tickets/{second['no']}").text
    assert "建议并单" in page
    assert '<mark class="personal" title="电话号码">138****9001</mark>' in page
    # From the earlier one's page as well: it is the later one that is merged.
    page = browser.get(f"/desk/tickets/{first['no']}").text
    action = f"/desk/tickets/{second['no']}/acts/merge"
    answer = service.client.post(action, data=form_of(page, action), headers=HERE)
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"] == f"/desk/tickets/{first['no']}#main"
    assert service.get(f"/v1/tickets/{second['no']}").json()["ticket"]["state"] == "merged"
    assert "已并入本单" in browser.get(f"/desk/tickets/{first['no']}").text


def test_one_press_on_the_page_rejects_it(service: Served) -> None:
    first, second = twice(service)
    browser = signed_in(service, "dispatcher")
    action = f"/desk/tickets/{second['no']}/not-same"
    page = browser.get(f"/desk/tickets/{second['no']}").text
    answer = service.client.post(action, data=form_of(page, action), headers=HERE)
    assert answer.status_code == 303
    page = browser.get(answer.headers["location"]).text
    assert "建议并单" not in page
    assert f"不并单成功：工单 {second['no']}" in page
    assert first["no"] in page, "the history says of which"


def test_a_handler_is_shown_the_reason_and_no_button(service: Served) -> None:
    _, second = twice(service)
    browser = signed_in(service, "handler")
    page = browser.get(f"/desk/tickets/{second['no']}").text
    assert "同一来电号码" in page
    assert "并入该工单" not in page


def test_the_page_of_a_unit_tells_nothing_of_who_stays_unnamed(service: Served) -> None:
    payload = hotline(
        workOrderNo="SECRET1", confidential=True, content=CALLED, contactPhone="13800099001"
    )
    ticket = received(service, payload)
    page = signed_in(service, "handler").get(f"/desk/tickets/{ticket['no']}").text
    assert "对承办单位保密" in page
    assert "9001" not in page
    told = service.get(f"/v1/tickets/{ticket['no']}", "handler").json()["ticket"]
    assert told["contact"] == {"name": "", "phone": "", "gender": ""}
    signed = service.act(told, "handler", "sign")
    assert signed["contact"]["phone"] == "", "the answer to an act neither"
    assert "9001" in signed_in(service, "dispatcher").get(f"/desk/tickets/{ticket['no']}").text


def test_a_group_matter_is_listed_and_marked(service: Served) -> None:
    for n in range(6):
        received(
            service,
            hotline(
                workOrderNo=f"GROUP{n}",
                title="停水",
                content=f"滨江花园{n}栋停水两天了，自来水公司没人说什么时候来水",
                address="潋江镇滨江花园",
                contactPhone=f"1380009901{n}",
            ),
        )
    look(service)
    [group] = service.get("/v1/groups", "supervisor").json()["items"]
    assert (group["place"], group["people"], group["tickets"]) == ("滨江花园", 6, 6)
    refused(service.get("/v1/groups", "handler"), 403, "forbidden")
    items = service.get(f"/v1/tickets?group={group['id']}", "dispatcher").json()["items"]
    assert len(items) == 6
    assert items[0]["links"][-1] == {
        "rel": "group",
        "group": group["id"],
        "place": "滨江花园",
        "people": 6,
        "tickets": 6,
    }
    browser = signed_in(service, "supervisor")
    assert "滨江花园" in browser.get("/desk/groups").text
    listed = browser.get(f"/desk/tickets?group={group['id']}").text
    assert listed.count("群体性诉求 6 人") == 6
