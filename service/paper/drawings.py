"""Charts as SVG, drawn on the server: no script, no style attribute, readable in grey."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import ceil, floor, log10
from xml.sax.saxutils import escape

from service.paper.tables import Chart, Format, Look, Table

_WIDE, _HIGH = 720, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 22, 30
_BAR_HIGH = 20
_NAMES_WIDE = 230
_MOST_LABELS = 16
_CHAR_WIDE = 8

Point = tuple[str, float | None]


def drawing(chart: Chart, table: Table, number: int) -> str:
    """Return a chart as an SVG element, "" where there is nothing to draw. `number` tells apart the
    names of several on a page."""
    points = [_point(row[0], row[chart.values]) for row in table.rows]
    if not any(value is not None for _, value in points):
        return ""
    share = table.columns[chart.values].format is Format.PERCENT
    if chart.look is Look.BARS:
        high, drawn = _bars(points, share=share)
    else:
        high, drawn = _HIGH, _upright(points, chart.look, share=share)
    told = "；".join(f"{name} {_said(value, share=share)}" for name, value in points)
    names = f"chart-{number}-title", f"chart-{number}-told"
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDE} {high}" role="img" aria-labelledby="{" ".join(names)}">'
        f'<title id="{names[0]}">{escape(chart.title)}</title>'
        f'<desc id="{names[1]}">{escape(told)}</desc>{drawn}</svg>'
    )


def _point(name: object, value: object) -> Point:
    return str(name), float(value) if isinstance(value, int | float) else None


def _said(value: float | None, *, share: bool) -> str:
    if value is None:
        return "—"
    return f"{value * 100:.1f}%" if share else f"{value:,.0f}"


def _top(values: Sequence[float], *, share: bool) -> float:
    """Return where a scale ends: a round number above all values."""
    if share:
        return 1.0
    highest = max(*values, 1.0)
    step = 10.0 ** floor(log10(highest))
    return next(m * step for m in (1, 2, 4, 5, 10) if m * step >= highest)


def _upright(points: Sequence[Point], look: Look, *, share: bool) -> str:
    """Return bars or a line over the names of their points."""
    top = _top([value for _, value in points if value is not None], share=share)
    wide, high = _WIDE - _LEFT - _RIGHT, _HIGH - _TOP - _BOTTOM
    step = wide / len(points)
    base = _TOP + high
    parts = []
    for n in range(5):
        y = base - high * n / 4
        said = _said(top * n / 4, share=share) if share or top >= 4 or n in {0, 4} else ""
        parts.append(
            f'<line class="rule" x1="{_LEFT}" x2="{_WIDE - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(f'<text class="end" x="{_LEFT - 6}" y="{y + 4:.1f}">{said}</text>')
    longest = max(len(name) for name, _ in points) * _CHAR_WIDE
    every = max(ceil(len(points) / _MOST_LABELS), ceil(longest / step))
    path = ""
    for n, (name, value) in enumerate(points):
        x = _LEFT + step * (n + 0.5)
        if n % every == 0 and x + longest / 2 <= _WIDE:  # what sticks out would be cut off
            parts.append(f'<text class="mid" x="{x:.1f}" y="{base + 18}">{escape(name)}</text>')
        if value is None:
            path += " "  # a line has a gap where nothing was counted
            continue
        y = base - high * min(value / top, 1)
        if look is Look.COLUMNS:
            parts.append(
                f'<rect class="bar" x="{x - step * 0.32:.1f}" y="{y:.1f}" width="{step * 0.64:.1f}"'
                f' height="{base - y:.1f}"/>'
            )
        else:
            path += f"{'L' if path.strip() and not path.endswith(' ') else 'M'}{x:.1f},{y:.1f}"
            parts.append(f'<circle class="bar" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
        if len(points) <= 31 and (value or share):
            parts.append(
                f'<text class="mid value" x="{x:.1f}" y="{y - 5:.1f}">{_said(value, share=share)}</text>'
            )
    line = f'<path class="line" d="{path.strip()}"/>' if path.strip() else ""
    return line + "".join(parts)


def _bars(points: Sequence[Point], *, share: bool) -> tuple[int, str]:
    """Return lying bars beside their names, and how high they are together."""
    top = _top([value for _, value in points if value is not None], share=share)
    wide = _WIDE - _NAMES_WIDE - 70
    parts = []
    for n, (name, value) in enumerate(points):
        y = n * _BAR_HIGH + 4
        told = name if len(name) <= 18 else f"{name[:17]}…"
        long = wide * min((value or 0) / top, 1)
        parts.append(f'<text class="end" x="{_NAMES_WIDE - 8}" y="{y + 12}">{escape(told)}</text>')
        parts.append(
            f'<rect class="bar" x="{_NAMES_WIDE}" y="{y}" width="{long:.1f}" height="{_BAR_HIGH - 6}"/>'
        )
        parts.append(
            f'<text x="{_NAMES_WIDE + long + 6:.1f}" y="{y + 12}">{_said(value, share=share)}</text>'
        )
    return len(points) * _BAR_HIGH + 8, "".join(parts)


# A calendar


@dataclass(frozen=True, slots=True)
class Day:
    """A day of a calendar: how deep its shade is, 0 to 4, and what is told of it."""

    day: date
    shade: int
    told: str


_CELL, _GAP = 13, 2
_DAYS_WIDE, _MONTHS_HIGH = 24, 16


def calendar(title: str, days: Sequence[Day], since: date, until: date, number: int) -> str:
    """Return a calendar as an SVG element, weeks beside each other, Monday on top. What nothing is
    told of has no shade."""
    told = {each.day: each for each in days}
    monday = since - timedelta(since.weekday())
    weeks = (until - monday).days // 7 + 1
    step = _CELL + _GAP
    wide, high = _DAYS_WIDE + weeks * step, _MONTHS_HIGH + 7 * step
    parts = [
        f'<text x="0" y="{_MONTHS_HIGH + n * step + 11}">{name}</text>'
        for n, name in ((0, "一"), (2, "三"), (4, "五"), (6, "日"))
    ]
    for n in range((until - since).days + 1):
        day = since + timedelta(n)
        week, weekday = divmod((day - monday).days, 7)
        x, y = _DAYS_WIDE + week * step, _MONTHS_HIGH + weekday * step
        found = told.get(day)
        shade = f"heat-{found.shade}" if found else "heat-none"
        said = f"{day} {found.told if found else '没有'}"
        if day.day == 1:
            parts.append(f'<text x="{x}" y="11">{day.month} 月</text>')
        parts.append(
            f'<rect class="{shade}" x="{x}" y="{y}" width="{_CELL}" height="{_CELL}" rx="2">'
            f"<title>{escape(said)}</title></rect>"
        )
    name = f"calendar-{number}"
    return (
        f'<svg class="calendar" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" role="img"'
        f' aria-labelledby="{name}"><title id="{name}">{escape(title)}，{since} 至 {until}</title>'
        f"{''.join(parts)}</svg>"
    )
