"""The bulletin as people get it: over HTTP, on the command line, as a workbook, printed by a browser."""

import asyncio
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pypdf
import pytest
from python_calamine import CalamineWorkbook
from typer.testing import CliRunner

from service.api.bulletins import XLSX, Form, accepted
from service.bulletin import Bulletin, Wish
from service.cli import app
from service.config import Settings
from service.domain.bulletin import Month
from service.domain.kpi import RATES, Rate, Row
from service.paper import page, workbook
from service.paper.tables import change, paper
from service.terminal import Refused, settings
from service.wiring import Wiring
from tests.browsing import FLAGS
from tests.conftest import tool
from tests.served import CALLERS, Served, served, sqlite
from tests.test_web_browser import CONTRAST
from tests.worlds import at

_HOTLINE = Path("tests/samples/hotline-12345.json")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A county whose samples came in November, asked in December; a handler signed late."""
    with served(sqlite(tmp_path_factory.mktemp("bulletins"))) as service:
        for channel in ("hotline-12345", "wenzheng-jiangxi", "haochaping"):
            for payload in json.loads(Path(f"tests/samples/{channel}.json").read_text("utf-8")):
                assert service.post(f"/v1/intake/{channel}", payload, channel).status_code == 201
        service.clock.time = at("2026-12-02 09:00")

        async def tick(parts: Wiring) -> None:
            while await parts.desk.enforce(service.clock.time):
                pass
            while await parts.matching.look(service.clock.time):
                pass

        service.run(tick)
        yield service


def _made(
    running: Served, month: str = "2026-11", region: str = "360732", **changes: Any
) -> Bulletin:
    async def make(parts: Wiring) -> Bulletin:
        found = Month.read(month)
        assert found
        return await parts.bulletins.make(Wish(found, region), CALLERS["admin"], running.clock.time)

    made: Bulletin = running.run(make)
    return replace(made, **changes)


# Over HTTP


def test_who_asks_for_many_at_once_waits_for_them_alone(running: Served) -> None:
    order: list[str] = []

    async def work(parts: Wiring) -> None:
        async def ask(who: str) -> None:
            by = replace(CALLERS["supervisor"], id=who)
            wish = Wish(Month(2026, 11))
            await parts.bulletins.written(wish, by, running.clock.time, lambda _: order.append(who))

        await asyncio.gather(*map(ask, ("many", "many", "many", "other")))

    running.run(work)
    assert order == ["many", "other", "many", "many"]


def test_the_figures_are_those_of_the_rates_one_by_one(running: Served) -> None:
    told = running.get("/v1/bulletins/2026-11?region=360732").json()
    for by, name in (("unit", "units"), ("kind", "kinds"), ("channel", "channels")):
        asked = running.get(f"/v1/kpis?from=2026-11-01&to=2026-11-30&region=360732&by={by}").json()
        if by == "channel":  # a bulletin calls them as people do
            for row in told[name]["items"]:
                assert row["name"] != row["key"]
                row["name"] = row["key"]
        assert told[name] == asked
    assert told["provisional"] is None
    assert told["late"]


def test_a_month_that_is_not_over_is_provisional_everywhere(running: Served) -> None:
    told = running.get("/v1/bulletins/2026-12?region=360732").json()
    assert told["provisional"].endswith("为暂定数")
    html = running.get("/v1/bulletins/2026-12?region=360732&format=html").text
    assert '<body class="provisional">' in html
    assert "暂定</span></h1>" in html
    assert "比上月" not in html  # some days against a whole month
    book = workbook(_made(running, "2026-12"))
    for name in CalamineWorkbook.from_filelike(io.BytesIO(book)).sheet_names:
        cells = _cells(book, name)
        said = [str(cell) for row in cells for cell in row]
        assert any(each.startswith("【暂定】") for each in said), name
        assert not any("【暂定】暂定" in each for each in said), name
    assert _properties(book).count("暂定") >= 2


def test_part_of_a_month_is_not_held_against_a_whole_one(running: Served) -> None:
    made = _made(running)
    came = next(each for each in made.figures if each.group == "total")
    fewer = replace(came, now=10, before=12)
    figures = [fewer if each is came else each for each in made.figures]
    whole = paper(replace(made, figures=figures, provisional=""))
    part = paper(replace(made, figures=figures, provisional="暂定"))
    assert "共受理 10 件，比上月少 2 件" in "".join(whole.lead)
    assert "共受理 10 件" in "".join(part.lead)
    assert "比上月" not in "".join(part.lead)


def test_each_form_comes_as_it_is_asked_for(running: Served) -> None:
    address = "/v1/bulletins/2026-11?region=360732"

    def asked(accept: str, more: str = "") -> Any:
        return running.client.get(address + more, headers=running.headers("admin", Accept=accept))

    assert asked("*/*").json()["month"] == "2026-11"
    html = asked("text/html,application/xhtml+xml;q=0.9")
    assert html.headers["content-type"] == "text/html; charset=utf-8"
    assert html.headers["vary"] == "Accept"
    assert "style-src 'sha256-" in html.headers["content-security-policy"]
    book = asked(XLSX)
    assert book.headers["content-type"] == XLSX
    assert 'filename="bulletin-360732-2026-11.xlsx"' in book.headers["content-disposition"]
    assert "filename*=UTF-8''%E5%85%B4" in book.headers["content-disposition"]
    assert asked("text/html", "&format=json").json()["region"] == "360732"
    assert asked("*/*", "&format=pdf").status_code == 422


@pytest.mark.parametrize(
    ("header", "form"),
    [
        ("", Form.JSON),
        ("text/html", Form.HTML),
        ("application/json, text/html;q=0.5", Form.JSON),
        ("application/json;q=0.1, text/html;q=0.5", Form.HTML),
        ("text/html;q=nonsense", Form.JSON),
        (f"{XLSX};q=1, */*;q=0.1", Form.XLSX),
        ("image/png", Form.JSON),
    ],
)
def test_the_accept_header_is_weighed(header: str, form: Form) -> None:
    assert accepted(header) is form


def test_who_may_have_it(running: Served) -> None:
    for who in ("admin", "dispatcher", "supervisor", "auditor"):
        answer = running.get("/v1/bulletins/2026-11?region=360732", who)
        assert answer.status_code == 200, answer.text
    assert running.get("/v1/bulletins/2026-11", "supervisor").json()["region"] == "360732"
    for who in ("handler", "hotline-12345", "stranger"):
        assert running.get("/v1/bulletins/2026-11?region=360732", who).status_code == 403
    assert running.client.get("/v1/bulletins/2026-11").status_code == 401


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("2027-01", "/month"),
        ("2026-13", "/month"),
        ("november", "/month"),
        ("2020-01", "/month"),
        ("2026-11?region=999999", "/region"),
        ("2026-11?as_of=2026-13-01", "/as_of"),
        ("2026-11?as_of=2026-10-01", "/as_of"),
    ],
)
def test_what_cannot_be_told_is_refused_with_its_reason(
    running: Served, path: str, pointer: str
) -> None:
    answer = running.get(f"/v1/bulletins/{path}")
    assert answer.status_code == 422, answer.text
    assert answer.json()["type"] == "urn:banjie:problem:period"
    assert pointer in {each["pointer"] for each in answer.json()["errors"]}


def test_no_personal_data_is_in_any_form(running: Served) -> None:
    for path in Path("tests/samples").glob("*.json"):
        phones = {
            value
            for payload in json.loads(path.read_text("utf-8"))
            for name, value in payload.items()
            if "hone" in name and value
        }
        html = running.get("/v1/bulletins/2026-11?region=360732&format=html").text
        told = running.get("/v1/bulletins/2026-11?region=360732").text
        for phone in phones:
            assert phone not in html
            assert phone not in told


def test_the_desk_shows_it_to_those_who_may(running: Served) -> None:
    def desk(who: str, path: str) -> Any:
        running.client.cookies.clear()
        headers = {"Origin": "http://testserver", "Sec-Fetch-Site": "same-origin"}
        page = running.client.get("/desk/sign-in").text
        form = re.search(r'name="form_token" value="(\w+)"', page)
        assert form
        filled = {"form_token": form[1], "token": running.tokens[who]}
        running.client.post("/desk/sign-in", data=filled, headers=headers)
        found = running.client.get(path, headers=headers)
        running.client.cookies.clear()
        return found

    assert 'href="/desk/bulletins/2026-11"' in desk("supervisor", "/desk/overview").text
    shown = desk("supervisor", "/desk/bulletins/2026-11")
    assert shown.status_code == 200
    assert "兴国县2026年11月群众诉求办理情况通报" in shown.text
    assert "style-src 'sha256-" in shown.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in shown.headers["content-security-policy"]
    assert desk("handler", "/desk/bulletins/2026-11").status_code == 403
    refused = desk("supervisor", "/desk/bulletins/2031-01")
    assert (refused.status_code, "尚未开始" in refused.text) == (422, True)


# The workbook


def _cells(book: bytes, sheet: str) -> list[list[Any]]:
    return CalamineWorkbook.from_filelike(io.BytesIO(book)).get_sheet_by_name(sheet).to_python()


def _part(book: bytes, name: str) -> str:
    import zipfile

    with zipfile.ZipFile(io.BytesIO(book)) as packed:
        return packed.read(name).decode()


def _properties(book: bytes) -> str:
    return _part(book, "docProps/core.xml")


_SHEETS = [
    "概况",
    "单位排名",
    "渠道和类型",
    "超期和亮牌",
    "表扬和批评",
    "热点",
    "图表",
    "指标明细",
    "口径说明",
]


def test_a_workbook_reads_back_as_it_was_meant(running: Served) -> None:
    made = _made(running)
    book = workbook(made)
    assert CalamineWorkbook.from_filelike(io.BytesIO(book)).sheet_names == _SHEETS
    rows = _cells(book, "指标明细")
    head = next(n for n, row in enumerate(rows) if "代码" in row)
    names = rows[head]
    assert names[:5] == ["分组", "代码", "名称", "曾用名", "指标"]
    told = {
        (row[0], row[1], row[4]): row
        for row in rows[head + 1 :]
        if row[0] in {"单位", "渠道", "类型"}
    }
    by_name = {each.name: each.id for each in RATES.values()}
    counted = 0
    for group, report in (("单位", made.units), ("渠道", made.channels), ("类型", made.kinds)):
        for item in report.items:
            for rate in item.rates.values():
                row = told[group, item.key, RATES[rate.id].name]
                assert by_name[row[4]] == rate.id
                assert row[6:8] == [rate.numerator, rate.denominator]
                assert row[5] == ("—" if rate.value is None else pytest.approx(rate.value))
                low, high = rate.interval or (None, None)
                assert row[8] == ("—" if low is None else pytest.approx(low))
                assert row[9] == ("—" if high is None else pytest.approx(high))
                counted += 1
    assert counted == len(told) > 100


def test_numbers_are_numbers_and_shares_are_shown_as_percents(running: Served) -> None:
    book = workbook(_made(running))
    ranking = _cells(book, "单位排名")
    head = next(n for n, row in enumerate(ranking) if row[0] == "单位")
    row = ranking[head + 1]
    assert isinstance(row[0], str)
    assert isinstance(row[5], float)
    styles, sheet = _part(book, "xl/styles.xml"), _part(book, "xl/worksheets/sheet2.xml")
    assert 'formatCode="0.00%"' in styles
    assert "<f>" not in sheet


def test_every_sheet_prints_on_landscape_a4_with_its_head_on_each_page(running: Served) -> None:
    book = workbook(_made(running))
    for n in range(1, len(_SHEETS) + 1):
        sheet = _part(book, f"xl/worksheets/sheet{n}.xml")
        assert 'paperSize="9"' in sheet
        assert 'orientation="landscape"' in sheet
        assert 'fitToHeight="0"' in sheet
        assert "<cols>" in sheet
    assert "<pane " in _part(book, "xl/worksheets/sheet2.xml")
    assert "<autoFilter " in _part(book, "xl/worksheets/sheet8.xml")
    assert "_xlnm.Print_Titles" in _part(book, "xl/workbook.xml")
    assert _part(book, "xl/charts/chart1.xml").count("<c:barChart>") == 1
    assert "<c:lineChart>" in _part(book, "xl/charts/chart3.xml")


_BAD_NAMES = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "a\x00b\x1fc\ufffe",
    "名" * 3_000,
    "",
    "<b>&\"'",
]


def _units(made: Bulletin, names: list[str]) -> Bulletin:
    rates = {each: Rate(each, 3, 4) for each in RATES}
    rows = [Row(f"u{n}", name, (f"旧{name}",), rates, score=0.5) for n, name in enumerate(names)]
    return replace(made, units=replace(made.units, items=rows))


def test_what_a_cell_begins_with_makes_no_formula_of_it(running: Served) -> None:
    book = workbook(_units(_made(running), _BAD_NAMES))
    for n in range(1, len(_SHEETS) + 1):
        assert "<f>" not in _part(book, f"xl/worksheets/sheet{n}.xml")
        assert "<hyperlink" not in _part(book, f"xl/worksheets/sheet{n}.xml")
    names = [row[0] for row in _cells(book, "单位排名")]
    assert "=1+1（原旧=1+1）" in names
    assert any(str(name).startswith("a b c ") for name in names)
    assert max(len(str(name)) for name in names) <= 1_000
    html = page(_units(_made(running), _BAD_NAMES))
    assert "<b>&\"'" not in html
    assert "&lt;b&gt;&amp;&#34;&#39;" in html


@pytest.mark.parametrize("count", [0, 1, 300])
def test_no_unit_and_three_hundred_make_a_bulletin_all_the_same(
    running: Served, count: int
) -> None:
    made = _units(_made(running), [f"兴国县第{n}局" for n in range(count)])
    book = workbook(made)
    rows = [row for row in _cells(book, "单位排名") if str(row[0]).startswith("兴国县第")]
    assert len(rows) == count
    assert page(made).count("<tr>") > count


def test_a_region_without_tickets_says_so_and_shows_no_rates(running: Served) -> None:
    made = _made(running, region="360302")
    assert "截至2026年11月，萍乡市安源区没有工单，本月无可通报。" in page(made)
    book = workbook(made)
    assert CalamineWorkbook.from_filelike(io.BytesIO(book)).sheet_names == ["口径说明"]
    text = json.dumps(_cells(book, "口径说明"), ensure_ascii=False, default=str)
    assert "0.00%" not in text
    assert "没有工单" in text


def test_the_definitions_are_those_that_are_counted_by(running: Served) -> None:
    made = _made(running)
    said = next(each for each in paper(made).sections if each.title == "口径说明")
    definitions = {row[0]: row for row in said.tables[1].rows}
    for each in RATES.values():
        assert definitions[each.name][1:3] == (each.numerator, each.denominator)
    facts = {str(name): str(text) for name, text in said.tables[0].rows}
    assert facts["规则版本"].startswith(made.rulebook)
    assert facts["程序版本"] == made.version


def test_the_same_bulletin_is_the_same_file(running: Served) -> None:
    made = _made(running)
    assert page(made) == page(made)
    assert workbook(made) == workbook(made)


@pytest.mark.parametrize(
    ("now", "before", "said"),
    [(1, 3, "▲2"), (3, 1, "▼2"), (2, 2, "平"), (None, 1, "—"), (1, None, "—")],
)
def test_a_change_of_rank_is_told_by_an_arrow(
    now: int | None, before: int | None, said: str
) -> None:
    assert change(now, before) == said


# In a browser


@pytest.fixture
def browser() -> Iterator[Any]:
    path = tool("chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


def test_the_page_is_read_and_printed_by_a_browser_without_anything_else(
    running: Served, browser: Any, tmp_path: Path
) -> None:
    file = tmp_path / "通报.html"
    file.write_text(page(_made(running, "2026-12")), "utf-8")
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    shown = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    shown.on("console", lambda message: said.append(message.text))
    shown.on("request", lambda request: asked.append(request.url))
    shown.goto(file.as_uri())
    assert shown.locator("h1").count() == 1
    assert shown.locator("script").count() == 0
    charts = shown.get_by_role("img")
    assert charts.count() >= 2
    for n in range(charts.count()):
        assert shown.locator("svg title").nth(n).text_content()
        assert shown.locator("svg desc").nth(n).text_content()
    # The style took effect, so the policy lets it; every text can be read on what lies behind it.
    assert (
        shown.evaluate("getComputedStyle(document.querySelector('thead th')).textAlign") == "center"
    )
    assert shown.evaluate(CONTRAST) == []
    assert shown.evaluate("document.documentElement.scrollWidth") <= 1280
    printed = pypdf.PdfReader(io.BytesIO(shown.pdf(prefer_css_page_size=True)))
    width, height = printed.pages[0].mediabox.width, printed.pages[0].mediabox.height
    assert (round(width), round(height)) == (842, 595)  # A4, landscape
    for sheet in printed.pages:
        assert "暂定" in sheet.extract_text()
    assert said == []
    assert asked == [file.as_uri()]
    context.close()


# On the command line


@pytest.fixture(scope="module")
def database(running: Served) -> str:
    return str(running.parts.store._writer.url)  # type: ignore[attr-defined]


@pytest.fixture
def told(database: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("BANJIE_DATABASE_URL", database)

    def run(*words: str) -> Any:
        return CliRunner().invoke(app, ["bulletin", *words])

    return run


_NOVEMBER = ("--month", "2026-11", "--region", "360732")


def test_the_command_writes_a_whole_file_and_leaves_nothing_else(told: Any, tmp_path: Path) -> None:
    for name in ("通报.xlsx", "通报.HTML"):
        out = tmp_path / name
        out.write_bytes("之前的文件".encode())
        found = told(*_NOVEMBER, "--out", str(out))
        assert found.exit_code == 0, found.output
        assert out.read_bytes()[:2] == (b"PK" if name.endswith("xlsx") else b"<!")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["通报.HTML", "通报.xlsx"]


def test_the_command_knows_a_region_by_its_name_too(told: Any) -> None:
    by_code = told(*_NOVEMBER, "--json")
    by_name = told("--month", "2026-11", "--region", "兴国县", "--json")
    assert json.loads(by_name.stdout)["region"] == "360732"
    assert json.loads(by_code.stdout)["units"] == json.loads(by_name.stdout)["units"]
    nowhere = told("--month", "2026-11", "--region", "火星", "--json").exception
    assert isinstance(nowhere, Refused)
    assert "--region" in str(nowhere)


def test_the_command_tells_the_same_as_the_interface(told: Any, running: Served) -> None:
    # As of a day that is over it does not matter when it is asked.
    found = told(*_NOVEMBER, "--as-of", "2026-11-21", "--json")
    assert found.exit_code == 0, found.output
    asked = running.get("/v1/bulletins/2026-11?region=360732&as_of=2026-11-21").json()
    mine = json.loads(found.stdout)
    assert mine["figures"] == asked["figures"]
    assert (
        mine["units"]["total"]["rates"]["completion"]
        == (asked["units"]["total"]["rates"]["completion"])
    )


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (("--month", "2026-11"), "--out", 2),
        ((*_NOVEMBER, "--out", "x.csv"), "结尾", 2),
        ((*_NOVEMBER, "--out", "folder.xlsx"), "是一个文件夹", 2),
        ((*_NOVEMBER, "--out", "nowhere/x.xlsx"), "没有文件夹", 2),
        ((*_NOVEMBER, "--out", "/dev/null/x.xlsx"), "没有文件夹", 2),
        (("--out", "x.xlsx"), "--month：应为年月", 2),
        (("--month", "2026-13", "--out", "x.xlsx"), "--month：应为年月", 2),
        (("--month", "2999-01", "--out", "x.xlsx"), "尚未开始", 2),
        (("--month", "2026-11", "--region", "9", "--out", "x.xlsx"), "--region：没有这个地区", 2),
        ((*_NOVEMBER, "--as-of", "yesterday", "--out", "x.xlsx"), "--as-of：应为日期", 2),
    ],
)
def test_a_command_used_wrongly_says_how_and_writes_nothing(
    told: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    said: str,
    code: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.xlsx").mkdir()
    found = told(*words)
    assert isinstance(found.exception, Refused), found.output
    assert said in str(found.exception)
    assert found.exception.code == code
    assert [each.name for each in tmp_path.iterdir()] == ["folder.xlsx"]


def test_settings_that_contradict_each_other_are_refused_in_chinese(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BANJIE_BULLETIN_CRITICISE_ON_TIME", "0.99")
    with pytest.raises(Refused, match=r"BANJIE_BULLETIN_CRITICISE_ON_TIME：.*批评线不能高于表扬线"):
        settings()
    monkeypatch.setenv("BANJIE_BULLETIN_CRITICISE_ON_TIME", "1.2")
    with pytest.raises(Refused):
        settings()
    assert Settings(bulletin_criticise_on_time=0).bulletin_criticise_on_time == 0


def test_the_program_ends_with_the_code_that_its_manual_says(tmp_path: Path, database: str) -> None:
    environ = {**os.environ, "BANJIE_DATABASE_URL": database}
    command = [sys.executable, "-c", "from service.cli import main; main()", "bulletin"]
    wrong = subprocess.run(
        [*command, "--month", "2026-13", "--out", str(tmp_path / "x.xlsx")],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.strip() == "--month：应为年月，例如 2026-10"
