"""The rates (考核指标) as recording rules of Prometheus, all from one table.

    python deploy/prometheus/make_rules.py > deploy/prometheus/rates.yml

`WATCHED` says of which series each rate of `service.domain.kpi.RATES` is made; `OWN` says the same of
the on-time rate by channel (渠道), and of what the 三率 score needs besides. docs/monitoring.md tells
where a rate that is watched differs from the one that is published.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from service.domain.kpi import Weights

# Labels that a series has of itself. What a scrape adds (instance, pod, …) names the replica, and
# every replica shows the same totals: the highest is taken, they are never added up.
SERIES: Mapping[str, tuple[str, ...]] = {
    "banjie_tickets_received_total": ("region", "channel", "kind", "decision"),
    "banjie_tickets_merged_total": ("region",),
    "banjie_milestones_met_total": ("region", "unit", "milestone", "outcome"),
    "banjie_callbacks_total": ("region", "unit", "solved", "grade"),
    "banjie_dispatches_total": ("region", "unit"),
    "banjie_first_dispatches_total": ("region", "unit"),
    "banjie_first_dispatches_wrong_total": ("region", "unit"),
    "banjie_sent_back_total": ("region", "unit"),
    "banjie_resolutions_total": ("region", "unit"),
    "banjie_resolutions_moved_total": ("region", "unit"),
    "banjie_resolutions_extended_total": ("region", "unit"),
    "banjie_redone_total": ("region", "unit"),
    "banjie_rectifications_total": ("region", "unit", "outcome"),
    "banjie_resolutions_due_total": ("region", "channel", "outcome"),
    "banjie_resolve_working_seconds_bucket": ("region", "channel", "le"),
}
JOB = 'job="banjie"'  # as prometheus.yml calls it


@dataclass(frozen=True, slots=True)
class Of:
    """A part of a sum: a series, which of it as PromQL has it, and how often it counts."""

    series: str
    which: str = ""
    times: float = 1


@dataclass(frozen=True, slots=True)
class Watched:
    """A rate as Prometheus can know it: a sum of series over another, by the labels of its level."""

    level: str
    counted: tuple[Of, ...]
    cases: tuple[Of, ...]


LEVELS: Mapping[str, tuple[str, ...]] = {
    "region_unit": ("region", "unit"),
    "region": ("region",),
    "channel": ("region", "channel"),
    "channel_le": ("region", "channel", "le"),
}


def _met(milestone: str, *outcomes: str) -> Watched:
    which = f'milestone="{milestone}"'
    met = "|".join(outcomes)
    return Watched(
        "region_unit",
        (Of("banjie_milestones_met_total", f'{which},outcome=~"{met}"'),),
        (Of("banjie_milestones_met_total", which),),
    )


def _unit(counted: str, cases: str) -> Watched:
    return Watched("region_unit", (Of(counted),), (Of(cases),))


_RATED = Of("banjie_callbacks_total", 'grade=~"[1-5]"')
_RECEIVED = "banjie_tickets_received_total"
_MERGED = "banjie_tickets_merged_total"

WATCHED: Mapping[str, Watched] = {
    # A redo (重办) takes its resolution back.
    "completion": Watched(
        "region",
        (
            Of("banjie_resolutions_total"),
            Of("banjie_redone_total", times=-1),
            Of(_RECEIVED, 'decision="not_accepted"'),
        ),
        (Of(_RECEIVED, 'decision!~"emergency_line|counted"'), Of(_MERGED, times=-1)),
    ),
    "on_time": _met("resolve", "on_time"),
    "sign": _met("sign", "on_time"),
    "contact": _met("contact", "on_time"),
    "solved": Watched(
        "region_unit",
        (Of("banjie_callbacks_total", 'solved="true"'),),
        (Of("banjie_callbacks_total", 'solved=~"true|false"'),),
    ),
    "satisfied": Watched(
        "region_unit", (Of("banjie_callbacks_total", 'grade=~"[3-5]"'),), (_RATED,)
    ),
    "called_back": _met("call_back", "on_time", "late"),
    "sent_back": _unit("banjie_sent_back_total", "banjie_dispatches_total"),
    "first_right": Watched(
        "region_unit",
        (
            Of("banjie_first_dispatches_total"),
            Of("banjie_first_dispatches_wrong_total", times=-1),
        ),
        (Of("banjie_first_dispatches_total"),),
    ),
    "redispatched": _unit("banjie_resolutions_moved_total", "banjie_resolutions_total"),
    "redone": _unit("banjie_redone_total", "banjie_resolutions_total"),
    "extended": _unit("banjie_resolutions_extended_total", "banjie_resolutions_total"),
    "repeated": Watched(
        "region",
        (Of(_MERGED),),
        (Of(_RECEIVED, 'decision!~"not_accepted|emergency_line|counted"'),),
    ),
    "rectified": Watched(
        "region_unit",
        (Of("banjie_rectifications_total", 'outcome=~"on_time|late"'),),
        (Of("banjie_rectifications_total"),),
    ),
}

# The service's weights as they are by default. Prometheus does not know the settings of a service:
# who changes the weights there writes the same here, and makes the file anew.
WEIGHTS = Weights()

OWN: Mapping[str, Watched] = {
    # 满意 and a part of 基本满意, for the score.
    "weighed": Watched(
        "region_unit",
        (
            Of("banjie_callbacks_total", 'grade=~"[45]"'),
            Of("banjie_callbacks_total", 'grade="3"', WEIGHTS.basically),
        ),
        (_RATED,),
    ),
}
BY_CHANNEL = Watched(
    "channel",
    (Of("banjie_resolutions_due_total", 'outcome="on_time"'),),
    (Of("banjie_resolutions_due_total"),),
)
WORKED = Of("banjie_resolve_working_seconds_bucket")
RECEIVED = Of(_RECEIVED, 'decision!="imported"')  # as they came in, and not years at once

WINDOWS = ("5m", "1d", "30d")
# What alerts.yml looks at besides: burn rates, and whether a channel has gone silent.
RECEIVED_WINDOWS = ("4h", "1d", "30d")
CHANNEL_WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d")

# A sample is stale after five minutes: whatever is shown must be worked out more often.
OFTEN, SELDOM = "1m", "4m"
# How long scraping or Prometheus may be away without the sight of what was before being lost.
GAP = "1h"

_HEAD = """\
# Made by make_rules.py of one table; change that, not this.
#
# Every total of the service comes from its store: all replicas show the same one, and it never begins
# again at 0. That is why
# - replicas are no sum: `max by (labels of the series)` takes one of them, whatever labels a scrape
#   adds, and one that is down is not missed;
# - what happened in a window is `total - total offset window` on that one value. It is exact, does not
#   extrapolate, and reads an hour of samples a minute apart where `increase(…[30d])` reads the 172,800
#   that a series has in thirty days.
#
# What lay before the window is, first of these that there is:
# 1. the total that was recorded when the window began. If nothing was recorded just then, for the
#    service or Prometheus was down, the last one of the hour before: the window is longer by that.
# 2. `…_base`, if no total of this rate at all was recorded then: Prometheus is younger than the window,
#    or was away for more than an hour. The base is the totals as they were when it began to watch
#    without such a gap. An old system does not count as new, and the window is what Prometheus has seen.
# 3. 0, if others of this rate were recorded then and this one was not: it appeared within the window,
#    and all of it counts.
# Whether Prometheus watched is asked of each rate by itself: a version of the service that adds a
# series brings all its history at once, which is not what happened today.
#
# Less than before can only be a restored backup; it counts as nothing. Where there is no case there is
# no ratio. While no replica answers there are no figures.
#
# counted_W over cases_W is ratio_W.
groups:
"""


def total(of: Of, level: str) -> str:
    """Return the present value of a series by the labels of a level, replicas as one."""
    which = f"{JOB},{of.which}" if of.which else JOB
    one = f"max by ({', '.join(SERIES[of.series])}) ({of.series}{{{which}}})"
    by = LEVELS[level]
    return one if by == SERIES[of.series] else f"sum by ({', '.join(by)}) ({one})"


def sum_of(parts: tuple[Of, ...], level: str, zero: str) -> str:
    """Return a sum of series, each 0 where it has no sample and `zero` has one."""
    found = ""
    for part in parts:
        sign = (" - " if part.times < 0 else " + ") if found else ""
        times = "" if abs(part.times) == 1 else f"{abs(part.times)} * "
        one = total(part, level)
        found += f"{sign}{times}({one} or 0 * {zero})" if zero else f"{sign}{times}{one}"
    return found


def within(name: str, window: str) -> str:
    """Return by how much a recorded total rose within a window; the head of the file says why so."""
    then = f"last_over_time({name}_total[{GAP}] offset {window})"
    return (
        f"clamp_min(\n  {name}_total - (\n    {then}\n"
        f"    or ({name}_base unless on () group({then}))\n"
        f"    or 0 * {name}_total\n  ), 0)"
    )


def base(name: str) -> str:
    """Return the totals as they were when Prometheus began to watch without a gap."""
    watched = f"on () group(last_over_time({name}_total[{GAP}] offset 30s))"
    return f"(last_over_time({name}_base[{GAP}]) and {watched})\nor ({name}_total unless {watched})"


Rule = tuple[str, str]


def _totals(rate: str, watched: Watched) -> Iterator[Rule]:
    name = f"{watched.level}:banjie_{rate}"
    cases, counted = f"{name}:cases", f"{name}:counted"
    zero = f"{cases}_total"
    first, *others = watched.cases
    # A first part that is missing is no case; of the others there may be none yet.
    whole = total(first, watched.level)
    filled = tuple(
        f" {'-' if part.times < 0 else '+'} "
        f"({total(part, watched.level)} or 0 * {total(first, watched.level)})"
        for part in others
    )
    yield f"{cases}_total", whole + "".join(filled)
    yield f"{counted}_total", sum_of(watched.counted, watched.level, zero)
    yield f"{cases}_base", base(cases)
    yield f"{counted}_base", base(counted)


def _windowed(rate: str, watched: Watched, window: str) -> Iterator[Rule]:
    name = f"{watched.level}:banjie_{rate}"
    for what in ("cases", "counted"):
        yield f"{name}:{what}_{window}", within(f"{name}:{what}", window)
    yield _ratio(name, window)
    if watched.level == "region_unit":
        for what in ("cases", "counted"):
            yield (
                f"region:banjie_{rate}:{what}_{window}",
                f"sum by (region) ({name}:{what}_{window})",
            )
        yield _ratio(f"region:banjie_{rate}", window)


def _ratio(name: str, window: str) -> Rule:
    return f"{name}:ratio_{window}", f"{name}:counted_{window} / ({name}:cases_{window} > 0)"


def _score(level: str) -> Rule:
    parts = (
        (WEIGHTS.response, "contact"),
        (WEIGHTS.satisfied, "weighed"),
        (WEIGHTS.solved, "solved"),
    )
    return (
        f"{level}:banjie_score:ratio_30d",
        "\n+ ".join(f"{weight} * {level}:banjie_{rate}:ratio_30d" for weight, rate in parts),
    )


def _worked() -> Iterator[Rule]:
    """Percentiles of the working time to a resolution. Without one there is no number, not NaN."""
    name = "channel_le:banjie_resolve_working_seconds:cases"
    yield f"{name}_30d", within(name, "30d")
    for share in ("0.5", "0.9"):
        yield (
            f"channel:banjie_resolve_working_seconds:p{share[2:]:0<2}_30d",
            f"histogram_quantile({share}, {name}_30d) >= 0",
        )


def groups() -> Mapping[tuple[str, str], list[Rule]]:
    """Return the recording rules in order, by name and interval of their group."""
    rates = {**WATCHED, **OWN}
    worked = "channel_le:banjie_resolve_working_seconds:cases"
    received = "channel:banjie_received:cases"
    found: dict[tuple[str, str], list[Rule]] = {
        ("banjie-totals", OFTEN): [
            *(rule for rate, watched in rates.items() for rule in _totals(rate, watched)),
            *_totals("on_time", BY_CHANNEL),
            (f"{worked}_total", total(WORKED, "channel_le")),
            (f"{worked}_base", base(worked)),
            (f"{received}_total", total(RECEIVED, "channel")),
            (f"{received}_base", base(received)),
        ]
    }
    for window in WINDOWS:
        often = OFTEN if window == "5m" else SELDOM
        found["banjie-rates-" + window, often] = [
            rule
            for rate, watched in rates.items()
            if window == "30d" or rate in WATCHED
            for rule in _windowed(rate, watched, window)
        ]
    found["banjie-rates-30d", SELDOM] += [_score("region_unit"), _score("region")]
    for often, windows in ((OFTEN, CHANNEL_WINDOWS[:5]), (SELDOM, CHANNEL_WINDOWS[5:])):
        found["banjie-channels-" + windows[-1], often] = [
            rule for window in windows for rule in _windowed("on_time", BY_CHANNEL, window)
        ]
    found["banjie-worked-30d", SELDOM] = list(_worked())
    found["banjie-received", SELDOM] = [
        (f"{received}_{window}", within(received, window)) for window in RECEIVED_WINDOWS
    ]
    return found


def text() -> str:
    """Return the file of rules."""
    lines = [_HEAD]
    for (name, often), rules in groups().items():
        lines.append(f"  - name: {name}\n    interval: {often}\n    rules:\n")
        for record, expression in rules:
            lines.append(f"      - record: {record}\n")
            if "\n" in expression:
                block = "".join(f"          {line}\n" for line in expression.splitlines())
                lines.append(f"        expr: |\n{block}")
            else:
                lines.append(f"        expr: '{expression}'\n")
    return "".join(lines)


if __name__ == "__main__":
    sys.stdout.write(text())
