"""What a running service takes in without a restart: rulings as precedents, a new year's calendar."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import structlog

from routing_rules.calendars import DATA, load_country
from routing_rules.clocks import load_timetable
from routing_rules.proposed import Proposed
from routing_rules.rulebook import Precedent
from service.desk import Desk, Order
from service.domain.calendar import SHANGHAI
from service.domain.complaint import Complaint, Decision, EvidenceKind
from service.domain.deadline import due, parse_limit
from service.domain.ticket import Ticket
from service.refresh import Freshness
from service.store import Store, tickets
from service.store.tallies import recount
from tests.process import Server, banjie, environment, free_port, in_snapshot
from tests.served import rules, served
from tests.test_desk import NOW, Run
from tests.test_process import admin_token
from tests.worlds import ADMIN, at, complaint

XINGGUO = "360732"
FORESTRY = f"{XINGGUO}-forestry"
SAID = {"title": "江边步道的灯坏了", "content": "江边步道的灯坏了半个月，晚上散步的老人看不清路"}


def desk_and_fresh(store: Store, overlay: Path | None = None) -> tuple[Desk, Freshness]:
    book, times = rules(None)
    desk = Desk(store, book, times)
    return desk, Freshness(store, desk, Proposed(book, overlay), overlay)


async def ruled(desk: Desk, body: Complaint, unit: str) -> Ticket:
    """Return a ticket that was sent back and then given to a unit by a ruling."""
    ticket = (await desk.receive(body, body.source_no, NOW)).ticket

    def order(ticket: Ticket) -> Order:
        return Order(ticket.no, ADMIN, ticket.version, at("2026-11-18 10:00"))

    if ticket.lead is None:
        ticket = await desk.dispatch(order(ticket), unit=f"{XINGGUO}-urban_management", reason="试")
    ticket = await desk.send_back(order(ticket), reason="不归我们", basis="三定方案")
    return await desk.rule(order(ticket), unit=unit, reason="归其管护", document="县府专题会纪要")


def test_a_ruling_routes_the_next_ticket_of_its_kind_on_every_replica(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        desk, fresh = desk_and_fresh(store)
        other, other_fresh = desk_and_fresh(store)
        assert not await fresh.look()
        before = desk.router
        first = await ruled(desk, complaint(**SAID), FORESTRY)
        assert desk.router is before, "a ruling counts from the next look on"
        for each, look in ((desk, fresh), (other, other_fresh)):
            with structlog.testing.capture_logs() as logs:
                await look.look()
                await look.look()
            assert [e["event"] for e in logs] == ["rulings.taken_in"], "and is taken in once"
            route = each.router.route(complaint(**SAID))
            assert route.lead
            assert route.lead.unit == FORESTRY
            evidence = route.candidates[0].evidence[0]
            assert (evidence.kind, evidence.document) == (EvidenceKind.PRECEDENT, "县府专题会纪要")
            assert first.no in evidence.note
            assert route.rulebook != before.digest
        assert desk.router.digest == other.router.digest
        # What was decided keeps the digest under which it was.
        assert (await desk.ticket(first.no, ADMIN)).route.rulebook == before.digest
        again = (await desk.receive(complaint(source_no="T2", **SAID), "g", NOW)).ticket
        assert again.lead
        assert (again.lead.unit, again.route.rulebook) == (FORESTRY, desk.router.digest)
        # A later ruling on the same words takes the place of the first.
        await ruled(desk, complaint(source_no="T3", **SAID), f"{XINGGUO}-water_resources")
        await fresh.look()
        lead = desk.router.route(complaint(**SAID)).lead
        assert lead
        assert lead.unit == f"{XINGGUO}-water_resources"

    in_store(scenario)


def test_a_ruling_that_cannot_be_a_precedent_is_told_of_once_and_stops_nothing(
    in_store: Run,
) -> None:
    async def scenario(store: Store) -> None:
        desk, fresh = desk_and_fresh(store)
        good = await ruled(desk, complaint(**SAID), FORESTRY)
        # The unit has left the table since; of another text the rules know no word.
        gone = (await desk.receive(complaint(source_no="A"), "a", NOW)).ticket
        bare = (await desk.receive(complaint(source_no="B"), "b", NOW)).ticket

        def keep(connection: Any) -> None:
            for ticket, unit, words in (
                (gone, f"{XINGGUO}-abolished", ("步道", "灯")),
                (bare, FORESTRY, ()),
            ):
                given = Ticket(
                    ticket.no,
                    ticket.complaint,
                    ticket.route,
                    ticket.state,
                    ticket.version,
                    ticket.received_at,
                    id=ticket.id,
                    ruled=unit,
                )
                tickets.keep_ruling(connection, given, words, "", "", "督办员", NOW)

        await store.run(keep)
        with structlog.testing.capture_logs() as logs:
            await fresh.look()
        told = [(e["ticket_no"], e["why"]) for e in logs if e["event"] == "ruling.no_precedent"]
        assert [no for no, _ in told] == [gone.no, bare.no]
        assert "不在单位表中" in told[0][1]
        assert "两到四个词" in told[1][1]
        assert logs[-1]["precedents"] == 1
        evidence = desk.router.route(complaint(**SAID)).candidates[0].evidence[0]
        assert good.no in evidence.note

    in_store(scenario)


def test_a_ruling_over_http_tells_its_words_and_counts_after_a_restart(database_url: str) -> None:
    payload = {
        "workOrderNo": "R1",
        "acceptTime": "2026-11-20 09:12:33",
        "appealTypeName": "求助",
        "urgency": "一般",
        "areaCode": XINGGUO,
        "contactPhone": "13800000002",
        **SAID,
    }
    asked = {"region": XINGGUO, **SAID}
    with served(database_url) as app:
        before = app.post("/v1/routing/explain", asked).json()
        ticket = app.post("/v1/intake/hotline-12345", payload).json()["ticket"]
        if ticket["lead"] is None:
            ticket = app.act(ticket, "admin", "dispatch", unit=FORESTRY, reason="试")
        ticket = app.act(ticket, "admin", "send_back", reason="不归我们", basis="三定方案")
        ticket = app.act(ticket, "supervisor", "rule", unit=FORESTRY, reason="是", document="纪要")
        events = app.get(f"/v1/tickets/{ticket['no']}/events").json()["items"]
        assert len(events[-1]["content"]["words"]) >= 2
    with served(database_url) as app:
        route = app.post("/v1/routing/explain", asked).json()
        assert route["lead"]["unit"] == FORESTRY
        assert route["candidates"][0]["evidence"][0]["kind"] == "precedent"
        ready = app.get("/readyz").json()["checks"]["rules"]
        assert ready["rulebook"] == route["rulebook"] != before["rulebook"]


CASES = [
    json.loads(line)
    for path in sorted((Path(__file__).parent / "cases" / "routing").glob("*.jsonl"))
    for line in path.read_text("utf-8").splitlines()
]


def test_the_words_of_a_ruling_stand_in_the_text_beside_each_other() -> None:
    book, _ = rules(None)
    found = 0
    for case in CASES:
        body = complaint(title=case["title"] or "", content=case["content"] or "")
        words = book.ruling_words(body)
        assert len(words) in {0, 2, 3}
        assert bool(book.refuses(Precedent("x", "x", "", FORESTRY, words))) is not bool(words)
        found += bool(words)
    assert found > 0.95 * len(CASES)


def test_a_ruled_text_goes_where_the_ruling_says() -> None:
    """Whatever else speaks for another unit; who is accused has nothing to do with whose matter it is."""
    book, _ = rules(None)
    tried = 0
    for case in CASES[::100]:
        body = complaint(region=XINGGUO, title=case["title"] or "", content=case["content"] or "")
        before, words = book.route(body), book.ruling_words(body)
        accuses = "举报" in str(before.candidates)
        if before.decision is not Decision.AUTO or accuses or not words:
            continue
        precedent = Precedent("r", "裁定", XINGGUO, FORESTRY, words)
        route = book.with_precedents([precedent]).route(body)
        assert route.lead, case["id"]
        assert route.lead.unit == FORESTRY, case["id"]
        assert route.candidates[0].evidence[0].kind is EvidenceKind.PRECEDENT
        tried += 1
    assert tried > 5


# Calendars


def year_file(year: int) -> str:
    """Return an invented year whose first six days are off."""
    return (
        f"year: {year}\nstatus: official\nsource: 虚构的通知\n"
        'days_off:\n  - {name: 元旦, from: "01-01", to: "01-06"}\nworked: []\n'
    )


def test_a_year_that_comes_in_counts_from_the_next_look_on(in_store: Run, tmp_path: Path) -> None:
    async def scenario(store: Store) -> None:
        desk, fresh = desk_and_fresh(store, tmp_path)
        assert not await fresh.look()
        kept = desk.times
        folder = tmp_path / "calendars"
        folder.mkdir()
        (folder / "2027.yaml").write_text("year: 20", "utf-8")  # somebody is still writing it
        with structlog.testing.capture_logs() as logs:
            assert not await fresh.look()
            assert not await fresh.look()
        assert [e["event"] for e in logs] == ["calendar.refused"]
        assert desk.times is kept, "what is wrong changes nothing"
        (folder / "2027.yaml").write_text(year_file(2027), "utf-8")
        assert await fresh.look()
        assert desk.times.calendar.last == date(2027, 12, 31)
        assert desk.times.limits is kept.limits
        assert not await fresh.look()

    in_store(scenario)


def test_closures_and_office_hours_stay_when_a_year_comes_in(tmp_path: Path) -> None:
    (tmp_path / "closures.yaml").write_text(
        '- {region: "360732", name: 防汛停办, from: 2026-12-28, to: 2027-01-08, source: 虚构}\n',
        "utf-8",
    )
    times = load_timetable(tmp_path)
    (tmp_path / "calendars").mkdir()
    (tmp_path / "calendars" / "2027.yaml").write_text(year_file(2027), "utf-8")
    after = times.with_years_of(load_country(tmp_path))
    start, limit = at("2026-12-24 10:00"), parse_limit("5 工作日")
    ends = {
        region: due(after.calendar_of(region), start, limit).due_at
        for region in ("360100", "360732")
    }
    assert ends == {"360100": at("2026-12-31 17:30"), "360732": at("2027-01-14 17:30")}
    assert after.calendar_of("360732").hours == times.calendar_of("360732").hours


class Running:
    """Real processes on one database and one folder of rules, and a caller of them."""

    def __init__(self, servers: Sequence[Server], client: httpx.Client) -> None:
        self.servers = servers
        self.client = client

    def everywhere(self, path: str, body: Any, there: Callable[[Any], bool]) -> list[Any]:
        """Return each server's answer, when it is as wanted at last."""

        def asked(server: Server) -> Any:
            return waited(lambda: self.client.post(server.address + path, json=body), there)

        return [asked(server) for server in self.servers]

    def ticket(self, no: str) -> dict[str, Any]:
        """Return a ticket as the last server shows it."""
        answer = self.client.get(f"{self.servers[-1].address}/v1/tickets/{no}")
        found: dict[str, Any] = answer.json()["ticket"]
        return found

    def act(self, no: str, name: str, **fields: Any) -> None:
        """Do an act at the first server."""
        answer = self.client.post(
            f"{self.servers[0].address}/v1/tickets/{no}/acts",
            json={"act": name, **fields},
            headers={"If-Match": str(self.ticket(no)["version"])},
        )
        assert answer.status_code == 200, answer.text


