"""What a supervisor sees and presses, and second looks (抽查) from the draw to the redo, on both
databases."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.revisions import down_to
from tests.served import Served, served
from tests.test_api import new
from tests.test_web import Browser, form_of, signed_in

MARKET = "360732-market_regulation"
HOUSING = "360732-housing_construction"
FAR = "360300"
HERE = {"Origin": "http://testserver"}
Ticket = dict[str, Any]


@pytest.fixture
def service(migrated_url: str) -> Iterator[Served]:
    with served(migrated_url) as running:
        running.client.follow_redirects = False
        yield running


def received(service: Served, unit: str = MARKET, **changes: Any) -> Ticket:
    now = f"{service.clock() - timedelta(minutes=10):%Y-%m-%d %H:%M:%S}"
    answer = service.post("/v1/intake/hotline-12345", new(**{"acceptTime": now} | changes))
    assert answer.status_code == 201, answer.text
    ticket: Ticket = answer.json()["ticket"]
    if ticket["lead"] and ticket["lead"]["unit"] == unit:
        return ticket
    return service.act(ticket, "admin", "dispatch", unit=unit, reason="某")


def closed(service: Served, unit: str = MARKET, **changes: Any) -> Ticket:
    ticket = received(service, unit, **changes)
    for act, fields in (
        ("sign", {}),
        ("contact", {"text": "已联系"}),
        ("resolve", {"public_reply": "已整改", "solved": True}),
        ("call_back", {"reached": True, "solved": True, "grade": 5}),
        ("close", {}),
    ):
        ticket = service.act(ticket, "admin", act, **fields)
    return ticket


def enforced(service: Served, later: timedelta) -> None:
    service.clock.time += later

    async def enforce(parts: Any) -> None:
        await parts.desk.enforce(parts.now(), 1000)

    service.run(enforce)


def numbers(page: str) -> list[str]:
    """Return the numbers of the tickets that a page links, each once, in order."""
    return list(dict.fromkeys(re.findall(r'href="/desk/tickets/([0-9K-]+)"', page)))


def board(page: str) -> dict[tuple[str, str], int]:
    """Return what the links of the board count, by reason and unit."""
    found = re.findall(
        r'href="/desk/supervision/tickets\?why=(\w+)(?:&amp;unit=([\w-]+))?">(\d+)<', page
    )
    return {(why, unit): int(count) for why, unit, count in found}


def test_each_count_of_the_board_leads_to_exactly_these_tickets(service: Served) -> None:
    for unit, n in ((MARKET, 3), (HOUSING, 2)):
        for _ in range(n):
            received(service, unit)
    browser = signed_in(service, "supervisor")
    seen: set[str] = set()
    for days in (0, 2, 2, 4, 20):
        enforced(service, timedelta(days=days, hours=1))
        browser = signed_in(service, "supervisor")
        counts = board(browser.get("/desk/supervision").text)
        for (why, unit), count in counts.items():
            page = browser.get(f"/desk/supervision/tickets?why={why}&unit={unit}").text
            assert len(numbers(page)) == count, (days, why, unit)
            seen.add(why)
    assert seen == {"due_today", "overdue", "yellow", "red"}


def test_a_long_list_is_read_page_by_page(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5):
        received(service)
    enforced(service, timedelta(days=40))
    monkeypatch.setattr("service.web.supervision._PAGE", 2)
    browser = signed_in(service, "supervisor")
    for unit in ("", f"&unit={MARKET}"):
        address = f"/desk/supervision/tickets?why=overdue{unit}"
        found: list[str] = []
        while address:
            page = browser.get(address).text
            assert len(numbers(page)) <= 2
            found += numbers(page)
            onward = re.search(r'class="onward"><a href="([^"]+)"', page)
            address = onward[1].replace("&amp;", "&") if onward else ""
        assert len(found) == len(set(found)) == 5


def test_a_supervisor_presses_with_one_click_and_the_level_rises(service: Served) -> None:
    ticket = received(service)
    enforced(service, timedelta(days=40))
    browser = signed_in(service, "supervisor")
    address = "/desk/supervision/tickets?why=overdue"
    action = f"/desk/tickets/{ticket['no']}/acts/supervise"
    page = browser.get(address).text
    assert '<option value="red" selected>' in page  # time has given it a card already
    text = re.search(r"<textarea[^>]*>\n([^<]+)</textarea>", page)
    assert text
    assert "到期" in text[1]
    answer = browser.press(address, action, level="red", text=text[1])
    assert answer.status_code == 303
    assert answer.headers["location"] == f"{address}#main"
    page = browser.get(address).text
    assert "督办成功" in page
    after = service.get(f"/v1/tickets/{ticket['no']}").json()["ticket"]
    assert after["supervision"][-1]["level"] == "red"


def test_an_auditor_reads_and_a_handler_does_not(service: Served) -> None:
    received(service)
    enforced(service, timedelta(days=40))
    pages = ("/desk/supervision", "/desk/supervision/tickets?why=overdue", "/desk/samples")
    auditor = signed_in(service, "auditor")
    for path in pages:
        page = auditor.get(path)
        assert page.status_code == 200
        assert page.text.count('method="post"') == 1, "to sign out, and nothing else"
    for who in ("handler", "dispatcher"):
        browser = signed_in(service, who)
        assert all(browser.get(path).status_code == 403 for path in pages)


def test_what_lies_in_another_region_is_neither_counted_nor_listed(service: Served) -> None:
    ticket = received(service)
    closed(service)
    enforced(service, timedelta(days=40))
    browser = signed_in(service, "stranger")
    assert board(browser.get("/desk/supervision").text) == {}
    page = browser.get(f"/desk/supervision/tickets?why=overdue&unit={MARKET}").text
    assert ticket["no"] not in page
    assert "没有抽取" in drawn(browser, size="5").text
    assert drawn(browser, size="5", region="360732").status_code == 403


def asked_for_more(service: Served) -> Ticket:
    ticket = service.act(received(service), "admin", "sign")
    return service.act(
        ticket, "handler", "request_extension", amount="2 工作日", reason="需要检测机构出报告"
    )


def test_a_request_for_more_time_is_decided_where_it_is_read(service: Served) -> None:
    granted, refused = asked_for_more(service), asked_for_more(service)
    browser = signed_in(service, "supervisor")
    page = browser.get("/desk/supervision").text
    assert page.count("需要检测机构出报告") == 2
    for ticket, answer in ((granted, "true"), (refused, "false")):
        action = f"/desk/tickets/{ticket['no']}/acts/decide_extension"
        done = browser.press("/desk/supervision", action, granted=answer, reason="某")
        assert done.headers["location"] == "/desk/supervision#main"
    assert "没有待批的延期申请" in browser.get("/desk/supervision").text
    ends = [
        service.get(f"/v1/tickets/{each['no']}").json()["ticket"]["milestones"]
        for each in (granted, refused)
    ]
    moved = [[m for m in each if m["due_at"] != m["original_due_at"]] for each in ends]
    assert len(moved[0]) == 1
    assert moved[1] == []


def test_a_request_lapses_with_its_ticket(service: Served) -> None:
    ticket = asked_for_more(service)
    service.act(ticket, "admin", "resolve", public_reply="已整改", solved=True)
    browser = signed_in(service, "supervisor")
    assert "没有待批的延期申请" in browser.get("/desk/supervision").text


def test_a_request_from_before_the_upgrade_is_listed_after_it(service: Served) -> None:
    ticket = asked_for_more(service)
    decided = asked_for_more(service)
    service.act(decided, "supervisor", "decide_extension", granted=True)

    async def and_forth(parts: Any) -> None:
        await parts.store.run(lambda connection: down_to(connection, "0012"))
        await parts.store.migrate()

    service.run(and_forth)
    page = signed_in(service, "supervisor").get("/desk/supervision").text
    assert numbers(page.partition('id="extensions"')[2]) == [ticket["no"]]


def test_who_sends_back_most_is_told_with_the_rate(service: Served) -> None:
    for _ in range(2):
        service.act(received(service), "handler", "send_back", reason="不属于", basis="三定")
    received(service)
    browser = signed_in(service, "supervisor")
    page = browser.get("/desk/supervision").text
    assert "66.67 %（2/3）" in page
    assert "rate=sent_back" in page


# Second looks


def drawn(browser: Browser, **fields: str) -> Any:
    today = browser.service.clock().date()
    usual = {"since": str(today - timedelta(days=10)), "until": str(today)}
    return browser.press("/desk/samples", "/desk/samples", **usual | fields)


def found(browser: Browser, no: str, **fields: str) -> Any:
    return browser.press(f"/desk/tickets/{no}", f"/desk/tickets/{no}/acts/check", **fields)


def test_a_draw_waits_until_each_finding_is_recorded_and_counted(service: Served) -> None:
    for unit in (MARKET, MARKET, MARKET, HOUSING):
        closed(service, unit)
    browser = signed_in(service, "supervisor")
    answer = drawn(browser, size="3")
    assert answer.status_code == 303, answer.text
    page = browser.get(answer.headers["location"].partition("#")[0]).text
    assert "已抽取 3 件" in page
    assert "4 件中抽 3 件" in page
    waiting = numbers(page)
    assert len(waiting) == 3
    for no, fields in zip(
        waiting,
        (
            {"way": "phone", "reached": "true", "solved": "true", "truthful": "true"},
            {"way": "phone", "reached": "false"},
            {"way": "on_spot", "reached": "false", "truthful": "false"},
        ),
        strict=True,
    ):
        assert found(browser, no, **fields, text="某").status_code == 303
        assert "check" in [
            e["act"] for e in service.get(f"/v1/tickets/{no}/events").json()["items"]
        ]
    assert numbers(browser.get("/desk/samples").text) == []
    assert numbers(browser.get("/desk/samples?state=unreached").text) == [waiting[1]]
    page = browser.get("/desk/samples?state=checked").text
    assert set(numbers(page)) == {waiting[0], waiting[2]}
    assert "50.00 %（1/2）" in page or ("100.00 %（1/1）" in page and "0.00 %（0/1）" in page)

    # Who was not reached is tried again, and the second try is what counts.
    again = found(browser, waiting[1], way="phone", reached="true", solved="false")
    assert again.status_code == 303
    assert numbers(browser.get("/desk/samples?state=unreached").text) == []


def test_what_was_not_solved_is_done_again_from_there(service: Served) -> None:
    ticket = closed(service)
    browser = signed_in(service, "supervisor")
    drawn(browser, size="1")
    no = ticket["no"]
    assert "等待抽查" in browser.get(f"/desk/tickets/{no}").text
    found(browser, no, way="phone", reached="true", solved="false", truthful="true")
    assert "应当重办" in browser.get(f"/desk/tickets/{no}").text
    address, action = "/desk/samples?state=checked", f"/desk/tickets/{no}/acts/reopen"
    reason = re.search(r"<textarea[^>]*>\n([^<]+)</textarea>", browser.get(address).text)
    assert reason
    assert "没有解决" in reason[1]
    assert browser.press(address, action, reason=reason[1]).status_code == 303
    assert service.get(f"/v1/tickets/{no}").json()["ticket"]["state"] == "dispatched"
    assert "工单已重新办理" in browser.get(address).text


def test_every_unit_is_in_a_draw_and_nothing_is_drawn_twice(service: Served) -> None:
    for unit in (MARKET, MARKET, MARKET, HOUSING):
        closed(service, unit)
    received(service)  # not closed
    browser = signed_in(service, "supervisor")
    drawn(browser, size="2")
    page = browser.get("/desk/samples").text
    assert len(numbers(page)) == 2
    assert "1 件中抽 1 件" in page
    drawn(browser, percent="100")
    assert len(numbers(browser.get("/desk/samples").text)) == 4
    again = drawn(browser, percent="100")
    assert again.status_code == 422
    assert "没有已结案而未抽查过的" in again.text


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "件数和比例填写一项"),
        ({"size": "3", "percent": "5"}, "件数和比例填写一项"),
        ({"size": "x"}, "件数应为整数"),
        ({"percent": "5.5"}, "比例应为整数"),
        ({"size": "9999"}, "应为 1 至 500 件"),
        ({"percent": "101"}, "应为 1 至 100"),
        ({"size": "3", "since": "2026-01-01"}, "一次最多 92 天"),
        ({"size": "3", "since": "昨天"}, "应为日期"),
        ({"size": "3", "until": "2026-01-01"}, "不能早于开始的日期"),
    ],
)
def test_a_draw_that_cannot_be_is_refused_with_the_reason(
    service: Served, fields: dict[str, str], why: str
) -> None:
    browser = signed_in(service, "supervisor")
    answer = drawn(browser, **fields)
    assert answer.status_code == 422
    assert why in answer.text


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"way": "phone", "reached": False, "truthful": True}, "/truthful"),
        ({"way": "on_spot", "reached": False, "solved": True}, "/solved"),
        ({"way": "phone", "reached": True}, "/truthful"),
        ({"way": "letter", "reached": True, "solved": True}, "/way"),
    ],
)
def test_a_finding_that_nobody_can_have_made_is_refused(
    service: Served, fields: dict[str, Any], pointer: str
) -> None:
    ticket = closed(service)
    answer = service.post(
        f"/v1/tickets/{ticket['no']}/acts",
        {"act": "check", **fields},
        "supervisor",
        If_Match=str(ticket["version"]),
    )
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_only_what_was_drawn_counts(service: Served) -> None:
    ticket = closed(service)
    service.act(ticket, "supervisor", "check", way="phone", reached=True, solved=False)
    browser = signed_in(service, "supervisor")
    assert "近三个月还没有抽查结果" in browser.get("/desk/samples").text


def test_a_form_of_another_page_draws_nothing(service: Served) -> None:
    closed(service)
    browser = signed_in(service, "supervisor")
    form = form_of(browser.get("/desk/samples").text, "/desk/samples")
    wrong = form | {"form_token": "0" * 64, "size": "1"}
    assert service.client.post("/desk/samples", data=wrong, headers=HERE).status_code == 403
    assert numbers(browser.get("/desk/samples").text) == []
