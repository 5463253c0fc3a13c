"""The desk's pages as a browser's forms meet them, without a browser."""

import html
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from python_calamine import CalamineWorkbook

from service.domain.access import Actor, Role
from service.domain.complaint import Contact
from service.domain.ticket import Stage
from service.labels import STAGES
from service.store import tokens
from service.store.deliveries import deliveries
from service.store.tokens import Use
from service.web import render
from service.web.forms import FORMS
from service.web.sessions import local
from service.web.words import SYMBOLS
from tests.served import CALLERS, Served, served, sqlite
from tests.worlds import at, complaint

HERE = {"Origin": "http://testserver"}
MARKET = "360732-market_regulation"
SCRIPT = "<script>alert('x')</script>"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Served]:
    with served(sqlite(tmp_path)) as running:
        running.client.follow_redirects = False
        yield running


_numbers = iter(range(1, 10_000))


def receive(service: Served, **changes: Any) -> str:
    """Return the number of a new ticket; ordinarily it goes to the market's office."""
    no = f"W{next(_numbers)}"
    usual = {"source_no": no, "accepted_at": service.clock(), "place": "潋江镇平川大道"}

    async def store(parts: Any) -> str:
        receipt = await parts.desk.receive(complaint(**usual | changes), no, parts.now())
        return str(receipt.ticket.no)

    return str(service.run(store))


@dataclass
class Browser:
    """Somebody who is signed in: keeps cookies, fills in the forms that a page has."""

    service: Served

    def get(self, path: str) -> Any:
        return self.service.client.get(path)

    def press(self, path: str, action: str, **fields: Any) -> Any:
        """Fill in the form of a page that goes to `action`, and send it."""
        hidden = form_of(self.get(path).text, action)
        return self.service.client.post(action, data=hidden | fields, headers=HERE)


def form_of(page: str, action: str) -> dict[str, str]:
    """Return the hidden fields of the form that goes to an address."""
    found = re.search(
        rf'<form[^>]*action="{re.escape(action)}(?:#[^"]*)?"[^>]*>(.*?)</form>', page, re.DOTALL
    )
    assert found, f"no form to {action}"
    fields = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', found[1])
    return {name: html.unescape(value) for name, value in fields}


def signed_in(service: Served, who: str) -> Browser:
    service.client.cookies.clear()
    answer = sign_in(service, token=service.tokens[who])
    assert answer.status_code == 303, answer.text
    return Browser(service)


def sign_in(service: Served, **fields: str) -> Any:
    """Return the answer to the sign-in form, filled in."""
    return Browser(service).press("/desk/sign-in", "/desk/sign-in", **fields)


def act(browser: Browser, no: str, name: str, **fields: Any) -> Any:
    return browser.press(f"/desk/tickets/{no}", f"/desk/tickets/{no}/acts/{name}", **fields)


def history(service: Served, no: str) -> list[str]:
    events = service.get(f"/v1/tickets/{no}/events").json()["items"]
    return [event["act"] for event in events]


def new_token(service: Served, actor: Actor, use: Use, life: timedelta = timedelta(hours=1)) -> str:
    async def create(parts: Any) -> str:
        ends = parts.now() + life
        return str(
            await parts.store.run(
                lambda c: tokens.create(c, actor, parts.now(), use=use, expires_at=ends)
            )
        )

    return str(service.run(create))


# Who comes in


def test_a_page_without_a_session_leads_to_sign_in_and_back(service: Served) -> None:
    answer = service.client.get("/desk/tickets?q=路灯")
    assert answer.status_code == 303
    onward = answer.headers["location"]
    assert onward.startswith("/desk/sign-in?next=/desk/tickets")
    form = form_of(service.client.get(onward).text, "/desk/sign-in")
    answer = service.client.post(
        "/desk/sign-in", data=form | {"token": service.tokens["handler"]}, headers=HERE
    )
    assert answer.headers["location"] == "/desk/tickets?q=%E8%B7%AF%E7%81%AF"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie
    assert service.tokens["handler"] not in cookie


def test_over_https_the_cookie_is_secure(service: Served) -> None:
    site = "https://testserver/desk/sign-in"
    shown = service.client.get(site)
    assert "Secure" in shown.headers["set-cookie"]
    answer = service.client.post(
        site,
        data=form_of(shown.text, "/desk/sign-in") | {"token": service.tokens["handler"]},
        headers={"Sec-Fetch-Site": "same-origin"},
    )
    cookies = answer.headers.get_list("set-cookie")
    assert len(cookies) == 2
    assert all("Secure" in cookie and "HttpOnly" in cookie for cookie in cookies)


@pytest.mark.parametrize("token", ["", "bj_wrong", "牛", "x" * 5000])
def test_a_wrong_token_opens_nothing_and_is_not_repeated(service: Served, token: str) -> None:
    answer = sign_in(service, token=token)
    assert answer.status_code == 401
    assert "令牌无效" in answer.text
    assert "set-cookie" not in answer.headers
    assert not token or token not in answer.text


def test_a_source_has_no_desk(service: Served) -> None:
    token = service.tokens["hotline-12345"]
    assert sign_in(service, token=token).status_code == 401


def test_a_session_ends_after_twelve_hours_and_with_the_token_that_opened_it(
    service: Served,
) -> None:
    browser = signed_in(service, "handler")
    assert browser.get("/desk/queue").status_code == 200
    service.clock.time += timedelta(hours=12, seconds=1)
    assert browser.get("/desk/queue").status_code == 303
    short = new_token(service, CALLERS["handler"], Use.API, timedelta(minutes=10))
    service.client.cookies.clear()
    sign_in(service, token=short)
    assert browser.get("/desk/queue").status_code == 200
    service.clock.time += timedelta(minutes=11)
    assert browser.get("/desk/queue").status_code == 303


