"""The desk in a real browser: a ticket from its one-time link to its reply."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from service.config import Settings
from service.domain.complaint import Contact
from service.main import wire
from service.passwords import hashed
from service.store import accounts, tokens
from service.store.tokens import Use
from tests.browsing import SIZES, chromium, serving
from tests.served import CALLERS, sqlite
from tests.worlds import complaint

pytestmark = pytest.mark.slow

PASSWORD = "correct horse battery staple"
EVIL = (
    "<script>window.ran=1</script><img src=x onerror='window.ran=1'>"
    "<svg onload=window.ran=1></svg><a href='javascript:window.ran=1'>x</a>\"'{{7*7}}"
)


@dataclass
class Site:
    """A server on a port of its own, one ticket, and a link for the handler and the dispatcher."""

    address: str
    no: str
    links: dict[str, str]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    settings = Settings(database_url=sqlite(tmp_path), tick_seconds=60)
    no, links = asyncio.run(_prepare(settings))
    with serving(settings) as address:
        yield Site(address, no, links)


async def _prepare(settings: Settings) -> tuple[str, dict[str, str]]:
    parts = wire(settings)
    now = datetime.now(UTC)
    await parts.store.migrate()
    receipt = await parts.desk.receive(complaint(accepted_at=now), "f", now)
    evil = complaint(
        source_no="T2",
        accepted_at=now,
        title=f"短斤少两{EVIL}",
        content=f"超市短斤少两{EVIL}",
        place=EVIL,
        contact=Contact(f"王{EVIL}", "13800000001"),
    )
    await parts.desk.receive(evil, "g", now)
    await parts.store.run(
        lambda c: accounts.add(c, "li.si", CALLERS["handler"], hashed(PASSWORD), now)
    )
    links = {}
    for who in ("handler", "dispatcher"):
        actor, ends = CALLERS[who], now + timedelta(hours=1)
        links[who] = await parts.store.run(
            lambda c, a=actor, e=ends: tokens.create(c, a, now, use=Use.LINK, expires_at=e)  # type: ignore[misc]
        )
    await parts.store.close()
    return receipt.ticket.no, links


@pytest.fixture
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.mark.parametrize("size", SIZES)
def test_a_handler_works_a_ticket_in_a_browser_without_script(
    site: Site, browser: Any, size: str
) -> None:
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height}, java_script_enabled=False
    )
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))

    page.goto(f"{site.address}/desk/enter/{site.links['handler']}")
    page.get_by_role("button", name="进入").click()
    page.wait_for_url("**/desk/queue")
    page.get_by_role("link", name="超市短斤少两").click()
    page.get_by_role("button", name="签收").click()
    assert page.get_by_role("status").inner_text() == f"签收成功：工单 {site.no}"

    page.get_by_label("联系情况").fill("已电话联系\n约定明日上门")
    page.get_by_role("button", name="首次联系").click()
    page.get_by_label("公开答复").fill("经核查短少三两，已补足并道歉。")
    page.get_by_label("已解决", exact=True).check()
    page.get_by_role("button", name="办结").click()
    assert page.get_by_role("status").inner_text() == f"办结成功：工单 {site.no}"
    assert page.get_by_text("已办结待回访").is_visible()
    assert page.get_by_text("经核查短少三两，已补足并道歉。").is_visible()
    page.get_by_role("button", name="退出").click()
    page.wait_for_url("**/desk/sign-in")

    page.goto(f"{site.address}/desk/enter/{site.links['dispatcher']}")
    page.get_by_role("button", name="进入").click()
    page.goto(f"{site.address}/desk/tickets/{site.no}")
    page.get_by_label("联系上了", exact=True).check()
    page.get_by_role("button", name="回访").click()
    page.get_by_role("button", name="结案").click()
    assert page.get_by_text("已结案").first.is_visible()
    # The policy was never broken, and nothing was loaded from elsewhere.
    assert said == []
    context.close()


# The contrast of every text with what lies behind it, after WCAG 2: what is below 4.5, and where.
CONTRAST = """() => {
  const light = c => c.map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const parts = c => c.match(/[\\d.]+/g).map(Number);
  const behind = e => {
    for (; e; e = e.parentElement) {
      const c = parts(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const weak = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !e.checkVisibility() || e.disabled) continue;
    const [a, b] = [light(parts(getComputedStyle(e).color).slice(0, 3)), light(behind(e))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) weak.push(`${e.className || e.tagName}: ${ratio.toFixed(2)}`);
  }
  return [...new Set(weak)];
}"""

UNLABELLED = """() => [...document.querySelectorAll('input:not([type=hidden]), select, textarea')]
  .filter(e => !e.labels.length).map(e => e.name)"""


@pytest.mark.parametrize("size", SIZES)
def test_every_page_fits_the_screen_and_can_be_read(site: Site, browser: Any, size: str) -> None:
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    page.goto(f"{site.address}/desk/enter/{site.links['dispatcher']}")
    page.get_by_role("button", name="进入").click()
    for path in (
        "",
        "/sorting",
        "/tickets",
        f"/tickets/{site.no}?units=局",
        "/overview",
        "/queue",
        "/figures",
        "/figures?rate=on_time&by=month",
        "/rules",
    ):
        page.goto(f"{site.address}/desk{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert page.evaluate(CONTRAST) == [], path
        # Every field says what it is for, and every page has one heading and its landmarks.
        assert page.evaluate(UNLABELLED) == [], path
        assert page.locator("h1").count() == 1, path
        assert page.get_by_role("main").count() == 1, path
        assert page.get_by_role("navigation").count() == 1, path
    context.close()


@pytest.mark.parametrize("size", SIZES)
def test_the_sign_in_page_works_without_script_and_fits_the_screen(
    site: Site, browser: Any, size: str
) -> None:
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height}, java_script_enabled=False
    )
    page = context.new_page()
    page.goto(f"{site.address}/desk/tickets")
    page.wait_for_url("**/desk/sign-in?next=/desk/tickets")
    page.get_by_label("账号", exact=True).fill("li.si")
    page.get_by_label("密码", exact=True).fill("wrong")
    page.get_by_role("button", name="登录", exact=True).click()
    assert "账号或密码不对" in page.get_by_role("alert").inner_text()
    page.get_by_label("账号", exact=True).fill("li.si")
    page.get_by_label("密码", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="登录", exact=True).click()
    page.wait_for_url("**/desk/tickets")
    assert page.get_by_text("承办人").first.is_visible()
    context.close()
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    page.goto(f"{site.address}/desk/sign-in")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate(UNLABELLED) == []
    context.close()


def test_what_was_stored_runs_nowhere_and_no_page_can_be_framed(site: Site, browser: Any) -> None:
    context = browser.new_context()
    page = context.new_page()
    said: list[str] = []
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.goto(f"{site.address}/desk/enter/{site.links['handler']}")
    page.get_by_role("button", name="进入").click()
    page.wait_for_url("**/desk/queue")
    page.get_by_role("link", name="短斤少两<script>").click()
    evil = page.url
    page.get_by_role("button", name="签收").click()
    page.get_by_label("联系情况").fill(EVIL)
    page.get_by_role("button", name="首次联系").click()
    page.get_by_label("公开答复").fill(EVIL)
    page.get_by_label("已解决", exact=True).check()
    page.get_by_role("button", name="办结").click()
    for address in (evil, f"{site.address}/desk/tickets", f"{site.address}/desk/queue"):
        page.goto(address)
        assert page.evaluate("window.ran") is None, address
        assert page.locator("main script, main svg[onload], main img[onerror]").count() == 0
        assert page.locator("a[href^=javascript]").count() == 0
    page.goto(evil)
    assert page.get_by_text("<script>window.ran=1</script>").first.is_visible()
    assert page.get_by_text("{{7*7}}").first.is_visible()
    # A page of somebody else's around it shows nothing of it.
    page.route(
        "http://example.test/",
        lambda route: route.fulfill(
            body=f'<iframe src="{evil}"></iframe>', content_type="text/html"
        ),
    )
    page.goto("http://example.test/")
    page.wait_for_timeout(500)
    assert all("短斤少两" not in frame.content() for frame in page.frames)
    assert said == []
    context.close()
