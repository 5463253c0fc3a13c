"""The dashboards, held against a real Prometheus that scrapes a real demo.

Grafana itself does not run here: what its panels ask is asked of Prometheus as Grafana would.
"""

import json
import math
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import make_dashboards
import pytest
import yaml
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from routing_rules.clocks import load_timetable
from service.domain.calendar import SHANGHAI
from service.domain.kpi import RATES
from service.domain.ticket import Stage
from service.web.site import site
from tests.conftest import tool
from tests.process import environment, free_port, serving
from tests.served import sqlite

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
GRAFANA = DEPLOY / "grafana"
RULES = ("names.yml", "rates.yml", "objectives.yml", "alerts.yml")

Json = dict[str, Any]

BOARDS: dict[str, Json] = {
    path.stem: json.loads(path.read_text("utf-8"))
    for path in sorted((GRAFANA / "dashboards").glob("*.json"))
}
PANELS: list[tuple[str, Json]] = [
    (name, panel)
    for name, board in BOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
]
each_panel = pytest.mark.parametrize(
    ("board", "panel"), PANELS, ids=[f"{board}-{panel['id']}" for board, panel in PANELS]
)

# What Grafana fills in itself.
_BUILT_IN = {"__interval", "__rate_interval", "__data", "__field", "__url_time_range", "__all"}
# Panel types that Grafana has had for years, with the options that are used of each.
_PLAIN = {"stat", "timeseries", "table", "bargauge", "heatmap"}


def texts(value: Any) -> Iterator[str]:
    """Give every text within a piece of JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)


def asked_of(board: Json) -> set[str]:
    """Return the names of the variables that a dashboard mentions."""
    return {
        name
        for text in texts([board["panels"], board["links"], board["templating"]])
        # $1 is label_replace's.
        for name in re.findall(r"\$\{?([a-zA-Z_]\w*)", text)
    }


# What needs no run


def test_the_files_are_what_the_tables_make() -> None:
    made = make_dashboards.dashboards()
    assert {path.name for path in (GRAFANA / "dashboards").iterdir()} == set(made)
    for name, content in made.items():
        assert (GRAFANA / "dashboards" / name).read_text("utf-8") == make_dashboards.text(
            content
        ), "PYTHONPATH=deploy/prometheus python deploy/grafana/make_dashboards.py"


def test_addresses_and_numbers_are_given_once() -> None:
    assert {board["uid"] for board in BOARDS.values()} == {
        f"banjie-{name}" for name in ("region", "unit", "channel", "service")
    }
    for board in BOARDS.values():
        numbers = [panel["id"] for panel in board["panels"]]
        assert len(numbers) == len(set(numbers))
        taken: set[tuple[int, int]] = set()
        for place in (panel["gridPos"] for panel in board["panels"]):
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken
            assert all(x < make_dashboards.COLUMNS for x, _ in cells)
            taken |= cells


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_mentions_the_variables_that_it_has(name: str) -> None:
    board = BOARDS[name]
    had = {variable["name"] for variable in board["templating"]["list"]}
    mentioned = asked_of(board) - _BUILT_IN
    assert mentioned <= had
    assert had <= mentioned | {"datasource"}


@pytest.mark.parametrize("name", BOARDS)
def test_a_link_from_one_dashboard_to_another_fills_its_variables(name: str) -> None:
    for text in texts(BOARDS[name]):
        if not text.startswith("/d/"):
            continue
        uid, _, query = text.removeprefix("/d/").partition("?")
        target = BOARDS[uid.removeprefix("banjie-")]
        filled = set(re.findall(r"var-(\w+)=", query)) | set(
            re.findall(r"\$\{(\w+):queryparam\}", query)
        )
        assert filled == {variable["name"] for variable in target["templating"]["list"]}


@each_panel
def test_a_panel_says_what_it_shows_and_in_which_unit(board: str, panel: Json) -> None:
    assert panel["type"] in _PLAIN
    for said in (panel["title"], panel["description"]):
        assert re.search(r"[\u4e00-\u9fff]", said), said
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"]
    assert "noValue" in defaults
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    if defaults["unit"] == "percentunit":
        assert (defaults["min"], defaults["max"]) == (0, 1)
    if panel["type"] != "table":
        assert "decimals" in defaults or defaults["unit"] == "s"


def test_stages_have_the_desks_colours() -> None:
    style = (ROOT / "service/web/static/desk.css").read_text("utf-8")
    colours = make_dashboards.STAGE_COLOURS
    assert list(colours) == list(Stage)
    assert len(set(colours.values())) == len(colours)
    shared = {Stage.OVERDUE}  # the desk has one red for it and the red card
    assert all(colour in style for stage, colour in colours.items() if stage not in shared)


def test_a_figure_of_a_stage_turns_to_its_colour_from_one_on() -> None:
    seen: dict[str, int] = {}
    for _, panel in PANELS:
        stage = re.search(r'stage="(\w+)"', json.dumps(panel["targets"]).replace('\\"', '"'))
        if panel["type"] == "stat" and stage:
            colour = make_dashboards.STAGE_COLOURS[Stage(stage[1])]
            steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
            assert [(step["value"], step["color"]) for step in steps] == [
                (None, make_dashboards.STAGE_COLOURS[Stage.NORMAL]),
                (1, colour),
            ]
            seen[stage[1]] = seen.get(stage[1], 0) + 1
    # Of a region and of a unit.
    assert seen == dict.fromkeys(("warn", "overdue", "yellow", "red"), 2)


# Every series is of tickets or of what is sent about them, but for those of the service itself.
_OF_TICKETS = re.compile(r"banjie_(?!(http|intake|source|scheduler|outbox|calendar|clock|name)\w*)")
# It compares what replicas show; that they show tickets is by the way.
_OF_REPLICAS = "副本相差"


def desk_links(panel: Json) -> list[str]:
    """Return the paths on the desk to which a panel's figures lead."""
    return [
        text.removeprefix("${desk:raw}")
        for text in texts(panel["fieldConfig"])
        if text.startswith("${desk:raw}")
    ]


