"""A bulletin as a workbook: every text a string, every figure a number, charts of Excel's own."""

import io
import re
from collections.abc import Sequence
from typing import Any

from service.bulletin import Bulletin
from service.domain.calendar import SHANGHAI
from service.paper.tables import (
    DASH,
    Cell,
    Chart,
    Column,
    Format,
    Look,
    Paper,
    Section,
    Table,
    paper,
)

_NUMBERS = {
    Format.TEXT: "@",
    Format.CODE: "@",
    Format.WHOLE: "#,##0",
    Format.SIGNED: "+#,##0;-#,##0;0",
    Format.PERCENT: "0.00%",
    Format.SIGNED_PERCENT: "+0.0%;-0.0%;0.0%",
    Format.POINTS: "0.00",
    Format.DECIMAL: "0.0",
}
_CHARTS = {
    Look.COLUMNS: {"type": "column"},
    Look.BARS: {"type": "bar"},
    Look.LINE: {"type": "line"},
}
# What XML cannot hold, and what would break a line or hide the rest of it.
_NO_TEXT = re.compile("[^\n\u0020-\u007e\u00a0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Excel holds 32,767 characters a cell; nobody reads a thousand.
_MOST_CHARS = 1_000
_FONT = "宋体"
_HEAD_ROW = 15
_CHART_ROWS = 16
_TALLEST = 400


def workbook(bulletin: Bulletin) -> bytes:
    """Return the bulletin as an .xlsx file, the same bytes' figures for the same bulletin."""
    return book(paper(bulletin))


def book(of: Paper) -> bytes:
    """Return what is printed as an .xlsx file."""
    return _Book(of).written()


def clean(text: str) -> str:
    """Return a text as a cell holds it: without control characters, and not without end."""
    kept = _NO_TEXT.sub(" ", text)
    return kept if len(kept) <= _MOST_CHARS else kept[: _MOST_CHARS - 1] + "…"


class _Book:
    """A workbook in the making."""

    def __init__(self, of: Paper) -> None:
        # Most processes never write a workbook.
        import xlsxwriter  # noqa: PLC0415

        self._paper = of
        self._file = io.BytesIO()
        # Text is text, whatever it begins with: no formula, no link, no number is made of it.
        self._book = xlsxwriter.Workbook(
            self._file,
            {
                "in_memory": True,
                "strings_to_formulas": False,
                "strings_to_urls": False,
                "strings_to_numbers": False,
            },
        )
        base: dict[str, Any] = {"font_name": _FONT, "font_size": 10, "valign": "vcenter"}
        boxed = base | {"border": 1, "border_color": "#9AA5B1"}
        self._title = self._book.add_format(base | {"font_size": 16, "bold": True})
        self._plain = self._book.add_format(base | {"text_wrap": True, "valign": "top"})
        self._mark = self._book.add_format(base | {"bold": True, "font_color": "#A31218"})
        self._name = self._book.add_format(base | {"font_size": 12, "bold": True})
        head = {"bold": True, "bg_color": "#E8EFF8", "align": "center", "text_wrap": True}
        self._head = self._book.add_format(boxed | head)
        self._cells = {
            each: self._book.add_format(
                boxed
                | {"num_format": number}
                | (
                    {"text_wrap": True, "align": "left"}
                    if each in {Format.TEXT, Format.CODE}
                    else {"align": "right"}
                )
            )
            for each, number in _NUMBERS.items()
        }
        self._centre = self._book.add_format(boxed | {"align": "center", "num_format": "@"})

    def written(self) -> bytes:
        """Return the file."""
        of = self._paper
        self._book.set_properties(
            {
                "title": clean(of.title),
                "subject": clean(of.subtitle),
                "category": of.category,
                "status": of.mark or "正式",
                "keywords": of.mark,
                "comments": clean("".join(of.lead)),
                "author": f"办结 {of.version}",
                "created": of.made_at.astimezone(SHANGHAI).replace(tzinfo=None),
            }
        )
        for n, section in enumerate(of.sections):
            self._sheet(section, first=n == 0)
        self._book.close()
        return self._file.getvalue()

    def _sheet(self, section: Section, *, first: bool) -> None:
        of = self._paper
        sheet = self._book.add_worksheet(section.title)
        widths = [
            max((t.columns[n].width for t in section.tables if n < len(t.columns)), default=8)
            for n in range(max(len(t.columns) for t in section.tables))
        ]
        for n, width in enumerate(widths):
            sheet.set_column(n, n, width)
        row = 0
        sheet.write_string(row, 0, clean(of.title), self._title)
        sheet.set_row(row, 26)
        sheet.write_string(row + 1, 0, clean(f"{section.title}　{of.subtitle}"), self._note())
        row += 2
        if of.mark:
            why = of.lead[0].removeprefix(f"{of.mark}：")
            sheet.write_string(row, 0, f"【{of.mark}】{clean(why)}", self._mark)
            row += 1
        notes = [*section.notes] if section.notes else ([*of.lead] if first else [])
        for note in notes[1:] if of.mark and notes[:1] == [of.lead[0]] else notes:
            row = self._paragraph(sheet, row, note, widths)
        row += 1
        drawn = [(chart, self._book.add_chart(_CHARTS[chart.look])) for chart in section.charts]
        frozen = 0
        for n, table in enumerate(section.tables):
            top = row
            row = self._table(sheet, row, table, alone=len(section.tables) == 1)
            frozen = frozen or self._body(top, table)
            last = row - 2
            for chart, drawing in drawn:
                if chart.table == n and table.rows:
                    self._draw(chart, drawing, section, (self._body(top, table), last))
        if len(section.tables) == 1:
            sheet.freeze_panes(frozen, 1)
            sheet.repeat_rows(frozen - self._heads(section.tables[0]), frozen - 1)
            table = section.tables[0]
            if table.rows:
                sheet.autofilter(
                    frozen - 1, 0, frozen + len(table.rows) - 1, len(table.columns) - 1
                )
        for n, (chart, drawing) in enumerate(each for each in drawn if each[0]):
            if section.tables[chart.table].rows:
                tall = 420 if chart.look is Look.BARS else 300
                drawing.set_size({"width": 720, "height": tall})
                sheet.insert_chart(3 + n * _CHART_ROWS, len(widths) + 1, drawing)
        self._print(sheet)

    def _note(self) -> Any:
        return self._book.add_format({"font_name": _FONT, "font_size": 10, "font_color": "#51606F"})

    def _paragraph(self, sheet: Any, row: int, text: str, widths: Sequence[int]) -> int:
        """Write a text over the whole width, as high as it needs."""
        said = clean(text)
        if len(widths) > 1:
            sheet.merge_range(row, 0, row, len(widths) - 1, "", self._plain)
        sheet.write_string(row, 0, said, self._plain)
        sheet.set_row(row, _height(said, sum(widths)))
        return row + 1

    @staticmethod
    def _heads(table: Table) -> int:
        return 2 if any(column.group for column in table.columns) else 1

    def _body(self, top: int, table: Table) -> int:
        """Return the row at which the body of a table begins that begins at `top`."""
        return top + 1 + self._heads(table)

    def _table(self, sheet: Any, top: int, table: Table, *, alone: bool) -> int:
        """Write a table and return the row after it, one left empty."""
        sheet.write_string(top, 0, clean(table.name), self._name)
        row = top + 1
        heads = self._heads(table)
        start = 0
        for n, column in enumerate(table.columns):
            if not column.group:
                if heads == 2 and not alone:
                    sheet.merge_range(row, n, row + 1, n, "", self._head)
                elif heads == 2:
                    # A filter stands on the last line of the head; merged, it could not.
                    sheet.write_string(row, n, "", self._head)
                    sheet.write_string(row + 1, n, column.title, self._head)
                    continue
                sheet.write_string(row, n, column.title, self._head)
                continue
            if n == 0 or table.columns[n - 1].group != column.group:
                start = n
            if n + 1 == len(table.columns) or table.columns[n + 1].group != column.group:
                if n > start:
                    sheet.merge_range(row, start, row, n, "", self._head)
                sheet.write_string(row, start, column.group, self._head)
            sheet.write_string(row + 1, n, column.title, self._head)
        row += heads
        if not table.rows:
            sheet.write_string(row, 0, table.empty, self._plain)
            return row + 2
        for cells in table.rows:
            high = _HEAD_ROW
            for n, (cell, column) in enumerate(zip(cells, table.columns, strict=True)):
                self._cell(sheet, row, n, cell, column)
                if isinstance(cell, str):
                    high = max(high, _height(clean(cell), column.width))
            sheet.set_row(row, high)
            row += 1
        return row + 1

    def _cell(self, sheet: Any, row: int, n: int, cell: Cell, column: Column) -> None:
        if cell is None:
            sheet.write_string(row, n, DASH, self._centre)
        elif isinstance(cell, str):
            looks = self._centre if column.width <= 7 else self._cells[Format.TEXT]
            sheet.write_string(row, n, clean(cell), looks)
        else:
            shown = cell * 100 if column.format is Format.POINTS else cell
            sheet.write_number(row, n, shown, self._cells[column.format])

    def _draw(self, chart: Chart, drawing: Any, section: Section, rows: tuple[int, int]) -> None:
        table = section.tables[chart.table]
        first, last = rows
        shares = table.columns[chart.values].format is Format.PERCENT
        drawing.add_series(
            {
                "name": table.columns[chart.values].title,
                "categories": [section.title, first, 0, last, 0],
                "values": [section.title, first, chart.values, last, chart.values],
                "fill": {"color": "#1F4E8C"},
                "line": {"color": "#1F4E8C"},
                "gap": 60,
                "marker": {"type": "circle", "size": 5},
                "data_labels": {"value": True, "font": {"size": 8}}
                if len(table.rows) <= 31
                else {},
            }
        )
        drawing.set_title({"name": clean(chart.title), "name_font": {"size": 12}})
        drawing.set_legend({"none": True})
        values = {"num_format": "0%" if shares else "#,##0", "min": 0}
        if shares:
            values["max"] = 1
        categories = {"num_font": {"size": 8}}
        if chart.look is Look.BARS:
            drawing.set_y_axis(categories | {"reverse": True})
            drawing.set_x_axis(values)
        else:
            drawing.set_x_axis(categories)
            drawing.set_y_axis(values)

    def _print(self, sheet: Any) -> None:
        sheet.set_landscape()
        sheet.set_paper(9)  # A4
        sheet.fit_to_pages(1, 0)
        sheet.set_margins(left=0.5, right=0.5, top=0.7, bottom=0.7)
        # In a header & begins a command: written twice it is itself.
        mark = f"【{self._paper.mark}】" if self._paper.mark else ""
        title = clean(self._paper.title).replace("&", "&&")[:200]
        sheet.set_header(f"&L{title}&R{mark}")
        sheet.set_footer(
            "&L&A&C第 &P 页，共 &N 页&R制作于 "
            f"{self._paper.made_at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"
        )


def _height(text: str, width: int) -> int:
    """Return how many points a wrapped text takes in a column; a Chinese character is two wide."""
    lines = sum(
        max(1, -(-sum(2 if ord(char) > 0xFF else 1 for char in line) // max(1, width - 1)))
        for line in text.split("\n")
    )
    return min(_TALLEST, 14 * lines + 2)
