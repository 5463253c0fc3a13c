"""A desk that follows what happens: streams of a queue, signing several, filters in the address."""

import asyncio
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from service.domain.access import Role
from service.domain.complaint import Kind
from service.feed import StreamsFull
from service.store import sessions
from service.web import live
from service.web.queue import mark_of
from service.web.sessions import UNATTENDED, Visit
from tests.served import CALLERS, Served, served, sqlite
from tests.test_web import HERE, MARKET, act, form_of, receive, signed_in
from tests.worlds import at


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Served]:
    with served(sqlite(tmp_path), tick_seconds=0.2) as running:
        running.client.follow_redirects = False
        yield running


def mark(page: str) -> str:
    found = re.search(r'data-mark="(\w+)"', page)
    assert found
    return found[1]


def stream(service: Served, seen: str, after: Any = None, most: int = 1) -> list[str]:
    """Return what a stream of the handler's queue says, up to `most` messages that are not beats;
    `after` happens when it has begun."""
    token = service.client.cookies["banjie_session"]

    async def follow(parts: Any) -> list[str]:
        session = await parts.doors.session(token)
        assert session is not None

        async def look() -> str:
            return mark_of((await parts.desk.queue(MARKET, session.by, 50)).items)

        visit = Visit(None, parts, session, token)  # type: ignore[arg-type]
        said: list[str] = []
        with parts.feed.watch(session.by):
            told = live._told(visit, seen or await look(), await look(), look)
            assert (await anext(told)).startswith("retry:")
            if after:
                await after(parts)
            async with asyncio.timeout(30):
                async for message in told:
                    if not message.startswith(":"):
                        said.append(message)
                    if len(said) == most:
                        break
        return said

    return list(service.run(follow))


def test_a_stream_says_that_the_queue_has_changed_and_nothing_of_what(service: Served) -> None:
    browser = signed_in(service, "handler")
    before = mark(browser.get("/desk/queue").text)
    no = receive(service)
    after = mark(browser.get("/desk/queue").text)
    assert after != before
    [said] = stream(service, before)
    assert said == f"id: {after}\nevent: changed\ndata: \n\n"
    act(browser, no, "sign")
    assert mark(browser.get("/desk/queue").text) not in {before, after}


def test_a_stream_notices_what_happens_while_it_is_open(service: Served) -> None:
    browser = signed_in(service, "handler")
    before = mark(browser.get("/desk/queue").text)

    async def later(parts: Any) -> None:
        from tests.worlds import complaint

        receipt = await parts.desk.receive(
            complaint(source_no="L1", accepted_at=parts.now()), "l", parts.now()
        )
        assert receipt.ticket.lead.unit == MARKET

    [said] = stream(service, before, later)
    assert "event: changed" in said


def test_a_stream_ends_with_its_session_and_does_not_keep_it_alive(service: Served) -> None:
    browser = signed_in(service, "handler")
    before = mark(browser.get("/desk/queue").text)

    async def idle(parts: Any) -> None:
        service.clock.time += parts.doors.ends.idle + timedelta(minutes=1)

    assert stream(service, before, idle) == ["event: over\ndata: \n\n"]
    assert browser.get("/desk/queue").status_code == 303


def test_what_a_page_fetches_by_itself_lets_an_idle_session_end(service: Served) -> None:
    browser = signed_in(service, "handler")
    for _ in range(4):
        service.clock.time += timedelta(minutes=20)
        answer = service.client.get("/desk/queue", headers={UNATTENDED: "1", "HX-Request": "true"})
        if answer.status_code != 200:
            break
    # A part of a page cannot be led to the sign-in page; the whole page is.
    assert answer.status_code == 401
    assert answer.headers["hx-refresh"] == "true"
    assert browser.get("/desk/queue").status_code == 303


def test_the_stream_of_an_ended_session_is_not_begun(service: Served) -> None:
    signed_in(service, "handler")

    async def end(parts: Any) -> None:
        token = service.client.cookies["banjie_session"]
        await parts.store.run(lambda c: sessions.end(c, token))

    service.run(end)
    answer = service.client.get("/desk/queue/changes")
    assert answer.status_code == 303


def test_a_session_has_a_few_streams_and_takes_none_from_programs(service: Served) -> None:
    async def hold(parts: Any) -> None:
        by = CALLERS["handler"]
        from contextlib import ExitStack
        from dataclasses import replace

        with ExitStack() as held:
            mine = replace(by, id="s1")
            for _ in range(4):
                held.enter_context(parts.feed.watch(mine))
            with pytest.raises(StreamsFull):
                held.enter_context(parts.feed.watch(mine))
            held.enter_context(parts.feed.watch(replace(by, id="s2")))
            held.enter_context(parts.feed.stream(mine))

    service.run(hold)


