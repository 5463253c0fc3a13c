"""The rules of Prometheus are what the table says, cover every rate, and name series that exist."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import make_rules
import yaml

from service.domain.kpi import RATES
from tests.test_docs import rows

PROMETHEUS = Path(__file__).parents[1] / "deploy" / "prometheus"


def recorded() -> Iterator[tuple[str, str]]:
    """Give name and expression of every recording rule."""
    for file in ("rates.yml", "objectives.yml"):
        for group in yaml.safe_load((PROMETHEUS / file).read_text("utf-8"))["groups"]:
            yield from ((rule["record"], rule["expr"]) for rule in group["rules"])


def test_the_file_is_what_the_table_makes() -> None:
    assert (PROMETHEUS / "rates.yml").read_text("utf-8") == make_rules.text(), (
        "python deploy/prometheus/make_rules.py > deploy/prometheus/rates.yml"
    )


def test_the_table_covers_every_rate() -> None:
    assert list(make_rules.WATCHED) == list(RATES)


def test_every_rate_is_recorded_by_region_and_where_it_can_be_by_unit() -> None:
    names = [name for name, _ in recorded()]
    assert len(names) == len(set(names))
    for rate, watched in make_rules.WATCHED.items():
        for level in dict.fromkeys(("region", watched.level)):
            for window in ("5m", "1d", "30d"):
                assert f"{level}:banjie_{rate}:ratio_{window}" in names
                assert f"{level}:banjie_{rate}:cases_{window}" in names
    units = {rate for rate, watched in make_rules.WATCHED.items() if watched.level == "region_unit"}
    assert set(RATES) - units == {"completion", "repeated"}, "received and merged tell no unit"


def test_a_replica_is_never_added_to_another() -> None:
    for name, expression in recorded():
        for series in re.finditer(r"\bbanjie_\w+(?=\{)", expression):
            before = expression[: series.start()]
            assert re.search(r"max by \([\w, ]+\) \($", before), f"{name}: {series[0]}"


def test_where_a_rate_differs_from_what_is_published_is_told() -> None:
    assert [row[0] for row in rows("docs/monitoring.md", "## Watched and published")] == [
        f"`{rate}`" for rate in RATES
    ]


def test_every_alert_is_listed_with_its_severity() -> None:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text("utf-8"))["groups"]
    assert [tuple(row[:2]) for row in rows("docs/monitoring.md", "## Alerts")] == [
        (f"[{rule['alert']}](runbooks/{rule['alert']}.md)", rule["labels"]["severity"])
        for group in groups
        for rule in group["rules"]
    ]


def test_what_it_costs_is_told() -> None:
    counted = Counter(
        (name.partition(":")[0], often)
        for (_, often), rules in make_rules.groups().items()
        for name, _ in rules
    )
    levels = ("region_unit", "region", "channel")
    assert [row[1:] for row in rows("docs/monitoring.md", "## What it costs")] == [
        [f"{counted[level, often]} series" for often in ("1m", "4m")] for level in levels
    ]