def test_signing_out_ends_the_session_for_good(service: Served) -> None:
    browser = signed_in(service, "handler")
    kept = service.client.cookies["banjie_session"]
    assert browser.press("/desk/queue", "/desk/sign-out").status_code == 303
    assert "banjie_session" not in service.client.cookies
    service.client.cookies.set("banjie_session", kept, path="/desk")
    assert browser.get("/desk/queue").status_code == 303


def test_a_session_is_no_token_and_a_token_no_session(service: Served) -> None:
    signed_in(service, "handler")
    session = service.client.cookies["banjie_session"]
    answer = service.client.get("/v1/tickets", headers={"Authorization": f"Bearer {session}"})
    assert answer.status_code == 401
    service.client.cookies.clear()
    service.client.cookies.set("banjie_session", service.tokens["handler"], path="/desk")
    assert service.client.get("/desk/queue").status_code == 303


def test_a_one_time_link_survives_a_preview_and_opens_the_desk_once(service: Served) -> None:
    link = new_token(service, CALLERS["handler"], Use.LINK)
    address = f"/desk/enter/{link}"
    for _ in range(3):
        preview = service.client.get(address)
        assert preview.status_code == 200
        assert "banjie_session" not in preview.headers.get("set-cookie", "")
    form = form_of(preview.text, address)
    answer = service.client.post(address, data=form, headers=HERE)
    assert (answer.status_code, answer.headers["location"]) == (303, "/desk")
    assert service.client.get("/desk/queue").status_code == 200
    again = service.client.post(address, data=form, headers=HERE)
    assert again.status_code == 401
    assert "已经用过" in again.text
    assert "set-cookie" not in again.headers
    opened_again = service.client.get(address)  # says so at once, and has no button
    assert opened_again.status_code == 401
    assert "已经用过" in opened_again.text
    assert "<form" not in opened_again.text.partition("<main")[2]


def test_an_expired_link_opens_nothing(service: Served) -> None:
    link = new_token(service, CALLERS["handler"], Use.LINK)
    address = f"/desk/enter/{link}"
    form = form_of(service.client.get(address).text, address)
    service.clock.time += timedelta(hours=2)
    assert "已过期" in service.client.get(address).text
    assert service.client.post(address, data=form, headers=HERE).status_code == 401


@pytest.mark.parametrize(
    ("address", "led_to"),
    [
        ("/desk/tickets?q=a", "/desk/tickets?q=a"),
        ("/desk", "/desk"),
        ("", "/desk"),
        ("https://example.org/desk", "/desk"),
        ("//example.org/desk/", "/desk"),
        ("/\\example.org", "/desk"),
        ("/desk\\..\\..\\x", "/desk"),
        ("/desk/../v1/tickets", "/desk"),
        ("/desk/%2E%2e/v1/tickets", "/desk"),
        ("/desktop", "/desk"),
        ("/desk/\r\nSet-Cookie: a=b", "/desk"),
        ("javascript:alert(1)", "/desk"),
    ],
)
def test_nobody_is_led_off_the_desk(service: Served, address: str, led_to: str) -> None:
    assert local(address) == led_to
    form = form_of(service.client.get("/desk/sign-in").text, "/desk/sign-in")
    answer = service.client.post(
        "/desk/sign-in",
        data=form | {"token": service.tokens["handler"], "next": address},
        headers=HERE,
    )
    assert answer.headers["location"] == led_to


# What is not from our pages


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://example.org"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", **HERE},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://example.org"},
    ],
    ids=str,
)
def test_a_form_from_elsewhere_is_refused_even_with_cookie_and_token(
    service: Served, headers: dict[str, str]
) -> None:
    no = receive(service)
    browser = signed_in(service, "handler")
    action = f"/desk/tickets/{no}/acts/sign"
    form = form_of(browser.get(f"/desk/tickets/{no}").text, action)
    answer = service.client.post(action, data=form, headers=headers)
    assert answer.status_code == 403
    assert history(service, no) == ["received", "dispatch"]
    form = form_of(browser.get("/desk/sign-in").text, "/desk/sign-in")
    filled = form | {"token": service.tokens["handler"]}
    assert service.client.post("/desk/sign-in", data=filled, headers=headers).status_code == 403


@pytest.mark.parametrize("token", ["", "0" * 64, "别人的"])
def test_a_form_without_the_sessions_token_is_refused(service: Served, token: str) -> None:
    no = receive(service)
    browser = signed_in(service, "handler")
    action = f"/desk/tickets/{no}/acts/sign"
    form = form_of(browser.get(f"/desk/tickets/{no}").text, action) | {"form_token": token}
    answer = service.client.post(action, data=form, headers=HERE)
    assert answer.status_code == 403
    assert "没有提交" in answer.text
    assert history(service, no) == ["received", "dispatch"]


def test_the_form_token_of_one_session_is_no_good_in_another(service: Served) -> None:
    no = receive(service)
    action = f"/desk/tickets/{no}/acts/sign"
    form = form_of(signed_in(service, "handler").get(f"/desk/tickets/{no}").text, action)
    signed_in(service, "handler")
    assert service.client.post(action, data=form, headers=HERE).status_code == 403


# Pages


def test_every_role_begins_at_its_own_page(service: Served) -> None:
    begins = {
        "handler": "/desk/queue",
        "dispatcher": "/desk/sorting",
        "supervisor": "/desk/overview",
        "auditor": "/desk/overview",
        "admin": "/desk/overview",
    }
    for who, page in begins.items():
        browser = signed_in(service, who)
        assert browser.get("/desk").headers["location"] == page, who
        assert browser.get(page).status_code == 200, who
        assert browser.get("/desk/tickets").status_code == 200, who


