"""What a new edition of a document changes, and which open tickets it would touch."""

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from routing_rules.clocks import load_timetable
from routing_rules.rulebook import load
from service.cli import app
from service.desk import Desk
from service.store import open_store
from service.terminal import Refused
from tests.worlds import at, complaint

CLAUSES = Path(__file__).parents[1] / "routing_rules/data/clauses/000_4b523419be7182c1.yaml"
NOW = at("2026-11-18 09:30")


def test_a_changed_item_names_the_open_tickets_that_rest_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/banjie.db"
    monkeypatch.setenv("BANJIE_DATABASE_URL", url)

    async def fill() -> list[str]:
        store = open_store(url)
        await store.migrate()
        desk = Desk(store, load(), load_timetable())
        texts = {
            "licence": "开个公司跑了三趟执照还没下来，公章也没刻，不是一天办好吗",
            "lamp": "巷子里的路灯坏了半个月没人修",
        }
        numbers = []
        for name, content in texts.items():
            asked = complaint(source_no=name, region="360732", title="", content=content, place="")
            numbers.append((await desk.receive(asked, name, NOW)).ticket.no)
        await store.close()
        return numbers

    licence, lamp = asyncio.run(fill())
    rows = CLAUSES.read_text("utf-8")
    start, end = rows.index('  - item: "4"'), rows.index('  - item: "5"')
    new = tmp_path / "new.yaml"
    new.write_text(rows[:start] + rows[end:], "utf-8")

    done = CliRunner().invoke(app, ["rules", "diff", str(CLAUSES), str(new), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [change["item"] for change in told["changes"]] == ["4"]
    assert licence in told["open_tickets"]
    assert lamp not in told["open_tickets"]


def test_a_question_changes_no_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BANJIE_DATABASE_URL", f"sqlite:///{tmp_path}/old.db")
    done = CliRunner().invoke(app, ["rules", "diff", str(CLAUSES), str(CLAUSES), "--json"])
    assert "banjie migrate" in str(done.exception)
    assert not (tmp_path / "old.db").exists()
    (tmp_path / "old.db").touch()
    done = CliRunner().invoke(app, ["rules", "diff", str(CLAUSES), str(CLAUSES), "--json"])
    assert "banjie migrate" in str(done.exception)


def test_a_document_is_derived_for_a_region_that_there_is(tmp_path: Path) -> None:
    document = tmp_path / "a.txt"
    document.write_text("一、重点任务\n1．更换井盖。（牵头单位：县城管局）\n", encoding="utf-8")
    asked = CliRunner().invoke(app, ["rules", "derive", str(document), "--region", "369999"])
    assert isinstance(asked.exception, Refused)
    assert "369999" in str(asked.exception)
