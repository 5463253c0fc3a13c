"""What the recording rules make of small histories, by Prometheus's own test runner.

A history says by how much each total rose, and when. What must come of it is worked out by hand, from
the history and docs/rates.md, never from the expressions.
"""

import re
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import tool
from tests.test_monitoring import recorded

REGION = "360732"
A, B = "360732-market_regulation", "360732-housing"
REPLICAS = ("banjie-0:8000", "banjie-1:8000")
DAY_S, HOUR_S = 86_400, 3_600
WINDOW_S = {
    "5m": 300,
    "30m": 1_800,
    "1h": HOUR_S,
    "2h": 2 * HOUR_S,
    "4h": 4 * HOUR_S,
    "6h": 6 * HOUR_S,
    "1d": DAY_S,
    "3d": 3 * DAY_S,
    "30d": 30 * DAY_S,
}

# By recorded name and the values of its level's labels.
Expected = Mapping[str, Mapping[tuple[str, ...], float]]
# When a total rose, in seconds, and by how much.
Rises = Sequence[tuple[int, int]]


def labelled(name: str, labels: Mapping[str, str]) -> str:
    """Return a series as promtool reads it."""
    pairs = ",".join(f'{label}="{value}"' for label, value in labels.items() if value)
    return f"{name}{{{pairs}}}"


def written(values: Sequence[float | None]) -> str:
    """Return values in promtool's notation. None is a scrape that failed: what was is stale at once."""
    said: list[str] = []
    for value, run in groupby(values):
        n = len(list(run))
        if value is None:
            said += ["stale", f"_x{n - 1}"] if said and n > 1 else ["stale"] if said else [f"_x{n}"]
        else:
            said.append(f"{value}+0x{n - 1}")
    return " ".join(said)


class History:
    """Totals as two replicas show them, scraped and worked out every `grid_s` until `end_s`."""

    def __init__(self, end_s: int, grid_s: int) -> None:
        self.end_s, self.grid_s = end_s, grid_s
        self._rows: list[tuple[str, Mapping[str, str], Rises]] = []
        self._away: list[tuple[str, int, int]] = []

    def total(self, name: str, rises: Rises, **labels: str) -> None:
        """Let a total rise: at which second, by how much. Before the first it is not there."""
        self._rows.append((name, {"region": REGION, **labels}, rises))

    def away(self, first_s: int, last_s: int, replicas: Sequence[str] = REPLICAS) -> None:
        """Let replicas not be reached, both ends counted."""
        self._away += [(replica, first_s, last_s) for replica in replicas]

    def series(self) -> Iterator[dict[str, str]]:
        """Give what promtool reads."""
        at = range(0, self.end_s + 1, self.grid_s)
        for name, labels, rises in self._rows:
            values = [sum(n for s, n in rises if s <= t) if rises[0][0] <= t else None for t in at]
            for replica in REPLICAS:
                seen = [
                    None
                    if any(r == replica and first <= t <= last for r, first, last in self._away)
                    else value
                    for t, value in zip(at, values, strict=True)
                ]
                where = {"instance": replica, "job": "banjie", "pod": replica.partition(":")[0]}
                yield {"series": labelled(name, {**labels, **where}), "values": written(seen)}
        # Another system of the same office, which is nobody's replica.
        name, labels, _ = self._rows[0]
        yield {"series": labelled(name, {**labels, "job": "banjie-trial"}), "values": "7+9x2000"}

    def gives(self, expected: Expected, at_s: int | None = None) -> dict[str, Any]:
        """Return a test of promtool: what is recorded at a time, or at the end, to six digits. No
        labels: nothing must be there."""
        return {
            "interval": f"{self.grid_s}s",
            "input_series": list(self.series()),
            "promql_expr_test": [
                {
                    "expr": f"round({name} * 1e6)",
                    "eval_time": f"{self.end_s if at_s is None else at_s}s",
                    "exp_samples": [
                        {
                            "labels": labelled("", dict(zip(_labels(name), values, strict=False))),
                            "value": round(value * 1e6),
                        }
                        for values, value in rows.items()
                    ],
                }
                for name, rows in expected.items()
            ],
        }


def _labels(name: str) -> tuple[str, ...]:
    level = name.partition(":")[0]
    return {
        "region": ("region",),
        "region_unit": ("region", "unit"),
        "channel": ("region", "channel"),
        "channel_le": ("region", "channel", "le"),
    }[level]