def test_a_queue_says_what_is_owed_by_when_and_how_long_that_is(service: Served) -> None:
    service.clock.time = at("2026-11-18 09:30")
    no = receive(service, confidential=True)
    page = signed_in(service, "handler").get("/desk/queue").text
    for said in (
        "兴国县市场监督管理局",
        no,
        "超市短斤少两",
        "潋江镇平川大道",
        "投诉",
        "保密",
        "待签收",
        "正常",
        "11-18 15:30",
        "剩 4 小时（工作时间）",
        "共 1 件",
    ):
        assert said in page, said


def test_a_queue_is_filtered_by_its_address(service: Served) -> None:
    browser = signed_in(service, "handler")
    assert "现在没有待办工单" in browser.get("/desk/queue").text
    no = receive(service)
    unit = f"/desk/queue?unit={MARKET}"
    assert no in browser.get(f"{unit}&state=dispatched&stage=").text
    assert no in browser.get(f"{unit}&state=&stage=normal").text
    empty = browser.get(f"{unit}&state=signed").text
    assert no not in empty
    assert "没有符合条件的待办工单" in empty
    assert '<option value="signed" selected>' in empty
    assert browser.get(f"{unit}&stage=warn").text.count(no) == 0
    assert browser.get(f"{unit}&stage=nonsense").status_code == 400


def test_a_queue_of_another_unit_is_closed_to_a_handler_and_of_no_unit_to_all(
    service: Served,
) -> None:
    other = "/desk/queue?unit=360732-urban_management"
    assert signed_in(service, "handler").get(other).status_code == 403
    browser = signed_in(service, "supervisor")
    assert browser.get(other).status_code == 200
    assert browser.get("/desk/queue?unit=nobody").status_code == 404


def test_an_address_without_a_page_leads_to_the_first_page(service: Served) -> None:
    answer = signed_in(service, "handler").get("/desk/none")
    assert answer.status_code == 404
    assert '<a href="/desk">回到工作台</a>' in answer.text
    assert "sign-in" not in answer.text


def test_a_ticket_shows_why_it_came_its_clocks_and_its_history(service: Served) -> None:
    no = receive(service)
    page = signed_in(service, "handler").get(f"/desk/tickets/{no}").text
    for said in (
        "买了两斤排骨",
        "为什么派到这里",
        "自动派单",
        "现主办",
        "时限",
        "首次联系",
        "工作日",
        "办理记录",
        "受理",
        "王*",
        "138****0001",
    ):
        assert said in page, said
    assert "13800000001" not in page


def test_two_clocks_that_end_at_once_are_told_apart_in_what_time_began(service: Served) -> None:
    service.clock.time = at("2026-11-18 09:30")
    no = receive(service, sender_due_at=at("2026-11-25 17:30"))
    service.clock.time = at("2026-11-25 18:00")

    async def enforce(parts: Any) -> None:
        await parts.desk.enforce(parts.now())

    service.run(enforce)
    page = signed_in(service, "supervisor").get(f"/desk/tickets/{no}").text
    told = re.findall(
        r"<b>普通督办</b> <time[^>]*>2026-11-25 17:30.*?meta\">([^<]*?) · ", page, re.DOTALL
    )
    assert sorted(told) == ["办结到时自动", "办结到时自动，来件时限"]


def test_every_step_of_time_is_told_once_on_the_wire_on_the_page_and_to_whom_it_concerns(
    service: Served,
) -> None:
    service.clock.time = at("2026-11-18 09:30")
    no = receive(service, contact=Contact())
    service.clock.time = at("2026-12-02 18:00")

    async def enforced(parts: Any) -> list[tuple[str, str, str]]:
        while await parts.desk.enforce(parts.now()):
            pass
        found = await parts.desk.ticket(no, CALLERS["admin"])
        sent = await parts.store.read(lambda c: deliveries(c, found))
        return [
            (each.payload["measure"], each.payload["at"][5:16], str(each.recipient))
            for each in sent
            if each.payload["milestone"] == "resolve" and each.payload["unit"] == MARKET
        ]

    steps = [
        ("remind", "11-25T09:00"),
        ("supervise", "11-25T17:30"),
        ("yellow", "11-26T17:30"),
        ("red", "11-30T17:30"),
        ("bulletin", "12-02T17:30"),
    ]
    sent = service.run(enforced)
    assert [each[0] for each in sent[::2]] == [measure for measure, _ in steps]
    assert [each[1] for each in sent[2::2]] == [when for _, when in steps[1:]]
    assert {each[2] for each in sent[::2]} == {"unit"}
    assert {each[2] for each in sent[1::2]} == {"supervisor"}
    told = service.get(f"/v1/tickets/{no}").json()["ticket"]
    levels = [s["level"] for s in told["supervision"]]
    cards = [
        (s["level"], s["at"][5:16], s["auto"])
        for s in told["supervision"]
        if s["unit"] == MARKET and s["level"] != "ordinary"
    ]
    assert cards == [(measure, when, True) for measure, when in steps[2:]]
    page = signed_in(service, "supervisor").get(f"/desk/tickets/{no}").text
    for said in ("催办", "普通督办", "黄牌", "红牌", "通报"):
        assert f"办结{said}" in page, said
    assert re.search(r"<b>通报</b> <time[^>]*>2026-12-02 17:30", page)
    assert '<p class="meta">办结到时自动 · ' in page
    # What is handed on to another unit has its cards behind it, and does not get them twice.
    ticket = service.act(
        told,
        "dispatcher",
        "dispatch",
        unit=MARKET.replace("market_regulation", "forestry"),
        reason="改派",
    )
    assert [s["level"] for s in ticket["supervision"]] == levels