@pytest.mark.parametrize("board", BOARDS)
def test_every_panel_about_tickets_leads_to_the_desk(board: str) -> None:
    about = [
        panel
        for name, panel in PANELS
        if name == board
        and panel["title"] != _OF_REPLICAS
        and any(_OF_TICKETS.search(target["expr"]) for target in panel["targets"])
    ]
    assert len(about) >= {"region": 17, "unit": 18, "channel": 12, "service": 2}[board]
    assert [panel["title"] for panel in about if not desk_links(panel)] == []


_ROUTES: list[APIRoute] = [
    route
    for each in site().routes
    for route in getattr(getattr(each, "original_router", None), "routes", [each])
    if isinstance(route, APIRoute)
]


def _lead_to(path: str) -> APIRoute:
    found = [r for r in _ROUTES if "GET" in (r.methods or ()) and r.path_regex.match(path)]
    assert found, path
    return found[0]


def _asked(dependant: Dependant) -> Iterator[str]:
    """Give the names of what a page reads from the query of its address."""
    yield from (each.alias for each in dependant.query_params)
    for each in dependant.dependencies:
        yield from _asked(each)


@each_panel
def test_a_link_to_the_desk_leads_to_a_page_that_has_its_filter(board: str, panel: Json) -> None:
    for link in desk_links(panel):
        path, _, query = link.partition("?")
        route = _lead_to(path)
        known = set(_asked(route.dependant))
        assert {pair.partition("=")[0] for pair in query.split("&") if pair} <= known, link
        if board in {"unit", "channel"} and "/desk/figures" not in path:
            assert f"{board}=${{{board}}}" in query, "what the dashboard is of"


def test_a_rate_on_time_turns_at_the_objective() -> None:
    told = (DEPLOY / "prometheus" / "objectives.yml").read_text("utf-8")
    aimed = make_dashboards.OBJECTIVE
    assert f"\n          {aimed} * group by (region, channel)" in told
    seen = []
    for board, panel in PANELS:
        defaults = panel["fieldConfig"]["defaults"]
        said = [*panel["fieldConfig"]["overrides"], {"properties": [{"id": "all", "value": ""}]}]
        columns = [
            {each["id"]: each["value"] for each in override["properties"]} for override in said
        ]
        if panel["type"] != "table" and re.search(
            r"banjie_\((\w+\|)*on_time[|)].*:counted", json.dumps(panel["targets"])
        ):
            steps = defaults["thresholds"]["steps"]
            if panel["type"] == "timeseries":
                assert defaults["custom"]["thresholdsStyle"]["mode"] == "dashed"
        elif named := [c for c in columns if c.get("displayName") == RATES["on_time"].name]:
            steps = named[0]["thresholds"]["steps"]
        else:
            continue
        assert [step["value"] for step in steps] == [None, aimed]
        seen.append((board, panel["type"]))
    assert sorted(seen) == [
        ("channel", "stat"),
        ("channel", "timeseries"),
        ("region", "table"),
        ("region", "timeseries"),
        ("unit", "timeseries"),
    ]


