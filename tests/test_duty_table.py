import io
from pathlib import Path

import docx
import pytest

from routing_rules.derive import Derivation, derive, derive_text

ROWS = [
    ["序号", "重点任务", "牵头单位", "责任单位"],
    ["1", "清理河道垃圾，一日办结。", "县水务局", "县林业局、各乡镇区"],
    ["2", "办理社保登记。", "县人社局", ""],
    ["", "合并行", "县财政局", ""],
]


def table_docx() -> bytes:
    document = docx.Document()
    document.add_paragraph("净水工作分工方案")
    document.add_paragraph("1.总则一条要办。")
    table = document.add_table(rows=len(ROWS), cols=4)
    for at, cells in enumerate(ROWS):
        for column, cell in enumerate(cells):
            table.cell(at, column).text = cell
    table.cell(1, 3).text = "县林业局"
    table.cell(1, 3).add_paragraph("各乡镇区人民政府")
    stream = io.BytesIO()
    document.save(stream)
    return stream.getvalue()


def table_html() -> bytes:
    rows = "".join(
        "<tr>" + "".join(f"<td><p>{cell}</p></td>" for cell in row) + "</tr>" for row in ROWS
    )
    page = f"<p>净水工作分工方案</p><p>1.总则一条要办。</p><table>{rows}</table>"
    # Old sites set the whole page in a table.
    return f"<html><body><table><tr><td>{page}</td></tr></table></body></html>".encode()


def found(derived: Derivation) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    return [(c.item, c.lead_units, c.responsible_units) for c in derived.clauses]


@pytest.mark.parametrize(("name", "content"), [("a.docx", table_docx()), ("a.html", table_html())])
def test_a_row_of_a_table_of_duties_is_a_clause(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    derived = derive(tmp_path / name, "360732")
    assert [row[:2] for row in found(derived)] == [
        ("1", ()),
        ("1", ("县水务局",)),
        ("2", ("县人社局",)),
    ]
    assert derived.clauses[1].responsible_units[0] == "县林业局"
    assert derived.clauses[1].limits == ("一日办结",)
    assert "社保登记" in derived.clauses[2].topics
    assert "row-number" in [finding.code for finding in derived.findings]


def test_a_table_of_other_things_stays_lines() -> None:
    text = "1.甲事要办。\n名称\t数量\n1.桶\t2\n"
    assert found(derive_text(text, "a.txt", "360000"))[0] == ("1", (), ())


def test_rows_of_a_plain_text_table_are_read() -> None:
    text = "\n".join("\t".join(row) for row in ROWS)
    assert found(derive_text(text, "a.txt", "360000")) == [
        ("1", ("县水务局",), ("县林业局", "各乡镇区")),
        ("2", ("县人社局",), ()),
    ]
