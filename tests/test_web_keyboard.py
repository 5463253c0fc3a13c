"""The desk by keyboard alone, in a real browser: nothing here ever uses the mouse."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.config import Settings
from service.main import wire
from service.store import tokens
from service.store.tokens import Use
from tests.browsing import chromium, serving
from tests.served import CALLERS, sqlite
from tests.worlds import complaint

pytestmark = pytest.mark.slow


@dataclass
class Site:
    address: str
    no: str
    links: dict[str, list[str]]
    hotline: str


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    settings = Settings(database_url=sqlite(tmp_path), tick_seconds=0.5)
    no, links, hotline = asyncio.run(_prepare(settings))
    with serving(settings) as address:
        yield Site(address, no, links, hotline)


async def _prepare(settings: Settings) -> tuple[str, dict[str, list[str]], str]:
    parts = wire(settings)
    now = datetime.now(UTC)
    await parts.store.migrate()

    async def token(who: str, use: Use) -> str:
        ends = now + timedelta(hours=1)
        return await parts.store.run(
            lambda c: tokens.create(c, CALLERS[who], now, use=use, expires_at=ends)
        )

    # The router decides on nobody for it.
    vague = complaint(accepted_at=now, title="喂", content="嗯嗯")
    ticket = (await parts.desk.receive(vague, "f", now)).ticket
    links = {
        who: [await token(who, Use.LINK) for _ in range(2)] for who in ("handler", "dispatcher")
    }
    hotline = await token("hotline-12345", Use.API)
    await parts.store.close()
    return ticket.no, links, hotline


@pytest.fixture
def page() -> Iterator[Any]:
    with chromium() as browser:
        yield browser.new_context(viewport={"width": 1366, "height": 768}).new_page()


SAID = """() => { const e = document.activeElement;
  if (e === document.body) return '';
  return e.getAttribute('aria-label') || (e.labels && [...e.labels].map(l => l.textContent).join(' '))
    || e.textContent; }"""


def tab_to(page: Any, name: str, tag: str = "*", most: int = 80) -> None:
    """Press Tab until what has the focus is called so."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("tag => document.activeElement.matches(tag)", tag) and (
            name in re.sub(r"\s+", " ", page.evaluate(SAID))
        ):
            return
    raise AssertionError(f"{name} is not reached by Tab")


def press(page: Any, name: str) -> None:
    """Go to a button and press it."""
    tab_to(page, name, "button")
    page.keyboard.press("Enter")


def enter(page: Any, site: Site, who: str) -> None:
    page.goto(f"{site.address}/desk/enter/{site.links[who].pop()}")
    press(page, "进入")
    page.wait_for_url(re.compile(r"/desk/(queue|sorting)"))


def leave(page: Any) -> None:
    press(page, "退出")
    page.wait_for_url("**/desk/sign-in")


def done(page: Any, said: str) -> None:
    page.get_by_role("status").filter(has_text=said).wait_for()
    page.wait_for_load_state()  # else what is pressed next is nobody's


def test_a_whole_ticket_is_worked_by_keyboard_alone(site: Site, page: Any) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    enter(page, site, "dispatcher")
    page.keyboard.press("j")
    page.keyboard.press("4")  # a unit that was not proposed: look for it
    page.keyboard.type("市场监督管理局")
    page.keyboard.press("Enter")
    page.wait_for_url("**/desk/tickets/*")
    page.keyboard.press("d")
    assert page.evaluate(SAID) == "由兴国县市场监督管理局主办"
    page.keyboard.press("Space")
    tab_to(page, "派单说明")
    page.keyboard.type("按职责办理")
    press(page, "派单")
    done(page, f"派单成功：工单 {site.no}")
    leave(page)

    enter(page, site, "handler")
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.keyboard.press("s")
    page.get_by_text("已签收 1 件").wait_for()
    page.keyboard.press("g")
    page.keyboard.press("q")
    page.wait_for_url("**/desk/queue")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/desk/tickets/{site.no}")
    page.keyboard.press("c")
    page.keyboard.type("已电话联系，约定明日上门")
    press(page, "首次联系")
    done(page, "首次联系成功")
    page.keyboard.press("r")
    page.keyboard.type("已修好路灯，换了井盖。")
    tab_to(page, "已解决")
    page.keyboard.press("Space")
    press(page, "办结")
    done(page, f"办结成功：工单 {site.no}")
    leave(page)

    enter(page, site, "dispatcher")
    page.keyboard.press("/")
    page.wait_for_url("**/desk/tickets#q")
    page.keyboard.type(site.no)
    page.keyboard.press("Enter")
    page.wait_for_url("**/desk/tickets?q=*")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/desk/tickets/{site.no}")
    page.keyboard.press("v")
    page.keyboard.press("Space")
    press(page, "回访")
    done(page, "回访成功")
    page.keyboard.press("f")
    page.keyboard.press("Enter")
    done(page, f"结案成功：工单 {site.no}")
    assert page.get_by_text("已结案").first.is_visible()
    assert said == []  # the policy was never broken


