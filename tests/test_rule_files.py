"""A rule file loads as written or stops with file, line and reason."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing_rules.yamlfile import Row, RuleFileError, overlaid, read


def written(folder: Path, text: str, name: str = "rows.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_know_their_lines_and_every_scalar_stays_text(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "# a comment\n- code: 360732\n  open: no\n  since: 2018-10-25\n"
        "- {code: 010, names: [a, b], part: {x: 1}}\n",
    )
    first, second = read(path)
    assert (first.line, second.line) == (2, 5)
    assert dict(first) == {"code": "360732", "open": "no", "since": "2018-10-25"}
    assert second.text("code") == "010"
    assert second.texts("names") == ("a", "b")
    assert second.rows("part")[0].integer("x") == 1


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    assert read(written(tmp_path, "# nothing yet\n")) == []


BROKEN = [
    ("- {code: a}\n- {code: b, code: c}\n", 2, "重复"),
    ("- code: a\n  name: x\n  name: y\n", 3, "第 2 行已有"),
    ("code: a\n", 1, "最外层应为列表"),
    ("- {code: a}\n- just text\n", 2, "应为映射"),
    ("- {code: a}\n- {code: [b}\n", 2, "不是正确的 YAML"),
    ("- {code: a}\n\t- {code: b}\n", 2, "不是正确的 YAML"),
    ("- &x {code: a}\n- *x\n", 1, "别名"),
    ("- {[a]: b}\n", 1, "键应为文字"),
    ("- {code: a}\n--- \n- {code: b}\n", 2, "不是正确的 YAML"),
]


@pytest.mark.parametrize(("text", "line", "reason"), BROKEN)
def test_a_broken_file_stops_with_line_and_reason(
    tmp_path: Path, text: str, line: int, reason: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(RuleFileError) as caught:
        read(path)
    assert caught.value.file == path
    assert caught.value.line == line
    assert reason in caught.value.reason
    assert str(caught.value).startswith(f"{path}:{line}: ")


def test_bytes_that_are_not_utf8_name_their_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.yaml"
    path.write_bytes("- {code: a}\n- {name: 兴国}\n".encode("gb18030"))
    with pytest.raises(RuleFileError, match=r":2: 不是 UTF-8"):
        read(path)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(RuleFileError, match="无法读取"):
        read(tmp_path / "rows.yaml")


WRONG_FIELDS = [
    (lambda row: row.text("absent"), "缺少 absent", 1),
    (lambda row: row.text("empty"), "不能为空", 3),
    (lambda row: row.text("list"), "应为一段文字", 4),
    (lambda row: row.texts("nested"), "应为文字列表", 5),
    (lambda row: row.integer("code"), "应为整数", 2),
    (lambda row: row.number("code"), "应为数字", 2),
    (lambda row: row.flag("code"), "true、false", 2),
    (lambda row: row.day("code"), "应为日期", 2),
    (lambda row: row.choice("code", ("a", "b")), "a、b 之一", 2),
    (lambda row: row.only("code", "empty", "list"), "不认识的键 nested", 5),
    (lambda row: row.rows("list"), "应为映射列表", 4),
]


@pytest.mark.parametrize(("ask", "reason", "line"), WRONG_FIELDS)
def test_a_wrong_field_points_at_its_own_line(
    tmp_path: Path, ask: object, reason: str, line: int
) -> None:
    path = written(tmp_path, "-\n  code: x\n  empty: ''\n  list: [a]\n  nested: [{a: b}]\n")
    (row,) = read(path)
    assert callable(ask)
    with pytest.raises(RuleFileError) as caught:
        ask(row)
    assert reason in caught.value.reason
    assert caught.value.line == (line if line > 1 else row.line)


def test_an_overlay_adds_and_replaces_by_code(tmp_path: Path) -> None:
    base, over = tmp_path / "base", tmp_path / "over"
    base.mkdir()
    over.mkdir()
    written(base, "- {code: a, name: old}\n- {code: b, name: kept}\n")
    written(over, "- {code: a, name: new}\n- {code: c, name: added}\n")
    rows = overlaid([base, over], "rows.yaml")
    assert {code: row.text("name") for code, row in rows.items()} == {
        "a": "new",
        "b": "kept",
        "c": "added",
    }
    assert overlaid([base, tmp_path], "rows.yaml").keys() == {"a", "b"}


def test_one_file_may_not_hold_a_code_twice(tmp_path: Path) -> None:
    written(tmp_path, "- {code: a}\n- {code: b}\n- {code: a}\n")
    with pytest.raises(RuleFileError, match=r":3: code a 重复,第 1 行已有"):
        overlaid([tmp_path], "rows.yaml")


@given(st.text(max_size=80))
def test_any_text_loads_or_is_refused_with_a_line(text: str) -> None:
    class Memory(type(Path())):  # type: ignore[misc]
        def read_bytes(self) -> bytes:
            return text.encode("utf-8", "surrogatepass")

    rows: list[Row] = []
    refused: RuleFileError | None = None
    try:
        rows = read(Memory("rows.yaml"))
    except RuleFileError as failure:
        refused = failure
    assert all(isinstance(row, Row) for row in rows)
    assert refused is None or (refused.line >= 1 and refused.reason)