def test_a_handler_walks_a_ticket_through_and_the_desk_closes_it(service: Served) -> None:
    no = receive(service)
    browser = signed_in(service, "handler")
    answer = act(browser, no, "sign")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/desk/tickets/{no}#main")
    assert f"签收成功：工单 {no}" in browser.get(f"/desk/tickets/{no}").text
    assert "签收成功" not in browser.get(f"/desk/tickets/{no}").text
    act(browser, no, "contact", text="电话联系，\r\n约定上门")
    reply = act(browser, no, "resolve", public_reply="已补足重量", solved="true")
    assert reply.status_code == 303
    browser = signed_in(service, "dispatcher")
    assert "acts/close" not in browser.get(f"/desk/tickets/{no}").text
    act(browser, no, "call_back", reached="true", solved="true", grade="5")
    act(browser, no, "close")
    page = browser.get(f"/desk/tickets/{no}").text
    assert "已结案" in page
    assert "电话联系，\n约定上门" in page
    assert history(service, no)[-5:] == ["sign", "contact", "resolve", "call_back", "close"]


@pytest.mark.parametrize(
    ("who", "offered"),
    [
        ("handler", {"sign", "send_back", "note"}),
        ("dispatcher", {"dispatch", "send_back", "merge", "reclassify", "note"}),
        ("supervisor", {"dispatch", "send_back", "merge", "supervise", "reclassify", "note"}),
        ("auditor", set()),
        (
            "admin",
            {"dispatch", "sign", "send_back", "merge", "supervise", "reclassify", "note"},
        ),
    ],
)
def test_only_what_state_and_role_allow_is_offered(
    service: Served, who: str, offered: set[str]
) -> None:
    no = receive(service)
    page = signed_in(service, who).get(f"/desk/tickets/{no}").text
    assert set(re.findall(rf'action="/desk/tickets/{no}/acts/(\w+)#', page)) == offered


def test_an_act_that_is_not_offered_is_refused_all_the_same(service: Served) -> None:
    no = receive(service)
    browser = signed_in(service, "dispatcher")
    form = form_of(browser.get(f"/desk/tickets/{no}").text, f"/desk/tickets/{no}/acts/note")
    answer = service.client.post(f"/desk/tickets/{no}/acts/sign", data=form, headers=HERE)
    assert answer.status_code == 403
    assert "没有权限" in answer.text
    answer = service.client.post(f"/desk/tickets/{no}/acts/fly", data=form, headers=HERE)
    assert answer.status_code == 404
    assert history(service, no) == ["received", "dispatch"]


def test_every_act_has_a_form_or_is_left_to_programs() -> None:
    for name, form in FORMS.items():
        assert form.act == name
        assert form.explain


def test_what_was_typed_survives_a_refusal(service: Served) -> None:
    no = receive(service)
    browser = signed_in(service, "handler")
    action = f"/desk/tickets/{no}/acts/send_back"
    form = form_of(browser.get(f"/desk/tickets/{no}").text, action)
    typed = {"reason": "不属于本单位职责范围", "basis": ""}
    answer = service.client.post(action, data=form | typed, headers=HERE)
    assert answer.status_code == 422
    assert "不属于本单位职责范围</textarea>" in answer.text
    assert "缺少此项" in answer.text
    act(browser, no, "note", text="先记一笔")
    typed["basis"] = "三定规定第四条"
    answer = service.client.post(action, data=form | typed, headers=HERE)
    assert answer.status_code == 412
    assert "工单已被他人更新" in answer.text
    assert "三定规定第四条</textarea>" in answer.text
    # What the refused page holds is the new version: sent again, it goes through, and the handler,
    # who has the ticket no more, is led to the queue.
    again = form_of(answer.text, action) | typed
    answer = service.client.post(action, data=again, headers=HERE)
    assert (answer.status_code, answer.headers["location"]) == (303, "/desk/queue#main")
    assert "退单成功" in browser.get("/desk/queue").text


def test_what_was_typed_survives_an_act_that_came_too_late(service: Served) -> None:
    no = receive(service)
    browser = signed_in(service, "handler")
    act(browser, no, "sign")
    action = f"/desk/tickets/{no}/acts/resolve"
    form = form_of(browser.get(f"/desk/tickets/{no}").text, action)
    act(browser, no, "resolve", public_reply="第一份答复", solved="true")
    late = {"public_reply": "第二份答复", "solved": "true", "key": "another"}
    answer = service.client.post(action, data=form | late, headers=HERE)
    assert answer.status_code == 412
    assert "第二份答复" in answer.text


def test_a_form_sent_twice_acts_once(service: Served) -> None:
    no = receive(service)
    browser = signed_in(service, "handler")
    action = f"/desk/tickets/{no}/acts/note"
    form = form_of(browser.get(f"/desk/tickets/{no}").text, action) | {"text": "记一笔"}
    for _ in range(2):
        assert service.client.post(action, data=form, headers=HERE).status_code == 303
    assert history(service, no).count("note") == 1