def test_a_candidate_is_taken_with_one_key(site: Site, page: Any) -> None:
    enter(page, site, "dispatcher")
    first = page.locator(".candidates button").first
    unit = re.sub(r"^派给 |1$", "", first.text_content())
    page.keyboard.press("j")
    page.keyboard.press("1")
    done(page, f"派单成功：工单 {site.no}")
    page.goto(f"{site.address}/desk/tickets/{site.no}")
    assert page.get_by_text("待签收").first.is_visible()
    assert page.get_by_text(unit).first.is_visible()


COMPOSING = """() => document.activeElement.dispatchEvent(
  new KeyboardEvent('keydown', {key: 'j', isComposing: true, bubbles: true, cancelable: true}))"""
FOCUSED = "document.activeElement.matches('[data-open]')"


def test_keys_do_nothing_while_somebody_types_or_composes(site: Site, page: Any) -> None:
    enter(page, site, "dispatcher")
    page.evaluate(COMPOSING)
    assert not page.evaluate(FOCUSED)
    page.keyboard.press("j")
    assert page.evaluate(FOCUSED)
    page.keyboard.press("4")
    page.keyboard.type("1gqj/?")
    assert page.evaluate("document.activeElement.value") == "1gqj/?"
    assert page.url.endswith("/desk/sorting")
    assert not page.locator("dialog[open]").count()
    page.keyboard.press("Escape")
    assert page.evaluate(FOCUSED)  # the ticket again: who left its field still stands on it
    page.keyboard.press("?")
    page.get_by_role("dialog").get_by_text("下一张工单").wait_for()
    page.keyboard.press("g")
    page.keyboard.press("t")  # nothing behind a dialog
    assert page.url.endswith("/desk/sorting")
    # Who wants no such keys switches them off, also for the next page.
    tab_to(page, "使用快捷键")
    page.keyboard.press("Space")
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("t")
    page.reload()
    page.keyboard.press("j")
    assert not page.evaluate(FOCUSED)
    assert page.url.endswith("/desk/sorting")


def test_the_first_tab_skips_the_menu(site: Site, page: Any) -> None:
    enter(page, site, "dispatcher")
    page.keyboard.press("Tab")
    assert page.evaluate(SAID) == "跳到正文"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")


def test_a_queue_follows_what_comes_in_and_keeps_what_was_chosen(site: Site, page: Any) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))

    def push(no: str, title: str) -> None:
        body = {
            "workOrderNo": no,
            "acceptTime": f"{datetime.now(UTC) + timedelta(hours=8):%Y-%m-%d %H:%M:%S}",
            "appealTypeName": "投诉",
            "title": title,
            "content": "买了两斤排骨回家一称只有一斤七两，超市短斤少两，请核实",
            "areaCode": "360732",
            "contactPhone": "13800000001",
        }
        headers = {"Authorization": f"Bearer {site.hotline}"}
        answer = httpx.post(
            f"{site.address}/v1/intake/hotline-12345", json=body, headers=headers, timeout=60
        )
        assert answer.status_code == 201, answer.text

    push("L1", "超市短斤少两")
    enter(page, site, "handler")
    page.keyboard.press("j")
    page.keyboard.press("x")
    before = page.evaluate("document.activeElement.textContent")
    push("L2", "又一次短斤少两")
    page.get_by_role("link", name="又一次短斤少两").wait_for(timeout=30_000)
    assert page.get_by_text("列表已更新").count() == 1
    # Where somebody was and what they chose is as it was, once the page has settled.
    page.locator("input[name=ticket]:checked").wait_for()
    assert page.locator("input[name=ticket]:checked").count() == 1
    assert page.evaluate("document.activeElement.textContent") == before
    assert said == []
