"""Learning from cases: what `banjie learn` reads, writes and refuses."""

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from routing_rules.learn import _Vocabulary, grams
from routing_rules.rulebook import load
from routing_rules.yamlfile import RuleFileError
from service.cli import app

# Invented: a county that wants its drones at one line and its ferries at another.
DRONES = [
    "无人机黑飞太吵",
    "无人机拍到我家里",
    "无人机掉下来了",
    "无人机在学校上空",
    "无人机没人管",
]
FERRIES = ["渡船停开没通知", "渡船票价乱涨", "渡船超载", "渡船码头没灯", "渡船老板不来"]


def write(path: Path, rows: list[tuple[str, str]]) -> Path:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return path


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    rows = [(text, "public_security") for text in DRONES]
    rows += [(text, "transport") for text in FERRIES]
    return write(tmp_path / "cases.csv", rows)


@given(st.text(st.sampled_from("渡船票价乱涨。,a9 \x00😀对面"), max_size=40))
def test_a_text_has_the_rows_of_its_grams(text: str) -> None:
    known = grams("渡船票价乱涨渡船渡口税务局对面a9")
    rows = _Vocabulary({gram: row for row, gram in enumerate(known)}).rows(text)
    assert [known[row] for row in sorted(rows.tolist())] == [
        gram for gram in grams(text) if gram in known
    ]


def test_a_fitted_model_speaks_in_the_rules_folder_it_lies_in(tmp_path: Path, cases: Path) -> None:
    folder = tmp_path / "rules"
    done = CliRunner().invoke(app, ["learn", "fit", str(cases), "--out", str(folder)])
    assert done.exit_code == 0, done.output
    book = load(folder)
    assert book.digest != load().digest
    heard = book._model.hear("有人放无人机")
    assert book._model.labels[int(heard.scores.argmax())] == "public_security"


def test_the_same_cases_make_the_same_model(tmp_path: Path, cases: Path) -> None:
    for name in ("a", "b"):
        CliRunner().invoke(app, ["learn", "fit", str(cases), "--out", str(tmp_path / name)])
    assert load(tmp_path / "a").digest == load(tmp_path / "b").digest


def test_a_model_is_judged_on_what_it_has_not_seen(cases: Path) -> None:
    done = CliRunner().invoke(app, ["learn", "evaluate", str(cases), "--folds", "5", "--json"])
    figures = json.loads(done.stdout)
    assert figures["n"] == 10
    assert figures["accuracy"] >= 0.8  # 无人机 and 渡船 tell them apart
    assert figures["by_label"]["transport"]["n"] == 5


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([("路灯坏了", "")], "第 2 行缺少 text 或 label"),
        ([("路灯坏了", "urban_management")], "至少要有两种不同的去向"),
        ([("甲", "tax"), ("乙", "health")], "例子太少"),
    ],
)
def test_cases_that_teach_nothing_are_refused(
    tmp_path: Path, rows: list[tuple[str, str]], says: str
) -> None:
    out = tmp_path / "out"
    path = write(tmp_path / "cases.csv", rows)
    done = CliRunner().invoke(app, ["learn", "fit", str(path), "--out", str(out)])
    assert done.exit_code == 1
    assert says in str(done.exception)
    assert not out.exists()


def test_a_model_that_leads_nowhere_stops_the_start(tmp_path: Path) -> None:
    path = write(tmp_path / "cases.csv", [("路灯不亮", "nobody"), ("路灯很亮", "tax")])
    CliRunner().invoke(app, ["learn", "fit", str(path), "--out", str(tmp_path)])
    with pytest.raises(RuleFileError, match="nobody"):
        load(tmp_path)