# Panels that turn red where an alert begins, and what the alert's condition says.
LIMITS: list[tuple[str, str, float]] = [
    ("定时任务滞后", 'banjie_scheduler_lag_seconds{job="banjie"}) > 60', 60),
    ("最久未投递", "banjie_outbox_oldest_seconds) > 3600", 3600),
    ("日历剩余天数", 'banjie_calendar_days_left{job="banjie"}) < 60', 60),
    ("失败比例", 'route!="/readyz"}[5m])) > 0.05', 0.05),
    ("收单响应时间", 'method="POST"}[10m]))) > 1\n', 1),
    ("投递失败", 'banjie_deliveries{state="dead"}) > 0', 1),
]


@pytest.mark.parametrize(("title", "condition", "limit"), LIMITS)
def test_a_limit_is_that_of_the_alert(title: str, condition: str, limit: float) -> None:
    assert condition in (DEPLOY / "prometheus" / "alerts.yml").read_text("utf-8")
    shown = [panel for _, panel in PANELS if panel["title"] == title]
    assert shown
    for panel in shown:
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][-1]["value"] == limit


def test_grafana_finds_the_dashboards_and_the_data_source() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    grafana = compose["services"]["grafana"]
    mounts: dict[str, tuple[Path, str]] = {
        inside: (DEPLOY / outside, mode)
        for outside, inside, mode in (
            mount.split(":") for mount in grafana["volumes"] if mount.startswith(".")
        )
    }
    assert all(mode == "ro" for _, mode in mounts.values())

    def outside(path: str) -> Path:
        for inside, (folder, _) in mounts.items():
            if path.startswith(inside):
                return folder / path.removeprefix(inside).lstrip("/")
        raise AssertionError(path)

    provisioning = "/etc/grafana/provisioning"
    (provider,) = yaml.safe_load(
        outside(f"{provisioning}/dashboards/banjie.yml").read_text("utf-8")
    )["providers"]
    assert outside(provider["options"]["path"]).resolve() == (GRAFANA / "dashboards").resolve()
    home = outside(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert json.loads(home.read_text("utf-8"))["uid"] == "banjie-region"
    (source,) = yaml.safe_load(
        outside(f"{provisioning}/datasources/banjie.yml").read_text("utf-8")
    )["datasources"]
    host, _, port = source["url"].removeprefix("http://").partition(":")
    assert compose["services"][host]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert source["isDefault"]
    scraped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8"))
    assert source["jsonData"]["timeInterval"] == scraped["global"]["scrape_interval"]


def test_a_unit_has_one_name_and_its_code_where_it_has_none(tmp_path: Path) -> None:
    info = 'banjie_unit_info{job="banjie",region="360732",'
    tests = {
        "rule_files": [str(DEPLOY / "prometheus" / "names.yml")],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": series, "values": "1 1 1"}
                    for series in (
                        # Two replicas, of which one has newer rules.
                        info + 'instance="a",unit="360732-housing",name="住建局"}',
                        info + 'instance="b",unit="360732-housing",name="住房和城乡建设局"}',
                        'banjie_tickets_open{job="banjie",unit="360732-housing",state="signed"}',
                        'banjie_tickets_open{job="banjie",unit="360732-gone",state="signed"}',
                        'banjie_tickets_open{job="banjie",state="sorting"}',
                    )
                ],
                "promql_expr_test": [
                    {
                        "expr": "count by (unit) (unit:banjie_name:info)",
                        "eval_time": "2m",
                        "exp_samples": [
                            {"labels": f'{{unit="360732-{unit}"}}', "value": 1}
                            for unit in ("housing", "gone")
                        ],
                    },
                    {
                        "expr": 'unit:banjie_name:info{unit="360732-gone"}',
                        "eval_time": "2m",
                        "exp_samples": [
                            {
                                "labels": "unit:banjie_name:info"
                                '{unit="360732-gone",name="360732-gone"}',
                                "value": 1,
                            }
                        ],
                    },
                ],
            }
        ],
    }
    file = tmp_path / "names.yml"
    file.write_text(yaml.safe_dump(tests, allow_unicode=True), "utf-8")
    ran = subprocess.run(
        [tool("promtool"), "test", "rules", file], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


# What needs a demo and a Prometheus: one of each for all

REGION = "360732"
UNIT = f"{REGION}-urban_management"
OTHER = f"{REGION}-housing_construction"


@dataclass
class Living:
    """A demo that was acted on while a Prometheus watched."""

    desk: httpx.Client
    prometheus: httpx.Client
    began: float

    def ask(self, path: str, **parameters: Any) -> Any:
        """Return the data of an answer of Prometheus, which must be a success."""
        answer = self.prometheus.get(f"/api/v1/{path}", params=parameters)
        assert answer.status_code == 200, f"{answer.text}\n{parameters}"
        return answer.json()["data"]

    def wait_for(self, query: str) -> None:
        """Wait until a query gives something."""
        end = time.monotonic() + 40
        while time.monotonic() < end:
            with suppress(httpx.TransportError):
                answer = self.prometheus.get("/api/v1/query", params={"query": query})
                # 503 while it starts.
                if answer.status_code == 200 and answer.json()["data"]["result"]:
                    return
            time.sleep(0.2)
        raise AssertionError(f"Prometheus never knew {query}")

    def worked_out(self, since: float) -> None:
        """Wait until every rule has been worked out since then."""
        end = time.monotonic() + 120
        while time.monotonic() < end:
            groups = self.ask("rules")["groups"]
            at = [datetime.fromisoformat(group["lastEvaluation"]) for group in groups]
            if min(at).timestamp() > since:
                return
            time.sleep(0.2)
        raise AssertionError("a group of rules was not worked out")


@contextmanager
def _watched(address: str, folder: Path) -> Iterator[httpx.Client]:
    """Run Prometheus with the shipped configuration but for the address and a quicker beat."""
    for name in ("prometheus.yml", *RULES):
        text = (DEPLOY / "prometheus" / name).read_text("utf-8")
        text = text.replace("banjie:8000", address.removeprefix("http://"))
        text = text.replace(
            "scrape_interval: 15s", "scrape_interval: 2s\n  evaluation_interval: 2s"
        )
        text = re.sub(r"^(    interval: )\d+m$", r"\g<1>2s", text, flags=re.MULTILINE)
        # Half the interval: what was recorded the time before.
        text = text.replace("offset 30s", "offset 1s")
        (folder / name).write_text(text, "utf-8")
    port = free_port()
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                tool("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client
    finally:
        process.terminate()
        process.wait(30)


class _Clerk:
    """Does what people do to tickets, through the API."""

    def __init__(self, api: httpx.Client, tokens: dict[str, str]) -> None:
        self._api = api
        self._tokens = tokens
        self._at = datetime.now(SHANGHAI)
        self._number = 0

    def _by(self, role: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._tokens[role]}"}

    def _receive(self, source: str, payload: Json) -> Json:
        answer = self._api.post(f"/v1/intake/{source}", json=payload, headers=self._by("admin"))
        assert answer.status_code == 201, answer.text
        ticket: Json = answer.json()["ticket"]
        return self.act(ticket, "dispatch", unit=UNIT, reason="按职责派单")

    def call(self, ago: timedelta = timedelta(0), left: timedelta | None = None) -> Json:
        """Return a ticket of the hotline that the unit has, accepted so long ago, with so much left of
        the hotline's own limit if it sets one."""
        self._number += 1
        limit = {} if left is None else {"replyDeadline": f"{self._at + left:%Y-%m-%d %H:%M:%S}"}
        return self._receive(
            "hotline-12345",
            {
                "workOrderNo": f"XG{self._at:%Y%m%d%H%M%S}{self._number:02}",
                "acceptTime": f"{self._at - ago:%Y-%m-%d %H:%M:%S}",
                **limit,
                "source": "电话",
                "appealTypeName": "投诉",
                "urgency": "一般",
                "title": "路灯不亮",
                "content": f"圩镇主街第{self._number}盏路灯坏了十来天，晚上看不清路。",
                "address": "高兴镇圩镇主街",
                "contactName": "李某",
                "contactPhone": f"138000980{self._number:02}",
                "areaCode": REGION,
                "areaName": "兴国县",
            },
        )

    def review(self) -> Json:
        """Return the ticket of a bad review that the unit has."""
        sample = json.loads((ROOT / "tests/samples/haochaping.json").read_text("utf-8"))
        payload = next(each for each in sample if each["satisfaction"] in {1, 2, "1", "2"})
        self._number += 1
        told = {
            "assessTime": f"{self._at:%Y-%m-%d %H:%M:%S}",
            "evaluateId": f"HCP{self._at:%Y%m%d%H%M%S}",
        }
        return self._receive("haochaping", payload | told)

    def act(self, ticket: Json, act: str, *, by: str = "admin", **fields: Any) -> Json:
        """Return the ticket after an act."""
        answer = self._api.post(
            f"/v1/tickets/{ticket['no']}/acts",
            json={"act": act, **fields},
            headers={"If-Match": str(ticket["version"]), **self._by(by)},
        )
        assert answer.status_code == 200, f"{act}: {answer.text}"
        after: Json = answer.json()["ticket"]
        return after

    def resolve(self, ticket: Json) -> Json:
        """Sign, call and resolve."""
        ticket = self.act(ticket, "sign")
        ticket = self.act(ticket, "contact", text="已联系")
        return self.act(ticket, "resolve", public_reply="已修复", internal_finding="", solved=True)

    def finish(self, ticket: Json, *, grade: int) -> Json:
        """Call back and close."""
        ticket = self.act(ticket, "call_back", reached=True, solved=grade > 2, grade=grade, text="")
        return self.act(ticket, "close")

    def day(self) -> None:
        """Do a little of everything."""
        self.finish(self.resolve(self.call()), grade=5)
        extended = self.act(self.call(), "sign")
        extended = self.act(extended, "contact", text="已联系")
        extended = self.act(extended, "request_extension", amount="1 工作日", reason="等待配件")
        # Nobody decides on an extension of their own.
        extended = self.act(extended, "decide_extension", by="supervisor", granted=True, reason="")
        self.act(extended, "resolve", public_reply="已修复", internal_finding="", solved=True)
        back = self.act(self.call(), "send_back", reason="不属于本单位", basis="三定方案")
        back = self.act(back, "dispatch", unit=OTHER, reason="改派")
        again = self.finish(self.resolve(back), grade=2)
        self.act(again, "reopen", reason="没有解决")
        self.act(self.call(), "merge", into=self.call()["no"], reason="同一件事")
        self.resolve(self.review())
        # A ticket at each stage, whatever the hour: what a demo brings of itself is at other stages
        # after a weekend. Two working days and a little are most of the time until the hotline's own
        # limit, and within the unit's own five.
        calendar, today = load_timetable().calendar, self._at.date()
        begun = (timedelta(days=n) for n in range(4, 30))
        ago = next(ago for ago in begun if calendar.working_days(today - ago, today) > 1)
        self.call(ago, timedelta(hours=2))
        self.call(timedelta(hours=6), timedelta(hours=-1))
        for level in ("yellow", "red"):
            self.act(self.call(), "supervise", level=level, text="群众等不及，尽快答复")


def ways_in(printed: str) -> tuple[str, dict[str, str]]:
    """Return of what a demo prints the administrator's link, and a token of each role."""
    words = [line.split() for line in printed.splitlines() if "\t" in line]
    (link,) = [w[2] for w in words if w[1] == "admin" and "/desk/enter/" in w[2]]
    return link, {w[1]: w[2] for w in words if w[2].startswith("bj_")}


@contextmanager
def living(folder: Path) -> Iterator[Living]:
    """Run a demo and a Prometheus that watches it through a day's work."""
    env = environment(sqlite(folder), BANJIE_FIGURES_SECONDS="1")
    with serving(env, folder, "--demo") as server:
        printed = (folder / "server.log").read_text("utf-8")
        link, tokens = ways_in(printed)
        began = time.time()
        with (
            _watched(server.address, folder) as prometheus,
            httpx.Client(base_url=server.address, follow_redirects=True, timeout=30) as desk,
        ):
            running = Living(desk, prometheus, began)
            form = re.search(r'name="form_token" value="(\w+)"', desk.get(link).text)
            assert form
            filled_in = {"form_token": form[1]}
            entered = desk.post(link, data=filled_in, headers={"Origin": server.address})
            assert entered.status_code == 200, entered.text
            # What is seen for the first time is where counting begins, of requests too.
            clerk = _Clerk(desk, tokens)
            clerk.call()
            running.wait_for('rate(banjie_http_request_seconds_count{route=~".*/intake/.*"}[9s])')
            running.wait_for("region_unit:banjie_on_time:cases_total offset 5s")
            clerk.day()
            running.wait_for("region:banjie_called_back:cases_30d > 0")
            for stage in Stage:
                running.wait_for(f'banjie_milestones_open{{stage="{stage}", unit="{UNIT}"}} > 0')
            # A round may be of the moment before, and some rules are of what others recorded.
            for _ in range(3):
                running.worked_out(time.time())
            yield running


def filled(text: str, **values: str) -> str:
    """Return a text as Grafana fills it in."""
    every = {
        "region": ".+",
        "unit": UNIT,
        "channel": "hotline-12345",
        "window": "30d",
        "floor": "1",
        "__interval": "4s",
        "__rate_interval": "20s",
    } | values
    for name, value in every.items():
        text = re.sub(rf"\$(?:{name}\b|\{{{name}(?::\w+)?\}})", value.replace("\\", r"\\"), text)
    assert not re.search(r"\$\{?[a-zA-Z_]", text), text
    return text


def figures(living: Living, target: Json, **values: str) -> list[float]:
    """Return every number that a query of a panel gives."""
    query = filled(target["expr"], **values)
    if target.get("instant"):
        found = living.ask("query", query=query)["result"]
        samples = [each["value"] for each in found]
    else:
        at = {"start": living.began, "end": time.time(), "step": "4s"}
        found = living.ask("query_range", query=query, **at)["result"]
        samples = [sample for each in found for sample in each["values"]]
    return [float(value) for _, value in samples if not math.isnan(float(value))]


def every_query_gives_figures(living: Living, panel: Json) -> None:
    for target in panel["targets"]:
        for window in ("30d", "1d"):
            for region in (".+", REGION):
                found = figures(living, target, window=window, region=region)
                assert found, f"{panel['title']}: {filled(target['expr'], window=window)}"
                if panel["fieldConfig"]["defaults"]["unit"] == "percentunit":
                    assert panel["type"] == "table" or all(0 <= value <= 1 for value in found)


def bars_add_up_to_what_happened(living: Living) -> None:
    """The clerk took nine calls; more came by themselves."""
    (panel,) = (
        p for name, p in PANELS if name == "channel" and p["title"].startswith("受理量（按诉求")
    )
    (shown,) = panel["targets"]
    bars = figures(living, shown)
    assert all(bar == int(bar) for bar in bars)
    assert 9 <= sum(bars) < 44


def the_tables_have_every_rate_that_is_recorded(living: Living, board: str, level: str) -> None:
    expected = set(make_dashboards.known(level, RATES))
    if board == "unit":
        expected.remove("called_back")  # counts for the office that calls
    for column in (0, 1):
        shown = {
            row["metric"]["rate"]
            for name, panel in PANELS
            if name == board and panel["title"].startswith("指标（")
            for row in living.ask("query", query=filled(panel["targets"][column]["expr"]))["result"]
        }
        assert shown == expected


def a_rate_of_too_few_cases_is_not_shown(living: Living) -> None:
    for name, panel in PANELS:
        if name == "region" and panel["title"].startswith("指标（"):
            cases, ratio = panel["targets"]
            assert figures(living, cases, floor="1000")
            assert not figures(living, ratio, floor="1000")


def the_variables_have_values(living: Living, name: str) -> None:
    chosen = {
        "region": REGION,
        "unit": UNIT,
        "channel": "hotline-12345",
    }
    for variable in BOARDS[name]["templating"]["list"]:
        if variable["type"] != "query":
            continue
        query = filled(variable["query"]["query"])
        values = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
        if values:
            found = living.ask(f"label/{values[2]}/values", **{"match[]": values[1]})
        else:
            result = re.fullmatch(r"query_result\((.+)\)", query)
            assert result, query
            pattern = re.compile(variable["regex"].strip("/").replace("(?<", "(?P<"))
            found = []
            called = {}
            for row in living.ask("query", query=result[1])["result"]:
                # As Grafana writes a sample, for the pattern to take apart.
                labels = ",".join(f'{k}="{v}"' for k, v in row["metric"].items() if k != "__name__")
                text = f"{row['metric'].get('__name__', '')}{{{labels}}} {row['value'][1]}"
                match = pattern.search(text)
                assert match, text
                found.append(match["value"])
                called[match["value"]] = match["text"]
            assert called[UNIT] == "兴国县城市管理局"
        assert chosen[variable["name"]] in found
        assert len(found) == len(set(found))


# What stands at a series that a link is of; deliveries have states of their own.
_LABELS = {
    "stage": "overdue",
    "channel": "hotline-12345",
    "kind": "complaint",
    "rate": "on_time",
}


def the_links_to_the_desk_lead_somewhere(living: Living) -> None:
    paths = set()
    for board in BOARDS.values():
        for text in texts([board["panels"], board["links"]]):
            if text.startswith("${desk:raw}"):
                path = text.removeprefix("${desk:raw}")
                path = path.replace("${__data.fields.unit}", UNIT)
                state = "pending" if path.startswith("/desk/deliveries") else "signed"
                for label, value in {**_LABELS, "state": state}.items():
                    path = path.replace(f"${{__field.labels.{label}}}", value)
                paths.add(filled(path))
    assert len(paths) > 10
    for path in sorted(paths):
        assert living.desk.get(path).status_code == 200, path
        assert living.desk.get(path).url.path != "/desk/sign-in"


def prometheus_sees_the_service_and_can_work_out_every_rule(living: Living) -> None:
    targets = living.ask("targets")["activeTargets"]
    assert [(target["health"], target["lastError"]) for target in targets] == [("up", "")]
    groups = living.ask("rules")["groups"]
    assert {Path(group["file"]).name for group in groups} == set(RULES)
    wrong = [
        (rule["name"], rule["health"], rule.get("lastError"))
        for group in groups
        for rule in group["rules"]
        if rule["health"] != "ok"
    ]
    assert not wrong


def the_series_have_the_labels_that_are_counted_by(living: Living) -> None:
    of_the_scrape = {"__name__", "instance", "job"}
    for name, labels in make_dashboards.SERIES.items():
        # A label that is empty is none.
        found = {label for each in living.ask("series", **{"match[]": name}) for label in each}
        assert not found or found - of_the_scrape == set(labels), name
    shown = set(living.ask("label/__name__/values"))
    assert set(make_dashboards.SERIES) <= shown | {
        # Of lists with rows that were refused, and of sources that failed; none here.
        "banjie_source_rejected_rows",
        "banjie_source_failures",
    }


# Half a minute is the demo's own start; a busy machine takes some.
@pytest.mark.slow
def test_a_prometheus_that_watches_a_demo_fills_the_dashboards(
    tmp_path: Path, subtests: pytest.Subtests
) -> None:
    """One start for all: whatever runs the tests, on however many cores."""
    tool("prometheus")
    with living(tmp_path) as running:
        for board, panel in PANELS:
            with subtests.test(f"{board}: {panel['title']}"):
                every_query_gives_figures(running, panel)
        for board, level in (("region", "region"), ("unit", "region_unit")):
            with subtests.test(f"rates of {board}"):
                the_tables_have_every_rate_that_is_recorded(running, board, level)
        for name in BOARDS:
            with subtests.test(f"variables of {name}"):
                the_variables_have_values(running, name)
        for check in (
            bars_add_up_to_what_happened,
            a_rate_of_too_few_cases_is_not_shown,
            the_links_to_the_desk_lead_somewhere,
            prometheus_sees_the_service_and_can_work_out_every_rule,
            the_series_have_the_labels_that_are_counted_by,
        ):
            with subtests.test(check.__name__):
                check(running)