def test_what_was_typed_survives_the_end_of_the_session(service: Served) -> None:
    no = receive(service)
    browser = signed_in(service, "handler")
    action = f"/desk/tickets/{no}/acts/note"
    form = form_of(browser.get(f"/desk/tickets/{no}").text, action)
    service.clock.time += timedelta(hours=13)
    from_it = HERE | {"Referer": f"{HERE['Origin']}/desk/tickets/{no}?all=1#acts"}
    answer = service.client.post(
        action, data=form | {"text": "写了很久的一段话。"}, headers=from_it
    )
    assert answer.status_code == 401
    assert "登录已过期" in answer.text
    assert f'href="/desk/sign-in?next=/desk/tickets/{no}%3Fall%3D1"' in answer.text
    site = HERE["Origin"]
    for elsewhere, back in {
        "": "/desk",
        "http://elsewhere.example/desk/tickets": "/desk",
        "http://[": "/desk",
        f"{site}/desk/../v1/units": "/desk",
        f"{site}//elsewhere.example/desk": "/desk",
        f"{site}/v1/units": "/desk",
        # Answers of forms, at addresses that no page has.
        f"{site}/desk/tickets/{no}/contact": f"/desk/tickets/{no}",
        f"{site}/desk/tickets/{no}/acts/note?again=1": f"/desk/tickets/{no}",
        f"{site}/desk/tickets/by-phone": "/desk/tickets",
        f"{site}/desk/queue/sign": "/desk/queue",
        f"{site}/desk/deliveries/7/retry": "/desk/deliveries",
    }.items():
        from_there = HERE | {"Referer": elsewhere}
        answer = service.client.post(action, data=form, headers=from_there)
        assert f'href="/desk/sign-in?next={back}"' in answer.text
    answer = service.client.post(action, data=form | {"text": "写了很久的一段话。"}, headers=HERE)
    assert "写了很久的一段话。" in answer.text
    assert form["form_token"] not in answer.text
    short = service.client.post(action, data=form | {"text": "已劝离"}, headers=HERE).text
    assert '<pre class="said">已劝离</pre>' in short


def test_what_was_typed_survives_signing_in_anew_elsewhere(service: Served) -> None:
    no = receive(service)
    action = f"/desk/tickets/{no}/acts/note"
    form = form_of(signed_in(service, "handler").get(f"/desk/tickets/{no}").text, action)
    signed_in(service, "handler")  # in another tab: the cookie is another now
    answer = service.client.post(action, data=form | {"text": "写了很久的一段话。"}, headers=HERE)
    assert answer.status_code == 403
    assert "重新登录过" in answer.text
    assert "写了很久的一段话。" in answer.text
    assert form["form_token"] not in answer.text
    foreign = {"Origin": "http://elsewhere.example"}
    answer = service.client.post(action, data=form | {"text": "别处写的一段话。"}, headers=foreign)
    assert "别处写的一段话。" not in answer.text


def test_stored_script_is_shown_as_text(service: Served) -> None:
    contact = Contact(f"{SCRIPT}王", "13800000001")
    no = receive(service, title=SCRIPT, content=f"超市短斤少两{SCRIPT}\n第二行", contact=contact)
    browser = signed_in(service, "handler")
    act(browser, no, "sign")
    act(browser, no, "resolve", public_reply=SCRIPT, internal_finding=SCRIPT, solved="false")
    pages = [browser.get(f"/desk/tickets/{no}"), browser.get(f"/desk/tickets?q=短斤少两{SCRIPT}")]
    unsearchable = browser.get(f"/desk/tickets?q={SCRIPT}")
    browser = signed_in(service, "dispatcher")
    act(browser, no, "reopen", reason=SCRIPT)
    pages += [browser.get(f"/desk/queue?unit={MARKET}"), browser.get(f"/desk/tickets/{no}")]
    assert {page.status_code for page in pages} == {200}
    assert unsearchable.status_code == 422
    for page in (*pages, unsearchable):
        assert "&lt;script&gt;" in page.text
        assert not re.search(r'<script(?! src="/desk/static/)', page.text)
        assert page.headers["content-security-policy"].startswith("default-src 'none'")


def test_a_ticket_of_another_unit_or_region_is_not_there(service: Served) -> None:
    no = receive(service)
    browser = signed_in(service, "stranger")
    answer = browser.get(f"/desk/tickets/{no}")
    assert answer.status_code == 404
    assert "没有这张工单" in answer.text
    assert "短斤少两" not in answer.text
    other = Actor("别家", Role.HANDLER, ("360732-urban_management",), region="360732")
    service.tokens["other"] = new_token(service, other, Use.API)
    browser = signed_in(service, "other")
    assert browser.get(f"/desk/tickets/{no}").status_code == 404
    assert no not in browser.get("/desk/tickets").text
    assert browser.get("/desk/tickets/'; drop").status_code == 404


def test_a_contact_is_shown_once_for_a_reason_that_stays_on_record(service: Served) -> None:
    no = receive(service)
    browser = signed_in(service, "handler")
    page, action = f"/desk/tickets/{no}", f"/desk/tickets/{no}/contact"
    refused = browser.press(page, action, reason=" ")
    assert refused.status_code == 422
    assert "13800000001" not in refused.text
    shown = browser.press(page, action, reason="电话核实情况")
    assert shown.status_code == 200
    assert "13800000001" in shown.text
    assert shown.headers["cache-control"] == "no-store"
    after = browser.get(page).text
    assert "13800000001" not in after
    assert "查看联系方式" in after
    assert "电话核实情况" in after
    auditor = signed_in(service, "auditor")
    assert action not in auditor.get(page).text


@pytest.mark.parametrize("stage", Stage)
def test_a_stage_has_a_word_and_a_sign_of_its_own(stage: Stage) -> None:
    bits: Any = render._templates.get_template("_bits.html").module
    text = re.sub(r"<[^>]*>", "", str(bits.stage(stage))).split()
    assert text == [SYMBOLS[stage], STAGES[stage]]
    assert len(set(STAGES.values())) == len(Stage)


