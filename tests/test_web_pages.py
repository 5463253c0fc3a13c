"""Every page of the desk, as each role, in a real browser: usable by everybody, and fitting."""

import asyncio
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from service.config import Settings
from service.desk import Order
from service.domain.proposal import Proposal, Sort
from service.domain.ticket import Level
from service.main import wire
from service.store import tokens
from service.store.tokens import Use
from tests.browsing import SIZES, axe, chromium, serving
from tests.served import CALLERS, sqlite
from tests.test_access import pages
from tests.worlds import complaint

ROLES = ("handler", "dispatcher", "supervisor", "auditor", "admin", "nobody")
LONG = "关于滨江花园小区二期物业服务收费标准与合同约定不一致且长期不公示收支情况的投诉" * 2
# Addresses that answer with no page.
NO_PAGES = {
    "/desk/static/{name}",
    "/desk/queue/changes",  # a stream
    "/desk/figures.xlsx",
}
# What stands for the parts of an address; a new part needs a row.
PARTS = {
    "{no}": "NO",
    "{month}": f"{datetime.now(UTC):%Y-%m}",
    "{link}": "bj_none",
    "{name}": "hotline-12345",
    "{number}": "1",  # of the proposal that _prepare makes
}
# Pages that look otherwise by their query, or by the ticket.
MORE = (
    "/desk/queue?unit=360732-market_regulation&due=past&place=无",
    "/desk/tickets?q=短斤少两",
    "/desk/tickets?q=的",
    "/desk/figures?rate=on_time&by=month",
    "/desk/figures?rate=on_time&by=day",
    "/desk/deliveries?state=pending",
    "/desk/tickets/NO?units=局",
    "/desk/tickets/NO?view=print",
    "/desk/tickets/DONE",
    "/desk/tickets/BACK",
    "/desk/tickets/none",
    "/desk/none",
)


def paths() -> list[str]:
    """Return the address of every page that the application has."""
    found = []
    for page in pages():
        method, _, path = page.partition(" ")
        if method != "GET" or path in NO_PAGES:
            continue
        for part in re.findall(r"\{\w+\}", path):
            path = path.replace(part, PARTS[part])
        found.append(path)
    return [*found, *MORE]


