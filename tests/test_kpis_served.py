"""The rates over HTTP and on the command line: scope, refusals, and the same figures."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from service.cli import app
from service.domain.complaint import Decision, Kind
from service.domain.lifecycle import State
from service.domain.ticket import DeliveryState, MilestoneKind, Outcome, Stage
from service.store.tallies import fold
from service.terminal import Refused
from tests.served import Served, served, sqlite

_NOVEMBER = "from=2026-11-01&to=2026-11-30"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(sqlite(tmp_path_factory.mktemp("kpis"))) as service:
        for channel in ("hotline-12345", "wenzheng-jiangxi", "haochaping"):
            payloads = json.loads(Path(f"tests/samples/{channel}.json").read_text("utf-8"))
            for payload in payloads:
                assert service.post(f"/v1/intake/{channel}", payload, channel).status_code == 201
        yield service


def _kpis(running: Served, query: str = _NOVEMBER, who: str = "admin") -> Any:
    answer = running.get(f"/v1/kpis?{query}", who)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_month_that_is_not_over_is_provisional(running: Served) -> None:
    found = _kpis(running)
    assert found["provisional"] == "期间到 2026-11-30 结束，本表只到 2026-11-20 为止可定，为暂定数"
    assert (found["from"], found["to"], found["by"]) == ("2026-11-01", "2026-11-30", "unit")
    total = found["total"]["rates"]["completion"]
    assert total["denominator"] > 0
    assert {out["reason"] for out in total["left_out"]} == {"merged", "referred", "unworked"}
    assert _kpis(running, "from=2026-10-01&to=2026-10-31")["provisional"] is None


@pytest.mark.parametrize("by", ["unit", "channel", "kind", "day", "month"])
def test_the_total_is_the_same_whatever_it_is_told_by(running: Served, by: str) -> None:
    found = _kpis(running, f"{_NOVEMBER}&by={by}")
    assert found["total"]["rates"] == _kpis(running)["total"]["rates"]
    rows = [row["rates"]["completion"]["denominator"] for row in found["items"]]
    assert sum(rows) == found["total"]["rates"]["completion"]["denominator"]
    if by == "kind":
        assert "投诉" in {row["name"] for row in found["items"]}


def test_one_rate_alone_is_the_one_among_all(running: Served) -> None:
    alone = _kpis(running, f"{_NOVEMBER}&rate=on_time")
    assert list(alone["total"]["rates"]) == ["on_time"]
    assert [each["name"] for each in alone["definitions"]] == ["按时办结率"]
    assert alone["total"]["rates"]["on_time"] == _kpis(running)["total"]["rates"]["on_time"]


def test_a_region_without_tickets_has_no_rates_and_says_so(running: Served) -> None:
    found = _kpis(running, f"{_NOVEMBER}&region=360302")
    assert (found["region_name"], found["items"]) == ("萍乡市安源区", [])
    nothing = found["total"]["rates"]["on_time"]
    assert (nothing["denominator"], nothing["value"], nothing["low"]) == (0, None, None)


def test_callers_see_what_is_theirs(running: Served) -> None:
    theirs = _kpis(running, who="handler")
    assert {row["key"] for row in theirs["items"]} <= {"360732-market_regulation"}
    assert _kpis(running, who="supervisor")["region"] == "360732"
    for who, query in (
        ("hotline-12345", _NOVEMBER),
        ("stranger", f"{_NOVEMBER}&region=360732"),
        ("supervisor", f"{_NOVEMBER}&region=360700"),
    ):
        assert running.get(f"/v1/kpis?{query}", who).status_code == 403
    assert running.client.get(f"/v1/kpis?{_NOVEMBER}").status_code == 401


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("from=2026-11-30&to=2026-11-01", "/to"),
        ("from=2026-12-01&to=2026-12-31", "/from"),
        ("from=2000-01-01&to=2001-01-01", "/from"),
        ("from=2002-01-01&to=2026-01-01", "/to"),
        ("from=2025-01-01&to=2026-11-01&by=day", "/to"),
        ("from=2026-11-01T00:00:00Z&to=2026-11-30", "/from"),
        ("from=2026-11-01&to=30.11.2026", "/to"),
        ("from=2026-02-30&to=2026-11-30", "/from"),
        (f"{_NOVEMBER}&as_of=2026-12-01", "/as_of"),
        (f"{_NOVEMBER}&as_of=2026-10-01", "/as_of"),
        (f"{_NOVEMBER}&region=999999", "/region"),
        (f"{_NOVEMBER}&rate=happiness", "/rate"),
    ],
)
def test_what_cannot_be_told_is_refused_with_its_reason(
    running: Served, query: str, pointer: str
) -> None:
    answer = running.get(f"/v1/kpis?{query}")
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert problem["type"] == "urn:banjie:problem:period"
    assert pointer in {each["pointer"] for each in problem["errors"]}


def test_the_command_line_tells_the_same_and_proves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = sqlite(tmp_path)
    with served(url) as service:
        for payload in json.loads(Path("tests/samples/hotline-12345.json").read_text("utf-8")):
            service.post("/v1/intake/hotline-12345", payload, "hotline-12345")
        asked = _kpis(service)
    monkeypatch.setenv("BANJIE_DATABASE_URL", url)
    november = ["kpi", "--from", "2026-11-01", "--to", "2026-11-30"]
    told = CliRunner().invoke(app, [*november, "--json"])
    assert told.exit_code == 0, told.output
    rates = json.loads(told.stdout)["total"]["rates"]
    assert {n: rates[n] for n in _UNTIMED} == {n: asked["total"]["rates"][n] for n in _UNTIMED}
    proof = CliRunner().invoke(app, ["kpi", "recount", "--json"])
    assert (proof.exit_code, json.loads(proof.stdout)["differences"]) == (0, [])
    wrong = CliRunner().invoke(app, ["kpi", "--from", "2026-11-31", "--to", "2026-11-30"])
    assert isinstance(wrong.exception, Refused)
    assert (str(wrong.exception), wrong.exception.code) == ("--from：应为日期，例如 2026-10-01", 2)
    wrong = CliRunner().invoke(app, [*november, "--by", "foo"])
    assert isinstance(wrong.exception, Refused)
    assert "--by 应为 unit、channel、kind、region、day、month 之一" in str(wrong.exception)
    by_code, by_name = (
        CliRunner().invoke(app, [*november, "--region", region, "--json"]).stdout
        for region in ("360732", "兴国县")
    )
    assert by_code == by_name != ""
    nowhere = CliRunner().invoke(app, [*november, "--region", "火星"]).exception
    assert isinstance(nowhere, Refused)
    assert "没有这个地区" in str(nowhere)


# What does not depend on the day on which it is asked.
_UNTIMED = ("completion", "first_right", "sent_back", "repeated")


# What Prometheus is shown

_SAMPLE = re.compile(r"^(\w+)(?:{(.*)})? \S+$")


def _labels(text: str) -> dict[str, set[str]]:
    """Return the values of each label of a text of metrics."""
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            sample = _SAMPLE.match(line)
            assert sample, line
            for name, value in re.findall(r'(\w+)="([^"]*)"', sample[2] or ""):
                found.setdefault(name, set()).add(value)
    return found


def test_no_caller_adds_a_value_to_a_label(running: Served) -> None:
    odd = {
        "workOrderNo": 'N{"}',
        "orderType": "新诉求类型",
        "areaCode": "999999",
        "areaName": "某地",
        "source": "随意",
        "urgency": "十万火急",
        "title": "标题",
        "content": '内容"} 1\n',
    }
    for n in range(3):
        running.post("/v1/intake/hotline-12345", odd | {"workOrderNo": f"ODD{n}"}, "hotline-12345")
        running.post(f"/v1/intake/unknown{n}", odd, "hotline-12345")
        running.get(f"/nowhere/{n}?token=secret{n}")
        running.client.request(f"BREW{n}", f"/v1/tickets/360732-20261121-9999{n}")
    book, found = running.parts.router, _labels(running.client.get("/metrics").text)
    units = {unit.code: unit.name for unit in book.units()}
    application: Any = running.client.app
    asked_for = {*application.openapi()["paths"]}
    known: dict[str, set[str]] = {
        "region": {unit.region for unit in book.units()},
        "unit": set(units),
        "name": set(units.values()),
        "channel": {source.channel for source in running.parts.sources.values()},
        "source": set(running.parts.sources),
        "kind": set(Kind),
        "decision": {*Decision, "counted", "imported", "granted", "refused"},
        "state": {*State, *DeliveryState},
        "stage": set(Stage),
        "milestone": set(MilestoneKind),
        "outcome": {Outcome.ON_TIME, Outcome.LATE, Outcome.MISSED},
        "solved": {"true", "false", ""},
        "grade": {"", *"12345"},
        "upheld": {"true", "false"},
        "method": {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"},
        "route": {"unmatched", "/desk", *asked_for},
    }
    assert {name: values - known[name] for name, values in found.items() if name in known} == {
        name: set() for name in found if name in known
    }
    assert set(found) - set(known) == {"status", "le"}
    assert all(re.fullmatch(r"[1-5]\d\d", status) for status in found["status"])


def test_every_replica_shows_the_same_whoever_folded_what(migrated_url: str) -> None:
    (first, *_) = json.loads(Path("tests/samples/hotline-12345.json").read_text("utf-8"))

    def totals(text: str) -> set[str]:
        of_a_process = ("#", "banjie_http_", "banjie_clock_set_back", "banjie_intake_batch")
        return {line for line in text.splitlines() if not line.startswith(of_a_process)}

    with served(migrated_url) as one, served(migrated_url) as other:
        for n in range(4):
            posted = first | {"workOrderNo": f"R{n}"}
            assert one.post("/v1/intake/hotline-12345", posted, "hotline-12345").status_code == 201
            texts = [each.client.get("/metrics").text for each in (one, other)]
            assert totals(texts[0]) == totals(texts[1])
            one.run(lambda parts: parts.store.run(lambda c: fold(c, 1)))
            assert totals(other.client.get("/metrics").text) == totals(texts[0])
        assert "banjie_tickets_received_total{" in texts[0]
