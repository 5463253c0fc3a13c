"""The rules of Prometheus are what the table says, cover every rate, and name series that exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import make_rules
import yaml

from service.domain.kpi import RATES

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