def hold(folder: Path, tests: Sequence[Mapping[str, Any]], every_s: int) -> None:
    """Let promtool hold the rules against tests."""
    names = {
        each["expr"].partition("(")[2].partition(" ")[0]
        for t in tests
        for each in t["promql_expr_test"]
    }
    document = {
        "rule_files": [str(_rules_for(folder, names))],
        "evaluation_interval": f"{every_s}s",
        "tests": tests,
    }
    file = folder / "test.yml"
    file.write_text(yaml.safe_dump(document, allow_unicode=True), "utf-8")
    ran = subprocess.run(
        [tool("promtool"), "test", "rules", file], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def _rules_for(folder: Path, names: Collection[str]) -> Path:
    """Write the rules that these need, and no more: a month of all of them takes minutes."""
    rules = dict(recorded())
    needed: set[str] = set()
    todo = set(names)
    while todo:
        needed |= todo
        todo = {n for name in todo for n in re.findall(r"\w+:banjie_\w+:\w+", rules[name])} - needed
    kept = [{"record": name, "expr": expr} for name, expr in rules.items() if name in needed]
    file = folder / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": kept}]}), "utf-8")
    return file


# A window of three steps ends with the sixth sample. By how much a total rose: before Prometheus
# began, before the window (the second sample), and within it: the fourth, the fifth and the last.
_ROSE_AT = (0, 1, 3, 4, 5)
_UNIT_A: Sequence[tuple[str, Mapping[str, str], Sequence[int]]] = [
    ("milestones_met", {"milestone": "resolve", "outcome": "on_time"}, (100, 1, 6, 3, 2)),
    ("milestones_met", {"milestone": "resolve", "outcome": "late"}, (10, 1, 2, 1, 0)),
    ("milestones_met", {"milestone": "resolve", "outcome": "missed"}, (5, 0, 1, 0, 1)),
    ("milestones_met", {"milestone": "sign", "outcome": "on_time"}, (50, 2, 4, 2, 1)),
    ("milestones_met", {"milestone": "sign", "outcome": "late"}, (5, 0, 2, 1, 1)),
    ("milestones_met", {"milestone": "contact", "outcome": "on_time"}, (40, 1, 5, 1, 1)),
    ("milestones_met", {"milestone": "contact", "outcome": "missed"}, (4, 1, 1, 1, 0)),
    ("milestones_met", {"milestone": "call_back", "outcome": "on_time"}, (30, 1, 2, 1, 1)),
    ("milestones_met", {"milestone": "call_back", "outcome": "late"}, (3, 1, 1, 1, 0)),
    ("milestones_met", {"milestone": "call_back", "outcome": "missed"}, (2, 0, 1, 0, 1)),
    ("callbacks", {"solved": "true", "grade": "5"}, (20, 1, 3, 2, 1)),
    ("callbacks", {"solved": "true", "grade": "3"}, (5, 0, 2, 1, 0)),
    ("callbacks", {"solved": "false", "grade": "2"}, (6, 1, 1, 0, 1)),
    ("callbacks", {"solved": "false", "grade": ""}, (2, 0, 1, 1, 0)),
    ("callbacks", {"solved": "", "grade": "4"}, (1, 0, 1, 0, 1)),
    ("callbacks", {"solved": "", "grade": ""}, (9, 1, 5, 2, 2)),
    ("dispatches", {}, (200, 3, 10, 5, 4)),
    ("sent_back", {}, (20, 1, 2, 1, 1)),
    ("first_dispatches", {}, (150, 2, 8, 4, 2)),
    ("first_dispatches_wrong", {}, (10, 1, 1, 1, 0)),
    ("resolutions", {}, (90, 2, 9, 4, 2)),
    ("resolutions_moved", {}, (9, 1, 2, 1, 1)),
    ("resolutions_extended", {}, (5, 0, 1, 1, 0)),
    ("redone", {}, (3, 0, 1, 0, 1)),
    ("rectifications", {"outcome": "on_time"}, (8, 0, 2, 1, 1)),
    ("rectifications", {"outcome": "late"}, (2, 1, 1, 0, 0)),
    ("rectifications", {"outcome": "missed"}, (1, 0, 1, 1, 0)),
]
# A unit that gets its first ticket within the window: nothing of it was there before, and all counts.
_UNIT_B: Sequence[tuple[str, Mapping[str, str], Sequence[int]]] = [
    ("milestones_met", {"milestone": "resolve", "outcome": "on_time"}, (0, 0, 1, 1, 0)),
    ("milestones_met", {"milestone": "resolve", "outcome": "late"}, (0, 0, 1, 0, 0)),
    ("resolutions", {}, (0, 0, 2, 1, 0)),
]
_REGION: Sequence[tuple[str, Mapping[str, str], Sequence[int]]] = [
    ("tickets_received", {"decision": "auto"}, (300, 4, 12, 6, 3)),
    ("tickets_received", {"decision": "manual"}, (50, 1, 3, 1, 1)),
    ("tickets_received", {"decision": "not_accepted"}, (20, 0, 2, 1, 0)),
    ("tickets_received", {"decision": "emergency_line"}, (4, 0, 1, 1, 1)),
    ("tickets_received", {"decision": "counted"}, (70, 2, 5, 2, 1)),
    ("tickets_received", {"decision": "imported"}, (1000, 7, 0, 0, 0)),
    ("tickets_merged", {}, (15, 1, 2, 1, 0)),
]
# What counts, and of how many: what rose within the window.
_OF_A: Mapping[str, tuple[float, float]] = {
    "on_time": (11, 16),
    "sign": (7, 11),
    "contact": (7, 9),
    "solved": (9, 13),
    "satisfied": (11, 13),
    "called_back": (6, 8),
    "sent_back": (4, 19),
    "first_right": (12, 14),
    "redispatched": (4, 15),
    "redone": (2, 15),
    "extended": (2, 15),
    "rectified": (5, 7),
}
_OF_B: Mapping[str, tuple[float, float]] = {
    "on_time": (2, 3),
    "redispatched": (0, 3),
    "redone": (0, 3),
    "extended": (0, 3),
}
_OF_REGION: Mapping[str, tuple[float, float]] = {
    **_OF_A,
    "on_time": (13, 19),
    "redispatched": (4, 18),
    "redone": (2, 18),
    "extended": (2, 18),
    # Resolved 18, less 2 redone, and 3 not accepted. Of 21 + 5 + 3, less 3 merged: what was referred
    # to an emergency line is none of ours, and what is only counted was never to be worked.
    "completion": (19, 26),
    "repeated": (3, 26),
}
# 满意 6 and 2, and 3 of 基本满意 at nine tenths, of 13.
_WEIGHED = (10.7, 13)
_SCORE = 0.1 * 7 / 9 + 0.4 * 10.7 / 13 + 0.5 * 9 / 13
_DUE = {"on_time": (100, 2, 5, 4, 2), "late": (10, 1, 2, 0, 1), "missed": (3, 0, 0, 1, 0)}
_OF_CHANNEL = (11, 15)
# Resolutions by working days of seven hours: before, and within the window. Four took one at most, four
# more two, two more three: the fifth is a quarter into the second day, the ninth half into the third.
_WORKED = {"25200.0": (70, 4), "50400.0": (80, 8), "75600.0": (90, 10), "+Inf": (95, 10)}
_CHANNEL = "hotline-12345"


def _whole(step_s: int, *, within: bool = True) -> History:
    """Return a history that has every series, five steps long; without what is within the window, if
    so asked."""
    history = History(5 * step_s, step_s)
    rows = [
        *((n, {"unit": A, **more}, rose) for n, more, rose in _UNIT_A),
        *((n, {"unit": B, **more}, rose) for n, more, rose in _UNIT_B if within),
        *(
            (n, {**more, **({"channel": _CHANNEL, "kind": "complaint"} if more else {})}, rose)
            for n, more, rose in _REGION
        ),
        *(("resolutions_due", {"channel": _CHANNEL, "outcome": o}, r) for o, r in _DUE.items()),
    ]
    for name, labels, rose in rows:
        rises = [(n * step_s, by) for n, by in zip(_ROSE_AT, rose, strict=True)]
        there = rises if rose[0] else rises[2:]
        history.total(f"banjie_{name}_total", there if within else there[:2], **labels)
    for le, (before, by) in _WORKED.items():
        history.total(
            "banjie_resolve_working_seconds_bucket",
            [(0, before), (3 * step_s, by if within else 0)],
            channel=_CHANNEL,
            le=le,
        )
    # One replica is restarted, the other away for half of the time: both show the same, none twice.
    history.away(4 * step_s, 4 * step_s, REPLICAS[:1])
    history.away(0, 2 * step_s, REPLICAS[1:])
    return history


def _recorded_over(window: str) -> set[str]:
    return {name for name, _ in recorded() if name.endswith(f"_{window}")}


@pytest.mark.parametrize("window", WINDOW_S)
def test_every_rate_is_what_the_history_says(tmp_path: Path, window: str) -> None:
    expected: dict[str, dict[tuple[str, ...], float]] = {}

    def put(name: str, of: tuple[str, ...], counted: float, cases: float) -> None:
        for what, value in (("counted", counted), ("cases", cases), ("ratio", counted / cases)):
            expected.setdefault(f"{name}:{what}_{window}", {})[of] = value

    if window in ("5m", "1d", "30d"):
        for level, of, found in (
            ("region_unit", (REGION, A), _OF_A),
            ("region_unit", (REGION, B), _OF_B),
            ("region", (REGION,), _OF_REGION),
        ):
            for rate, (counted, cases) in found.items():
                put(f"{level}:banjie_{rate}", of, counted, cases)
    if window == "30d":
        for level, of in (("region_unit", (REGION, A)), ("region", (REGION,))):
            put(f"{level}:banjie_weighed", of, *_WEIGHED)
            expected[f"{level}:banjie_score:ratio_30d"] = {of: _SCORE}
        worked = "banjie_resolve_working_seconds"
        expected[f"channel_le:{worked}:cases_30d"] = {
            (REGION, _CHANNEL, le): by for le, (_, by) in _WORKED.items()
        }
        expected[f"channel:{worked}:p50_30d"] = {(REGION, _CHANNEL): 31_500}
        expected[f"channel:{worked}:p90_30d"] = {(REGION, _CHANNEL): 63_000}
    if window in ("4h", "1d", "30d"):
        # 21, 5, 3, 3 and 10: whatever was decided.
        expected[f"channel:banjie_received:cases_{window}"] = {(REGION, _CHANNEL): 42}
    if window != "4h":
        put("channel:banjie_on_time", (REGION, _CHANNEL), *_OF_CHANNEL)
    assert set(expected) == _recorded_over(window)
    step_s = WINDOW_S[window] // 3
    hold(tmp_path, [_whole(step_s).gives(expected)], step_s)


@pytest.mark.parametrize("window", WINDOW_S)
def test_where_nothing_happened_there_is_no_ratio(tmp_path: Path, window: str) -> None:
    names = _recorded_over(window)
    shares = {n for n in names if re.search(r":(ratio|p50|p90)_", n)}
    step_s = WINDOW_S[window] // 3
    history = _whole(step_s, within=False)
    zero = history.gives({name: {} for name in shares})
    # Counts are there, and are zero.
    zero["promql_expr_test"] += [
        {
            "expr": f"count({name} != 0) or vector(0)",
            "eval_time": f"{history.end_s}s",
            "exp_samples": [{"labels": "{}", "value": 0}],
        }
        for name in sorted(names - shares)
    ]
    hold(tmp_path, [zero], step_s)


def test_where_nothing_is_scraped_nothing_is_recorded(tmp_path: Path) -> None:
    history = History(2 * HOUR_S, 600)
    history.total("up", [(0, 0)])
    names = [name for name, _ in recorded() if name != "banjie_on_time:cases_floor"]
    hold(tmp_path, [history.gives({name: {} for name in names})], 600)


# What may go wrong with a window, on one rate: every rate is made alike.

_MONTH = (31 * DAY_S, HOUR_S)


def _resolved(history: History, unit: str, on_time: Rises, late: Rises = ()) -> None:
    for outcome, rises in (("on_time", on_time), ("late", late)):
        if rises:
            more = {"unit": unit, "milestone": "resolve", "outcome": outcome}
            history.total("banjie_milestones_met_total", rises, **more)


def _over(window: str, **by_unit: tuple[float, float]) -> Expected:
    units = {"a": A, "b": B}
    name = "region_unit:banjie_on_time"
    return {
        f"{name}:counted_{window}": {(REGION, units[u]): n for u, (n, _) in by_unit.items()},
        f"{name}:cases_{window}": {(REGION, units[u]): of for u, (_, of) in by_unit.items()},
        f"{name}:ratio_{window}": {
            (REGION, units[u]): n / of for u, (n, of) in by_unit.items() if of
        },
    }


def test_a_prometheus_younger_than_the_window_tells_what_it_has_seen(tmp_path: Path) -> None:
    history = History(3 * DAY_S, HOUR_S)
    _resolved(history, A, [(0, 500), (DAY_S, 3)], [(0, 50), (DAY_S, 1)])
    _resolved(history, B, [(2 * DAY_S, 2)])
    hold(tmp_path, [history.gives(_over("30d", a=(3, 4), b=(2, 2)))], HOUR_S)


def test_a_scrape_that_failed_when_the_window_began_changes_nothing(tmp_path: Path) -> None:
    history = History(31 * DAY_S, HOUR_S // 2)
    _resolved(history, A, [(0, 500), (DAY_S // 2, 2), (5 * DAY_S, 3)], [(0, 50), (5 * DAY_S, 1)])
    _resolved(history, B, [(5 * DAY_S, 7)])
    history.away(DAY_S, DAY_S)
    hold(tmp_path, [history.gives(_over("30d", a=(3, 4), b=(7, 7)))], HOUR_S // 2)


def test_a_window_that_begins_in_an_outage_begins_after_it(tmp_path: Path) -> None:
    history = History(*_MONTH)
    _resolved(history, A, [(0, 500), (DAY_S, 2), (5 * DAY_S, 3)], [(0, 50), (5 * DAY_S, 1)])
    history.away(DAY_S - 2 * HOUR_S, DAY_S + 2 * HOUR_S)
    hold(tmp_path, [history.gives(_over("30d", a=(3, 4)))], HOUR_S)


def test_a_weekend_without_the_service_loses_nothing_of_a_month(tmp_path: Path) -> None:
    history = History(*_MONTH)
    _resolved(history, A, [(0, 500), (5 * DAY_S, 3), (11 * DAY_S, 4)], [(0, 50), (5 * DAY_S, 1)])
    _resolved(history, B, [(11 * DAY_S, 6)])
    history.away(10 * DAY_S, 12 * DAY_S)
    hold(tmp_path, [history.gives(_over("30d", a=(7, 8), b=(6, 6)))], HOUR_S)


def test_a_restored_backup_counts_as_nothing(tmp_path: Path) -> None:
    history = History(*_MONTH)
    _resolved(history, A, [(0, 500), (5 * DAY_S, 3), (20 * DAY_S, -40)])
    _resolved(history, B, [(0, 50), (5 * DAY_S, 3), (20 * DAY_S, -1)], [(0, 5), (6 * DAY_S, 2)])
    hold(tmp_path, [history.gives(_over("30d", a=(0, 0), b=(2, 4)))], HOUR_S)


def test_a_series_that_a_new_version_brings_is_no_month_of_work(tmp_path: Path) -> None:
    history = History(*_MONTH)
    _resolved(history, A, [(0, 500), (5 * DAY_S, 3)])
    for name, rises in (("dispatches", (800, 10)), ("sent_back", (90, 1))):
        when = ((20 * DAY_S, rises[0]), (25 * DAY_S, rises[1]))
        history.total(f"banjie_{name}_total", when, unit=A)
    of_a = (REGION, A)
    expected: Expected = {
        "region_unit:banjie_sent_back:cases_30d": {of_a: 10},
        "region_unit:banjie_sent_back:ratio_30d": {of_a: 0.1},
        **_over("30d", a=(3, 3)),
    }
    hold(tmp_path, [history.gives(expected)], HOUR_S)


def test_a_replica_or_all_of_them_may_be_away_for_five_minutes(tmp_path: Path) -> None:
    minute = 60
    history = History(40 * minute, minute)
    _resolved(
        history,
        A,
        [(0, 500), (9 * minute, 1), (13 * minute, 2), (22 * minute, 4), (37 * minute, 8)],
    )
    history.away(10 * minute, 14 * minute, REPLICAS[:1])
    history.away(30 * minute, 35 * minute)
    tests = [
        history.gives(_over("5m", a=(2, 2)), 15 * minute),
        history.gives(_over("5m", a=(4, 4)), 24 * minute),
        history.gives(_over("5m", a=(0, 0)), 29 * minute),
        # None answers: no figure, and none that was.
        history.gives({name: {} for name in _over("5m")}, 33 * minute),
        # The window began while none answered: it reaches back to the last that was recorded.
        history.gives(_over("5m", a=(8, 8)), 38 * minute),
    ]
    hold(tmp_path, tests, minute)


def test_no_rule_is_without_a_test() -> None:
    """Totals and bases are what windows are made of; objectives are held in test_alerts."""
    windowed = set().union(*(_recorded_over(window) for window in WINDOW_S))
    others = {name for name, _ in recorded()} - windowed
    made = {name for name in others if name.endswith(("_total", "_base"))}
    assert others - made == {
        "channel:banjie_on_time:objective",
        "banjie_on_time:cases_floor",
        "banjie_source:unread_seconds",
        "banjie:office_hours",
    }
    used = " ".join(expr for _, expr in recorded())
    assert all(name in used for name in made)