def test_sorting_dispatches_with_one_press_or_after_a_search(service: Served) -> None:
    first = receive(service, title="喂", content="嗯嗯")
    browser = signed_in(service, "dispatcher")
    page = browser.get("/desk/sorting").text
    assert first in page
    assert "未自动派单" in page
    found = browser.get(f"/desk/tickets/{first}?units=民政").text
    assert "兴国县民政局" in found
    route = service.get(f"/v1/tickets/{first}").json()["ticket"]["route"]
    candidates = {candidate["unit"] for candidate in route["candidates"]}
    offered = set(re.findall(r'name="unit" value="([^"]+)"', found))
    assert candidates <= offered
    for code in offered - candidates:
        unit = service.parts.router.unit(code)
        assert unit
        assert "民政" in unit.name  # a 人民政府 as well
    none = browser.get(f"/desk/tickets/{first}?units=没有这样的单位").text
    assert set(re.findall(r'name="unit" value="([^"]+)"', none)) == candidates
    answer = act(
        browser,
        first,
        "dispatch",
        unit="360732-civil_affairs",
        assist=["360732-urban_management"],
        reason="先了解情况",
    )
    assert answer.status_code == 303
    assert "兴国县民政局" in browser.get(f"/desk/tickets/{first}").text
    second = receive(service)
    handler = signed_in(service, "handler")
    act(handler, second, "send_back", reason="不是我们的", basis="三定规定")
    browser = signed_in(service, "dispatcher")
    answer = browser.press("/desk/sorting", f"/desk/tickets/{second}/acts/dispatch")
    assert (answer.status_code, answer.headers["location"]) == (303, "/desk/sorting#main")
    assert "现在没有待派单的工单" in browser.get("/desk/sorting").text
    assert signed_in(service, "handler").get("/desk/sorting").status_code == 403


def test_sorting_shows_why_a_ticket_was_sent_back_and_where_it_better_goes(
    service: Served,
) -> None:
    no = receive(service)
    act(
        signed_in(service, "handler"),
        no,
        "send_back",
        reason="摊位在路边，不在店内",
        basis="三定规定第四条",
        suggested_unit="360732-urban_management",
    )
    browser = signed_in(service, "dispatcher")
    page = browser.get("/desk/sorting").text
    for said in ("摊位在路边，不在店内", "三定规定第四条", "刚由此单位退回", "退单单位建议"):
        assert said in page, said
    browser.press("/desk/sorting", f"/desk/tickets/{no}/acts/dispatch")
    assert service.get(f"/v1/tickets/{no}").json()["ticket"]["lead"]["name"] == "兴国县城市管理局"


def test_a_dispute_shows_every_units_reasons_and_is_ruled_where_it_stands(
    service: Served,
) -> None:
    no = receive(service)
    admin = "360732-urban_management"
    back = f"/desk/tickets/{no}/acts/send_back"
    handler = signed_in(service, "handler")
    handler.press(
        f"/desk/tickets/{no}", back, reason="摊位在路边", basis="三定", suggested_unit=admin
    )
    browser = signed_in(service, "admin")
    act(browser, no, "dispatch", unit=admin)
    act(
        browser,
        no,
        "send_back",
        reason="店内经营归市场监管",
        basis="职责清单",
        suggested_unit=MARKET,
    )
    assert "/acts/rule" not in signed_in(service, "dispatcher").get("/desk/sorting").text
    browser = signed_in(service, "supervisor")
    page = browser.get("/desk/sorting").text
    for said in ("2 次退单", "摊位在路边", "店内经营归市场监管", "职责清单", "曾由此单位退回"):
        assert said in page, said
    rule = f"/desk/tickets/{no}/acts/rule"
    ticket = browser.get(f"/desk/tickets/{no}").text
    asked = re.search(
        r'<select id="act-rule-unit"[^>]*required[^>]*>\s*<option value="">([^<]*)', ticket
    )
    assert asked  # nobody rules for “不确定”
    assert asked[1] == "请选择单位"
    refused = browser.press("/desk/sorting", rule, unit=MARKET)
    assert refused.status_code == 422
    answer = browser.press("/desk/sorting", rule, unit=MARKET, reason="店内经营", document="清单")
    assert answer.headers["location"] == "/desk/sorting#main"
    ruled = service.get(f"/v1/tickets/{no}").json()["ticket"]
    assert ruled["lead"]["unit"] == MARKET
    assert history(service, no)[-1] == "rule"
    # It stays with the unit, which reads why in place of a form that would be refused.
    there = signed_in(service, "handler").get(f"/desk/tickets/{no}").text
    assert "/acts/sign" in there
    assert "/acts/send_back" not in there
    assert "不能退单：工单已经裁定由本单位办理" in there


def test_a_dispatch_to_nobody_is_refused_and_shown_again(service: Served) -> None:
    no = receive(service)
    browser = signed_in(service, "dispatcher")
    answer = act(browser, no, "dispatch", unit="360732-nobody", reason="改派理由")
    assert answer.status_code == 422
    assert "没有这个单位" in answer.text
    assert "改派理由</textarea>" in answer.text


def test_search_finds_by_words_and_filters_and_turns_the_page(service: Served) -> None:
    numbers = [receive(service, title=f"短秤第{n}回") for n in range(52)]
    browser = signed_in(service, "supervisor")
    page = browser.get("/desk/tickets?q=短秤").text
    assert numbers[-1] in page
    assert numbers[0] not in page
    onward = re.search(r'href="(/desk/tickets\?[^"]*after=\w+)"', page)
    assert onward
    assert numbers[0] in browser.get(html.unescape(onward[1])).text
    assert numbers[3] in browser.get(f"/desk/tickets?q={numbers[3]}").text
    none = browser.get("/desk/tickets?q=短秤&state=closed&channel=&kind=").text
    assert "没有符合条件的工单" in none