@dataclass
class Site:
    address: str
    numbers: dict[str, str]
    links: dict[str, list[str]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = Settings(
        database_url=sqlite(tmp_path_factory.mktemp("pages")), tick_seconds=60, desk_streams=0
    )
    numbers, links = asyncio.run(_prepare(settings))
    with serving(settings) as address:
        yield Site(address, numbers, links)


async def _prepare(settings: Settings) -> tuple[dict[str, str], dict[str, list[str]]]:
    parts = wire(settings)
    now = datetime.now(UTC)
    await parts.store.migrate()
    desk, admin = parts.desk, CALLERS["admin"]

    async def receive(no: str, **more: Any) -> Any:
        given = {"source_no": no, "accepted_at": now - timedelta(days=9), **more}
        return (await desk.receive(complaint(**given), no, now - timedelta(days=9))).ticket

    def order(ticket: Any) -> Order:
        return Order(ticket.no, admin, ticket.version, now)

    open_one = await receive("T1", title=LONG, place="潋江镇" * 12, confidential=True)
    await desk.note(order(open_one), text=LONG * 5)
    done = await desk.sign(order(await receive("T2")))
    done = await desk.contact(order(done), text="已联系")
    await desk.resolve(order(done), public_reply=LONG, internal_finding="", solved=True)
    back = await receive("T3")
    for _ in range(2):
        back = await desk.send_back(
            order(back), reason=LONG, basis="三定方案", suggested_unit="360732-housing_construction"
        )
        back = await desk.dispatch(order(back), unit="360732-housing_construction", reason="")
    back = await desk.send_back(order(back), reason="不属于本单位", basis="三定方案")
    await receive("T4", title="喂", content="嗯嗯")
    again = await receive("T5")
    await desk.supervise(order(again), level=Level.RED, text="请立即办理")
    await desk.enforce(now, 1_000)
    await parts.proposals.propose(
        CALLERS["handler"],
        Proposal(Sort.ALIAS, "360732-market_regulation", "", "食药监老局", LONG, "承办人", now),
    )
    while await parts.matching.look(now):
        pass
    ends = now + timedelta(hours=1)
    links = {
        who: [
            await parts.store.run(
                lambda c, a=CALLERS[who]: tokens.create(  # type: ignore[misc]
                    c, a, now, use=Use.LINK, expires_at=ends
                )
            )
            for _ in range(3)
        ]
        for who in ROLES[:-1]
    }
    await parts.store.close()
    return {"NO": open_one.no, "DONE": done.no, "BACK": back.no}, links


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


FOUND = """async () => (await axe.run(document, {resultTypes: ['violations']})).violations
  .filter(v => ['serious', 'critical'].includes(v.impact))
  .map(v => v.id + ': ' + v.nodes.slice(0, 3).map(n => n.target.join(' ')).join(', '))"""


# A stage has its word: who tells no colours apart, or prints in grey, reads it all the same.
WORDLESS = """() => [...document.querySelectorAll('.badge[class*="stage-"]')]
  .filter(e => !/[\u4e00-\u9fff]/.test(e.textContent)).map(e => e.outerHTML)"""


@pytest.mark.slow  # some fifty pages, each looked through twice
@pytest.mark.parametrize("role", ROLES)
def test_every_page_can_be_used_by_everybody_and_fits(
    site: Site, browser: Any, screenshots: Path, role: str
) -> None:
    context = browser.new_context()
    page = context.new_page()
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on(
        "console", lambda m: said.append(m.text) if "Content Security Policy" in m.text else None
    )
    if role in site.links:
        page.goto(f"{site.address}/desk/enter/{site.links[role].pop()}")
        page.get_by_role("button", name="进入").click()
        page.wait_for_url(re.compile(r"/desk/(queue|sorting|overview)"))
    source, wrong = axe(), []
    for path in paths():
        for word, no in site.numbers.items():
            path = path.replace(word, no)  # noqa: PLW2901
        name = re.sub(r"\W+", "-", path.removeprefix("/desk")).strip("-") or "desk"
        page.goto(f"{site.address}{path}")
        page.evaluate(source)
        wrong += [f"{path}: a stage by colour alone {each}" for each in page.evaluate(WORDLESS)]
        for size, (width, height) in SIZES.items():
            page.set_viewport_size({"width": width, "height": height})
            wrong += [f"{path} {size}: {each}" for each in page.evaluate(FOUND)]
            if page.evaluate("document.documentElement.scrollWidth") > width:
                wrong.append(f"{path} {size}: wider than the screen")
            page.screenshot(path=screenshots / f"{role}-{name}-{size}.png", full_page=True)
    assert wrong == []
    assert said == []
    context.close()


def test_a_ticket_is_printed_whole_and_without_menus(
    site: Site, browser: Any, tmp_path: Path
) -> None:
    from pypdf import PdfReader

    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{site.address}/desk/enter/{site.links['supervisor'].pop()}")
    page.get_by_role("button", name="进入").click()
    page.wait_for_url("**/desk/overview")
    page.goto(f"{site.address}/desk/tickets/{site.numbers['BACK']}?view=print")
    file = tmp_path / "ticket.pdf"
    page.pdf(path=file, prefer_css_page_size=True)
    reader = PdfReader(file)
    box = reader.pages[0].mediabox
    assert (round(float(box.width)), round(float(box.height))) == (595, 842)  # A4
    # Fonts draw some characters by the forms that radicals have.
    text = "".join(each.extract_text() for each in reader.pages).replace("\n", "")
    printed = unicodedata.normalize("NFKC", text)
    for word in ("诉求", "时限", "办理记录", "退单", "三定方案", site.numbers["BACK"]):
        assert word in printed, word
    for word in ("单位队列", "退出", "跳到正文", "这是打印版"):
        assert word not in printed, word
    context.close()


def test_a_phone_shows_the_whole_menu_and_a_wide_page_no_huge_drawing(
    site: Site, browser: Any
) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(f"{site.address}/desk/enter/{site.links['supervisor'].pop()}")
    page.get_by_role("button", name="进入").click()
    page.wait_for_url("**/desk/overview")
    ends = page.eval_on_selector_all(
        "nav[aria-label=主菜单] a", "all => all.map(e => e.getBoundingClientRect().right)"
    )
    assert len(ends) > 5
    assert max(ends) <= 390  # none has to be looked for sideways
    page.set_viewport_size({"width": 1366, "height": 768})
    page.goto(f"{site.address}/desk/tickets/{site.numbers['BACK']}?view=print")
    drawn = page.locator("svg.timeline").bounding_box()
    assert drawn["width"] <= 480, drawn
    context.close()