def waited(ask: Callable[[], httpx.Response], there: Callable[[Any], bool]) -> Any:
    """Return an answer as soon as it is as wanted; fail if it never is."""
    until = time.monotonic() + 30
    while not there(found := ask().json()):
        assert time.monotonic() < until, found
        time.sleep(0.1)
    return found


@contextmanager
def running(database_url: str, folder: Path, **settings: str) -> Iterator[Running]:
    """Run two servers, on SQLite one; nothing may go wrong in them."""
    env = environment(database_url, BANJIE_REFRESH_SECONDS="0.2", **settings)
    headers = {"Authorization": f"Bearer {admin_token(env)}"}
    servers: list[Server] = []
    try:
        for name in ("first",) if database_url.startswith("sqlite") else ("first", "second"):
            server = Server(env, free_port(), folder / f"{name}.log")
            servers.append(server)
        with httpx.Client(headers=headers, timeout=30) as client:
            yield Running(servers, client)
    finally:
        for server in servers:
            server.stop()
    for log in folder.glob("*.log"):
        assert '"error"' not in log.read_text("utf-8"), log.read_text("utf-8")[-2000:]


def pushed(run: Running) -> str:
    """Return the number of a ticket that a source has just sent."""
    accepted = datetime.now(UTC).astimezone(SHANGHAI) - timedelta(minutes=1)
    payload = {
        "workOrderNo": "Y1",
        "acceptTime": f"{accepted:%Y-%m-%d %H:%M:%S}",
        "appealTypeName": "投诉",
        "urgency": "一般",
        "areaCode": XINGGUO,
        **SAID,
    }
    answer = run.client.post(f"{run.servers[0].address}/v1/intake/hotline-12345", json=payload)
    assert answer.status_code == 201, answer.text
    no: str = answer.json()["ticket"]["no"]
    return no