def test_the_overview_counts_and_says_of_what(service: Served) -> None:
    service.clock.time = at("2026-11-18 09:30")
    done, late = receive(service), receive(service)
    browser = signed_in(service, "handler")
    act(browser, done, "sign")
    act(browser, done, "resolve", public_reply="已处理", solved="true")

    async def enforce(parts: Any) -> None:
        await parts.desk.enforce(parts.now())

    service.clock.time = at("2026-11-19 09:00")
    service.run(enforce)
    browser = signed_in(service, "supervisor")
    page = browser.get("/desk/overview").text
    row = re.search(r"<tr[^>]*>\s*<th[^>]*><a[^>]*>兴国县市场监督管理局.*?</tr>", page, re.DOTALL)
    assert row
    cells = re.findall(r"<td[^>]*>(.*?)</td>", row[0], re.DOTALL)
    assert [re.sub(r"<[^>]+>", "", cell) for cell in cells] == [
        "1",
        "1",
        "0",
        "1",
        "—",
    ]
    # The number leads to as many, also when they have a card by now.
    address = r'href="([^"]+)">1</a></td>'
    for day in ("2026-11-19 09:01", "2026-12-01 09:00"):
        service.clock.time = at(day)
        service.run(enforce)
        for who in ("supervisor", "dispatcher"):
            browser = signed_in(service, who)
            led = re.findall(address, browser.get("/desk/overview").text)
            assert led, (day, who)
            listed = browser.get(html.unescape(led[-1])).text
            assert "共 1 件" in listed, (day, who)
            assert late in listed, (day, who)
    # As on the page of figures: of both that fell due meanwhile, one was in time.
    told = [
        signed_in(service, "supervisor").get(f"/desk/{page}") for page in ("overview", "figures")
    ]
    assert ["50.00 %（1/2）" in told[0].text, "1/2" in told[1].text] == [True, True]
    stranger = signed_in(service, "stranger").get("/desk/overview").text
    assert "本辖区还没有工单" in stranger
    assert signed_in(service, "handler").get("/desk/overview").status_code == 403


# Figures and rules


def _cells(row: str) -> list[str]:
    return [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)]


def test_the_figures_are_those_of_the_programs_with_all_that_makes_them_up(
    service: Served,
) -> None:
    service.clock.time = at("2026-11-18 09:30")
    done = receive(service)
    receive(service)
    browser = signed_in(service, "handler")
    act(browser, done, "sign")
    act(browser, done, "resolve", public_reply="已处理", solved="true")
    service.clock.time = at("2026-11-23 09:00")
    browser = signed_in(service, "supervisor")
    asked = "from=2026-11-01&to=2026-11-22&rate=sign"
    page = browser.get(f"/desk/figures?{asked}&by=unit").text
    row = re.search(r"<tr><th scope=\"row\">兴国县市场监督管理局</th>.*?</tr>", page, re.DOTALL)
    assert row
    told = service.get(f"/v1/kpis?{asked}&region=360732", "supervisor").json()["items"][0]
    rate = told["rates"]["sign"]
    assert (rate["numerator"], rate["denominator"]) == (1, 2)
    assert _cells(row[0])[:3] == ["50.00%", "1", "2"]
    assert "<svg" in page
    assert "时限内签收的" in page  # what the numerator is
    assert "区间越宽" in page  # and what the interval says
    side_by_side = browser.get("/desk/figures").text
    assert "暂定" in side_by_side
    assert "首次联系率" in side_by_side
    assert "分子 1，分母 2" in side_by_side  # beside the rate, seen by pointer and focus
    assert re.search(r'href="/desk/figures\?[^"]*rate=sign"', side_by_side)
    assert "2026-11-18 受理 2 件" in side_by_side  # in the calendar
    by_region = browser.get("/desk/figures?by=region&from=2026-11-01&rate=sign").text
    assert _cells(by_region.partition('<th scope="row">兴国县</th>')[2])[:3] == ["50.00%", "1", "2"]


def test_the_workbook_of_the_figures_holds_what_the_page_shows(service: Served) -> None:
    service.clock.time = at("2026-11-18 09:30")
    receive(service)
    browser = signed_in(service, "supervisor")
    file = browser.get("/desk/figures.xlsx?by=kind&rate=completion")
    assert file.headers["content-disposition"].startswith(
        'attachment; filename="figures-2026-11-01-2026-11-18.xlsx"'
    )
    rows = (
        CalamineWorkbook.from_filelike(io.BytesIO(file.content)).get_sheet_by_index(0).to_python()
    )
    assert ["投诉", 0, 0, 1] in [row[:4] for row in rows]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("from=2026-13-01", "应为日期"),
        ("from=2026-11-20&to=2026-11-01", "结束日期不能早于开始日期。"),
        ("rate=nothing", "没有这个指标"),
    ],
)
def test_figures_that_cannot_be_told_are_refused_in_chinese(
    service: Served, wrong: str, said: str
) -> None:
    answer = signed_in(service, "supervisor").get(f"/desk/figures?{wrong}")
    assert answer.status_code == 422
    assert "<h1>无法按此统计</h1>" in answer.text  # and nothing of a bulletin
    assert said in answer.text


def test_the_table_of_units_leads_to_the_document_and_tells_where_a_text_would_go(
    service: Served,
) -> None:
    browser = signed_in(service, "dispatcher")
    page = browser.get("/desk/rules?q=短斤少两").text
    assert "兴国县市场监督管理局" in page
    assert "没有符合的行" in browser.get("/desk/rules?q=没有人会这样说").text
    before = service.get("/v1/tickets", "dispatcher").json()
    said = "菜市场买的排骨短斤少两，少了三两"
    answer = browser.press("/desk/rules", "/desk/rules", text=said, kind="complaint").text
    assert "自动派单" in answer
    assert "兴国县市场监督管理局" in answer
    assert said in answer
    assert service.get("/v1/tickets", "dispatcher").json() == before


