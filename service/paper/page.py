"""A bulletin as a page that is one file: style inside, charts inside, nothing loaded, no script."""

import base64
import hashlib
from datetime import date
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from service.bulletin import Bulletin
from service.paper.drawings import calendar, drawing
from service.paper.figures import calendars
from service.paper.tables import DASH, Cell, Column, Format, Section, Table, paper
from service.reports import Report

_STYLE = (resources.files("service.paper") / "templates" / "bulletin.css").read_text("utf-8")
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
# Nothing but the style of this very file; as a header it also forbids to be framed.
_POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'"
POLICY = f"{_POLICY}; frame-ancestors 'none'"


def page(bulletin: Bulletin) -> str:
    """Return the bulletin as one HTML file, to be read and printed on A4."""
    of = paper(bulletin)
    return _templates.get_template("bulletin.html").render(
        of=of,
        sections=[section for section in of.sections if not section.sheet_only],
        policy=_POLICY,
        style=Markup(_STYLE),  # noqa: S704 a file of ours; escaped, it would be no style
    )


def drawings(section: Section) -> list[tuple[str, Markup]]:
    """Return the charts of a section, each with its title; their tables stand beside them."""
    return [
        (chart.title, Markup(drawn))  # noqa: S704 every text in it is escaped where it is drawn
        for n, chart in enumerate(section.charts)
        if (drawn := drawing(chart, section.tables[chart.table], n))
    ]


def heat_maps(report: Report, since: date, until: date) -> list[tuple[str, Markup]]:
    """Return the calendars of a report by days, each with its title."""
    return [
        (title, Markup(calendar(title, days, since, until, n)))  # noqa: S704 as above
        for n, (title, days) in enumerate(calendars(report))
    ]


def head(table: Table) -> tuple[list[tuple[str, int, int]], list[str]]:
    """Return the first line of a head as (title, columns, lines), and the titles of the second."""
    if not any(column.group for column in table.columns):
        return [(column.title, 1, 1) for column in table.columns], []
    first: list[tuple[str, int, int]] = []
    for n, column in enumerate(table.columns):
        if not column.group:
            first.append((column.title, 1, 2))
        elif n and table.columns[n - 1].group == column.group:
            title, wide, lines = first[-1]
            first[-1] = (title, wide + 1, lines)
        else:
            first.append((column.group, 1, 1))
    return first, [column.title for column in table.columns if column.group]


def shown(cell: Cell, column: Column) -> str:
    """Return a cell as people read it."""
    if cell is None:
        return DASH
    if isinstance(cell, str):
        return cell
    return {
        Format.TEXT: f"{cell}",
        Format.CODE: f"{cell}",
        Format.WHOLE: f"{cell:,.0f}",
        Format.SIGNED: "0" if not cell else f"{cell:+,.0f}",
        Format.PERCENT: f"{cell * 100:.2f}%",
        Format.SIGNED_PERCENT: "0.0%" if not cell else f"{cell * 100:+.1f}%",
        Format.POINTS: f"{cell * 100:.2f}",
        Format.DECIMAL: f"{cell + 0.0:z.1f}",
    }[column.format]


def looks(cell: Cell, column: Column) -> str:
    """Return the class of a cell."""
    if column.format is Format.CODE:
        return "code"
    if isinstance(cell, str) and column.format is Format.TEXT:
        if cell.startswith("▲"):
            return "up"
        if cell.startswith("▼"):
            return "down"
        return "mid" if column.width <= 7 else "text"
    return "number"


_templates = Environment(
    loader=PackageLoader("service.paper"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals.update(drawings=drawings, head=head, shown=shown, looks=looks)