def test_running_servers_take_in_a_year_and_a_ruling(database_url: str, tmp_path: Path) -> None:
    """A due date beyond the data is provisional, and is worked out anew when the year is loaded."""
    overlay = tmp_path / "rules"
    overlay.mkdir()
    calendar, today = load_country(), datetime.now(UTC).astimezone(SHANGHAI).date()
    days = max(3, calendar.working_days(today, calendar.last) + 3)
    limits = (DATA / "limits.yaml").read_text("utf-8")
    (overlay / "limits.yaml").write_text(limits.replace(" 5 工作日", f" {days} 工作日"), "utf-8")
    year = calendar.last.year + 1
    (tmp_path / "new.yaml").write_text(year_file(year), "utf-8")

    def own(ticket: dict[str, Any]) -> dict[str, Any]:
        return next(
            m for m in ticket["milestones"] if m["kind"] == "resolve" and not m["assisting"]
        )

    with running(database_url, tmp_path, BANJIE_RULES=str(overlay)) as run:
        no = pushed(run)
        assert own(run.ticket(no))["provisional"]
        env = environment(database_url, BANJIE_RULES=str(overlay))
        loaded = banjie("calendar", "load", str(tmp_path / "new.yaml"), env=env)
        assert loaded.returncode == 0, loaded.stderr
        assert "不必重启" in loaded.stdout
        shown = f"{run.servers[-1].address}/v1/tickets/{no}"
        told = waited(
            lambda: run.client.get(shown), lambda found: not own(found["ticket"])["provisional"]
        )
        after = load_timetable(overlay).calendar_of(XINGGUO)
        received = datetime.fromisoformat(told["ticket"]["received_at"])
        ends = due(after, received, parse_limit(f"{days} 工作日")).due_at
        assert datetime.fromisoformat(own(told["ticket"])["due_at"]) == ends
        events = run.client.get(f"{shown}/events").json()["items"]
        assert [event["act"] for event in events].count("recalculated") == 1
        asked = {"from": f"{year}-01-01T09:00", "limit": "1 工作日"}
        run.everywhere("/v1/deadlines/explain", asked, lambda found: not found["provisional"])
        if run.ticket(no)["lead"] is None:
            run.act(no, "dispatch", unit=FORESTRY, reason="试")
        run.act(no, "send_back", reason="不归我们", basis="三定方案")
        run.act(no, "rule", unit=FORESTRY, reason="归其管护", document="纪要")
        routes = run.everywhere(
            "/v1/routing/explain",
            {"region": XINGGUO, **SAID},
            lambda found: (found["lead"] or {}).get("unit") == FORESTRY,
        )
        kinds = {route["candidates"][0]["evidence"][0]["kind"] for route in routes}
        assert kinds == {"precedent"}
        counted = in_snapshot(database_url, recount)
        assert counted.agrees, (counted.wrong[:5], counted.sums[:5])