def test_the_table_of_another_region_is_not_there(service: Served) -> None:
    browser = signed_in(service, "dispatcher")
    assert browser.get("/desk/rules?region=360302").status_code == 404
    assert browser.get("/desk/rules?region=火星").status_code == 404
    everywhere = signed_in(service, "admin")
    assert "请选择地区" in everywhere.get("/desk/rules").text
    assert "安源区" in everywhere.get("/desk/rules?region=360302").text


# What every answer has


def test_every_answer_is_a_chinese_page_that_loads_nothing_from_elsewhere(service: Served) -> None:
    browser = signed_in(service, "supervisor")
    answers = [
        browser.get("/desk/overview"),
        browser.get("/desk/nothing-here"),
        browser.get("/desk/tickets/1"),
        service.client.put("/desk/queue", headers=HERE),
        service.client.post("/desk/queue", headers=HERE),
        browser.get("/desk/tickets?state=wrong"),
        browser.get("/desk/tickets?q=%00"),
        browser.get(f"/desk/tickets?after={10**30}"),
        service.client.post("/desk/sign-in", content=b"a=%ff", headers=HERE),
        service.client.post("/desk/sign-in", content=b"x" * 300_000, headers=HERE),
        service.client.post("/desk/sign-in", content="a=办".encode(), headers=HERE),
    ]
    assert [a.status_code for a in answers] == [
        200,
        404,
        404,
        405,
        405,
        400,
        400,
        400,
        400,
        413,
        400,
    ]
    for answer in answers:
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert '<html lang="zh-CN">' in answer.text
        assert 'name="viewport"' in answer.text
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["x-content-type-options"] == "nosniff"
        policy = answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert not re.search(
            r"<script(?! src=\"/desk/static/)|<style|\sstyle=|\son\w+=|https?://", answer.text
        )


def test_an_unforeseen_fault_is_a_page_without_its_trace(
    service: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = signed_in(service, "supervisor")

    async def broken(*_: Any) -> None:
        msg = "秘密路径"
        raise RuntimeError(msg)

    monkeypatch.setattr("service.desk.Desk.loads", broken)
    answer = browser.get("/desk/overview")
    assert answer.status_code == 500
    assert "系统出现错误" in answer.text
    assert "秘密路径" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_programs_interface_keeps_its_own_refusals(service: Served) -> None:
    assert service.client.get("/v1/nothing").headers["content-type"] == "application/problem+json"
    assert service.client.get("/desktop").headers["content-type"] == "application/problem+json"
    assert "/desk" not in service.client.get("/openapi.json").text


def test_the_stylesheet_is_ours_and_kept_by_its_digest(service: Served) -> None:
    page = service.client.get("/desk/sign-in").text
    address = re.search(r'href="(/desk/static/desk\.css\?v=\w+)"', page)
    assert address
    sheet = service.client.get(address[1])
    assert sheet.headers["content-type"].startswith("text/css")
    assert "immutable" in sheet.headers["cache-control"]
    assert "@import" not in sheet.text
    assert "url(" not in sheet.text
    assert service.client.get("/desk/static/../render.py").status_code == 404


def test_the_metrics_know_pages_by_route_and_never_by_address(service: Served) -> None:
    no = receive(service)
    browser = signed_in(service, "handler")
    browser.get(f"/desk/tickets/{no}")
    browser.get("/desk/what-is-this")
    text = service.client.get("/metrics").text
    assert 'route="/desk/tickets/{no}"' in text
    assert no not in text
    assert "what-is-this" not in text


def test_the_first_page_is_light(service: Served) -> None:
    for _ in range(50):
        receive(service)
    browser = signed_in(service, "handler")
    page = browser.get("/desk/queue")
    assert page.text.count("data-item=") == 50
    loaded = re.findall(r'(?:href|src)="(/desk/static/[^"]+)"', page.text)
    assert {re.sub(r"\?.*|.*/", "", each) for each in loaded} == {
        "desk.css",
        "desk.js",
        "htmx-2.0.11.min.js",
        "mark.svg",
    }
    whole = len(page.content) + sum(
        len(service.client.get(html.unescape(each)).content) for each in set(loaded)
    )
    assert whole < 200_000


@pytest.mark.parametrize(
    "query",
    [
        "from=2026-11-01%0d%0aSet-Cookie:%20a=b",
        "rate=on_time%22;%20filename=%22x.exe",
        "by=unit%0d%0aX:%20y",
        "to=2026-11-20%22",
    ],
)
def test_nobody_else_names_an_exported_file(service: Served, query: str) -> None:
    browser = signed_in(service, "supervisor")
    answer = browser.get(f"/desk/figures.xlsx?{query}")
    assert answer.status_code in {400, 422}
    assert "set-cookie" not in answer.headers
    assert "content-disposition" not in answer.headers
    named = browser.get("/desk/figures.xlsx").headers["content-disposition"]
    assert re.fullmatch(
        r"attachment; filename=\"figures-[\d-]+\.xlsx\"; filename\*=UTF-8''[\w%.-]+", named
    )


def test_a_ticket_to_be_printed_has_all_its_history_and_no_forms(service: Served) -> None:
    no = receive(service)
    browser = signed_in(service, "handler")
    act(browser, no, "sign")
    for n in range(105):
        act(browser, no, "note", text=f"第 {n} 次备注")
    assert "第 104 次备注" not in browser.get(f"/desk/tickets/{no}").text
    page = browser.get(f"/desk/tickets/{no}?view=print").text
    assert "第 104 次备注" in page
    assert "主菜单" not in page
    assert '<form method="post"' not in page
    assert "13800000001" not in page
    assert browser.get(f"/desk/tickets/{no}?view=nonsense").status_code == 400