def boxes(page: str) -> list[str]:
    return re.findall(r'name="ticket" form="sign" value="([^"]+)"', page)


def test_several_are_signed_at_once_and_each_answers_for_itself(service: Served) -> None:
    numbers = [receive(service) for _ in range(3)]
    browser = signed_in(service, "handler")
    page = browser.get("/desk/queue").text
    chosen = boxes(page)
    assert sorted(each.partition(".")[0] for each in chosen) == sorted(numbers)
    hidden = form_of(page, "/desk/queue/sign")
    act(browser, numbers[0], "sign")  # somebody was faster
    gone = "360732-20261118-99999.1"
    fields = hidden | {"ticket": [*chosen, gone]}
    answer = service.client.post("/desk/queue/sign", data=fields, headers=HERE)
    assert answer.status_code == 200
    assert "已签收 2 件" in answer.text
    assert "2 件没有签收" in answer.text
    assert f"{numbers[0]}</a> <b>工单已被他人更新</b> 打开队列之后" in answer.text
    assert "您填写的内容仍在" not in answer.text  # nothing was, and the ticket is not below
    assert "没有这张工单" in answer.text
    # Sent again it signs nothing twice and says the same of those that were signed.
    again = service.client.post("/desk/queue/sign", data=fields, headers=HERE)
    assert "已签收 2 件" in again.text
    for no in numbers:
        events = service.get(f"/v1/tickets/{no}/events").json()["items"]
        assert [e["act"] for e in events].count("sign") == 1
    assert boxes(browser.get("/desk/queue").text) == []


def test_signing_nothing_or_nonsense_signs_nothing(service: Served) -> None:
    no = receive(service)
    browser = signed_in(service, "handler")
    hidden = form_of(browser.get("/desk/queue").text, "/desk/queue/sign")

    def sign(**fields: Any) -> Any:
        return service.client.post("/desk/queue/sign", data=hidden | fields, headers=HERE)

    assert "没有选中工单" in sign().text
    for nonsense in ("x", f"{no}.", f"{no}.１", f"{no}.9999999999"):
        assert sign(ticket=nonsense).status_code == 400, nonsense
    assert sign(ticket=[f"{no}.{n}" for n in range(51)]).status_code == 400
    assert "没有签收" in sign(ticket="<script>.1").text
    forged = hidden | {"form_token": "0" * 64, "ticket": f"{no}.1"}
    assert service.client.post("/desk/queue/sign", data=forged, headers=HERE).status_code == 403
    assert boxes(browser.get("/desk/queue").text) == [f"{no}.1"]


def test_only_who_may_sign_is_offered_to(service: Served) -> None:
    receive(service)
    for who in ("dispatcher", "supervisor", "auditor"):
        assert CALLERS[who].role is not Role.HANDLER
        page = signed_in(service, who).get(f"/desk/queue?unit={MARKET}").text
        assert boxes(page) == []
        assert "/desk/queue/sign" not in page


def test_a_queue_is_filtered_by_kind_place_confidentiality_and_due_time(service: Served) -> None:
    service.clock.time = at("2026-11-18 09:30")
    here = receive(service, place="潋江镇平川大道", kind=Kind.COMPLAINT)
    there = receive(service, place="高兴镇圩上 100%", kind=Kind.HELP, confidential=True)
    browser = signed_in(service, "handler")

    def found(query: str) -> set[str]:
        page = browser.get(f"/desk/queue?{query}").text
        return {no for no in (here, there) if no in page}

    assert found("") == {here, there}
    assert found("kind=help") == {there}
    assert found("place=平川") == {here}
    assert found("place=高兴 圩上") == {there}
    assert found("place=%25") == {there}
    assert found("place=_") == set()
    assert found("confidential=yes") == {there}
    assert found("confidential=no") == {here}
    assert found("due=past") == set()
    assert found("due=today") == found("due=week") == {here, there}
    service.clock.time = at("2026-11-23 09:30")
    signed_in(service, "handler")  # the session of last week is over
    assert found("due=past") == {here, there}
    assert browser.get("/desk/queue?due=nonsense").status_code == 400
    page = browser.get("/desk/queue?kind=help&place=高兴&due=past").text
    # The part that is fetched anew asks for the same.
    assert "kind=help&amp;place=%E9%AB%98%E5%85%B4&amp;due=past" in page
