"""Sources that only offer a list: real lists over HTTP, a real database, real processes that die."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from adapters.fakes import Upstream, serving
from adapters.http import SecretMissing
from adapters.pages import Lists
from adapters.sources import load_sources
from service.domain.calendar import SHANGHAI
from service.domain.ports import Poll, Source
from service.polling import Poller
from service.store import Store, polls
from service.store.leases import SILENCE_S, Candidate, LeaseLost
from service.store.polls import PollState
from tests.process import Server, banjie, environment, fake_upstream, free_port
from tests.served import Served, served, sqlite
from tests.worlds import at

pytestmark = pytest.mark.slow

Run = Callable[[Callable[[Store], Any]], Any]
CHANNEL = "wenzheng-jiangxi"
NOW = at("2026-11-21 09:00")


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


@dataclass
class Reader:
    """A service with a poller that is driven by hand."""

    service: Served
    upstream: Upstream
    poller: Poller
    source: Source
    sources: dict[str, Source] = field(default_factory=dict)

    def pull(self) -> int:
        """Let a poll fall due, and read; return how many rows were new."""
        self.service.clock.time += timedelta(hours=2)
        self.upstream.now = self.service.clock
        return self.again()

    def again(self) -> int:
        found: int = self.service.run(lambda _: self.poller.pull(self.source.name))
        return found

    def state(self) -> PollState:
        found: list[PollState] = self.in_store(polls.states)
        return found[0]

    def in_store(self, work: Callable[[sa.Connection], Any]) -> Any:
        return self.service.run(lambda parts: parts.store.read(work))

    def numbers(self) -> list[str]:
        rows = self.in_store(
            lambda c: c.execute(sa.text("SELECT source_no FROM tickets ORDER BY source_no")).all()
        )
        return [row.source_no for row in rows]

    def rejected(self) -> list[dict[str, Any]]:
        answer = self.service.get(f"/v1/sources/{self.source.name}/rejected", "dispatcher")
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    def told(self) -> dict[str, Any]:
        items = self.service.get("/v1/sources", "dispatcher").json()["items"]
        found: dict[str, Any] = next(item for item in items if item["name"] == self.source.name)
        return found

    def renewed(self, source: Source | None = None, **poll: Any) -> None:
        """Begin anew with a poller of a later term, as another replica or a restart would."""
        old = self.poller
        self.service.run(lambda _: old.stop())
        changed = source or self.source
        assert changed.poll
        self.source = replace(changed, poll=replace(changed.poll, **poll))
        self.poller = self.service.run(lambda parts: _poller(parts, self.source))


async def _poller(parts: Any, source: Source) -> Poller:
    sources = {source.name: source}
    lists = Lists(sources, {"LIST_TOKEN": "t0ken"}, timeout_s=2, most_bytes=1024 * 1024)
    poller = Poller(parts.desk, parts.store, sources, parts.adapters, parts.now, lists)
    assert await poller.lead()
    return poller


@contextmanager
def reading(
    database_url: str, upstream: Upstream | None = None, now: datetime = NOW, **poll: Any
) -> Iterator[Reader]:
    upstream = upstream or Upstream(CHANNEL, "t0ken")
    with serving(upstream) as address, served(database_url, f"{now:%Y-%m-%d %H:%M}") as service:
        source = load_sources()[upstream.channel]
        usual: dict[str, Any] = {"page_size": 10, "token": "LIST_TOKEN"}
        how = Poll(f"{address}/list", upstream.time, **(usual | poll))
        source = replace(source, poll=how)
        poller = service.run(lambda parts: _poller(parts, source))
        reader = Reader(service, upstream, poller, source)
        try:
            yield reader
        finally:
            service.run(lambda _: reader.poller.stop())


def grown(upstream: Upstream, count: int, start: datetime | None = None) -> list[str]:
    """Put rows into the list, one a minute; return their numbers."""
    start = start or NOW - minutes(500)
    rows = [upstream.invent(start + minutes(n)) for n in range(count)]
    upstream.put(*rows)
    return [row[upstream.number] for row in rows]


def of_server(upstream: Upstream, status: str) -> int:
    return sum(asked["status"] == status for asked in upstream.asked)


# What is read


@pytest.mark.parametrize("channel", ["hotline-12345", CHANNEL, "haochaping"])
@pytest.mark.parametrize("newest_first", [False, True], ids=["oldest first", "newest first"])
def test_a_list_becomes_tickets_and_what_is_new_follows(
    database_url: str, channel: str, newest_first: bool
) -> None:
    upstream = Upstream(channel, "t0ken", newest_first=newest_first)
    numbers = grown(upstream, 25)
    with reading(database_url, upstream, newest_first=newest_first) as reader:
        assert reader.pull() == 25
        assert reader.numbers() == sorted(numbers)
        assert reader.pull() == 0
        numbers += grown(upstream, 3, NOW)
        assert reader.pull() == 3
        assert reader.numbers() == sorted(numbers)
        assert reader.told()["reading"]["error"] == ""


def test_a_changed_row_is_a_supplement_and_a_repeat_is_nothing(database_url: str) -> None:
    upstream = Upstream(CHANNEL, "t0ken")
    grown(upstream, 2)
    row = upstream.invent(NOW)
    upstream.put(row)
    with reading(database_url, upstream) as reader:
        assert reader.pull() == 3
        upstream.put(row | {"content": row["content"] + "<p>又来问一次</p>"})
        assert reader.pull() == 1
        assert reader.pull() == 0
        acts = reader.in_store(
            lambda c: c.execute(
                sa.text("SELECT count(*) FROM events WHERE act = 'supplemented'")
            ).scalar()
        )
        assert acts == 1


def test_rows_that_come_late_within_the_overlap_are_found(database_url: str) -> None:
    upstream = Upstream(CHANNEL, "t0ken")
    grown(upstream, 12, NOW - minutes(12))
    with reading(database_url, upstream, overlap=minutes(10)) as reader:
        assert reader.pull() == 12
        upstream.put(upstream.invent(NOW - minutes(9)))
        assert reader.pull() == 1
        # Asked for from the overlap on, not from the beginning.
        assert min(asked["since"] for asked in upstream.asked[-2:]) >= "2026-11-21 08:40"


def test_rows_in_any_order_and_twice_on_a_page_are_each_there_once(database_url: str) -> None:
    upstream = Upstream(CHANNEL, "t0ken")
    numbers = grown(upstream, 35)
    upstream.faults.duplicate = upstream.faults.out_of_order = True
    with reading(database_url, upstream) as reader:
        assert reader.pull() == 35
        assert reader.numbers() == sorted(numbers)
        assert reader.pull() == 0


def test_a_platform_whose_clock_is_behind_ours_loses_nothing(database_url: str) -> None:
    upstream = Upstream(CHANNEL, "t0ken")
    grown(upstream, 5, NOW - timedelta(hours=9))
    with reading(database_url, upstream) as reader:
        assert reader.pull() == 5
        # Three hours behind: newer than what was read, long ago by our clock.
        grown(upstream, 5, NOW - timedelta(hours=3))
        assert reader.pull() == 5


def test_a_platform_whose_clock_is_ahead_waits_and_blocks_nothing(database_url: str) -> None:
    upstream = Upstream(CHANNEL, "t0ken")
    grown(upstream, 5)
    ahead = upstream.invent(NOW + timedelta(hours=5))
    upstream.put(ahead)
    with reading(database_url, upstream) as reader:
        assert reader.pull() == 6
        assert [row["source_no"] for row in reader.rejected()] == [ahead[upstream.number]]
        grown(upstream, 3, NOW)
        assert reader.pull() == 3
        assert reader.pull() == 1
        assert ahead[upstream.number] in reader.numbers()
        assert reader.rejected() == []


def test_an_unchanged_list_costs_answers_without_a_body(database_url: str) -> None:
    upstream = Upstream(CHANNEL, "t0ken")
    grown(upstream, 4, NOW - minutes(4))
    with reading(database_url, upstream) as reader:
        assert reader.pull() == 4
        assert reader.pull() == 0
        before = of_server(upstream, "200")
        for _ in range(3):
            assert reader.pull() == 0
        assert of_server(upstream, "200") == before
        assert of_server(upstream, "304") >= 3
        assert reader.told()["reading"]["lag_seconds"] == 0
        grown(upstream, 1, NOW)
        assert reader.pull() == 1
        late = upstream.invent(NOW - minutes(3.5))
        upstream.put(late)
        assert reader.pull() == 1


def test_a_platform_that_gives_fewer_rows_than_asked_for_is_read_whole(database_url: str) -> None:
    upstream = Upstream(CHANNEL, "t0ken")
    upstream.faults.size_most = 3
    numbers = grown(upstream, 20, NOW - minutes(1) / 2)
    for number in numbers:  # an import's rows, all of one second
        upstream.rows[number][upstream.time] = "2026-11-21 08:00:00"
    with reading(database_url, upstream) as reader:
        assert reader.pull() == 20


# What cannot become a ticket


def test_a_bad_row_harms_no_other_and_is_kept_for_the_dispatcher(database_url: str) -> None:
    upstream = Upstream(CHANNEL, "t0ken")
    numbers = grown(upstream, 12)
    broken = upstream.rows[numbers[4]]
    upstream.put(broken | {"areaName": "某某县"})
    upstream.faults.garbage = "rows"
    with reading(database_url, upstream) as reader:
        reader.pull()
        assert reader.numbers() == sorted(set(numbers) - {numbers[4]})
        rejected = {row["source_no"]: row["errors"] for row in reader.rejected()}
        assert rejected[numbers[4]] == [
            {"pointer": "/areaName", "detail": rejected[numbers[4]][0]["detail"]}
        ]
        assert len(rejected) >= 2
        told = reader.told()
        assert told["rejected"] == len(reader.rejected()) >= 5
        reader.pull()
        assert reader.told()["rejected"] == told["rejected"], "seen again, and not once more"
        metrics = reader.service.client.get("/metrics").text
        assert f'banjie_source_rejected_rows{{source="{CHANNEL}"}} {told["rejected"]}.0' in metrics
        assert f'banjie_source_last_success_seconds{{source="{CHANNEL}"}} 0.0' in metrics
        # Mended at the source, it is a ticket like any other.
        upstream.faults.garbage = ""
        upstream.put(broken | {upstream.time: "2026-11-21 08:59:00"})
        assert reader.pull() == 1
        assert numbers[4] in reader.numbers()
        assert numbers[4] not in {row["source_no"] for row in reader.rejected()}


def test_who_may_not_see_the_sources_is_told_so(database_url: str) -> None:
    with reading(database_url) as reader:
        for path in ("/v1/sources", f"/v1/sources/{CHANNEL}/rejected"):
            assert reader.service.get(path, "handler").status_code == 403
            assert reader.service.get(path, CHANNEL).status_code == 403
        assert reader.service.get("/v1/sources/none/rejected").status_code == 404


def test_what_was_rejected_is_taken_after_the_configuration_was_mended(database_url: str) -> None:
    upstream = Upstream(CHANNEL, "t0ken")
    numbers = grown(upstream, 7)
    for number in numbers:
        upstream.rows[number]["lyh"] = upstream.rows[number].pop("receiptno")
    with reading(database_url, upstream) as reader:
        reader.pull()
        assert reader.numbers() == []
        assert reader.told()["rejected"] == 7
        upstream.rows.clear()  # long gone from the list
        reader.renewed(replace(reader.source, field_map={"lyh": "receiptno"}))
        assert reader.pull() == 7
        assert reader.numbers() == sorted(numbers)
        assert reader.told()["rejected"] == 0


def test_rows_that_hold_their_fields_in_objects_are_read_by_paths(database_url: str) -> None:
    upstream = Upstream(CHANNEL, "t0ken")
    numbers = grown(upstream, 14)
    for row in upstream.rows.values():
        row["gd"] = {name: row.pop(name) for name in ("receiptno", "posttime", "areaName")}
    bad = upstream.rows[numbers[3]]["gd"]
    bad["areaName"] = "某某县"
    upstream._when = lambda row: row["gd"]["posttime"]  # type: ignore[method-assign]
    names = {f"gd.{name}": name for name in ("receiptno", "posttime", "areaName")}
    with reading(database_url, upstream) as reader:
        reader.renewed(replace(reader.source, field_map=names), changed="gd.posttime")
        assert reader.pull() == 14
        assert reader.numbers() == sorted(set(numbers) - {numbers[3]})
        (row,) = reader.rejected()
        assert (row["source_no"], row["errors"][0]["pointer"]) == (numbers[3], "/gd/areaName")
        assert reader.pull() == 0


def test_a_row_that_only_the_desk_fails_on_is_kept_apart(database_url: str) -> None:
    upstream = Upstream(CHANNEL, "t0ken")
    numbers = grown(upstream, 8)
    with reading(database_url, upstream) as reader:

        def plant(connection: sa.Connection) -> None:
            """Leave a ticket that cannot be read any more, under the number of a row."""
            connection.execute(
                sa.text("UPDATE tickets SET route = '[]' WHERE source_no = :no"), {"no": numbers[3]}
            )

        reader.pull()
        reader.service.run(lambda parts: parts.store.run(plant))
        for number in numbers:
            upstream.rows[number]["content"] += "补充"
        with capture_logs() as logs:
            assert reader.pull() == 8
        assert "page.failed" in {entry["event"] for entry in logs}
        assert [row["source_no"] for row in reader.rejected()] == [numbers[3]]


# What goes wrong on the way


@pytest.mark.parametrize(
    ("faults", "word"),
    [
        ({"status": 500}, "对方出错（500）"),
        ({"status": 429}, "暂时不受理（429）"),
        ({"status": 404}, "拒绝了请求（404）"),
        ({"slow_s": 3}, "没有在时限内"),
        ({"garbage": "html"}, "不是合法的 JSON"),
        ({"garbage": "cut"}, "不是合法的 JSON"),
        ({"garbage": "bytes"}, "JSON"),
        ({"redirect": "http://127.0.0.2:1/list"}, "另一台主机"),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_what_fails_is_told_and_tried_again_later(
    tmp_path: Path, faults: dict[str, Any], word: str
) -> None:
    upstream = Upstream(CHANNEL, "t0ken")
    grown(upstream, 30)
    with reading(sqlite(tmp_path), upstream) as reader:
        for name, value in faults.items():
            setattr(upstream.faults, name, value)
        assert reader.pull() == 0
        told = reader.told()["reading"]
        assert word in told["error"]
        assert told["failures"] == 1
        asked = len(upstream.asked)
        assert reader.again() == 0
        assert len(upstream.asked) == asked, "not asked again at once"
        reader.pull()
        assert reader.told()["reading"]["failures"] == 2
        metrics = reader.service.client.get("/metrics").text
        assert f'banjie_source_failures{{source="{CHANNEL}"}} 2.0' in metrics
        upstream.faults = type(upstream.faults)()
        assert reader.pull() == 30
        told = reader.told()["reading"]
        assert (told["error"], told["failures"], told["lag_seconds"]) == ("", 0, 0)


def test_a_failure_between_pages_loses_and_repeats_nothing(database_url: str) -> None:
    upstream = Upstream(CHANNEL, "t0ken")
    numbers = grown(upstream, 45)
    with reading(database_url, upstream) as reader:
        ask, calls = upstream._page, 0

        def sometimes(request: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls % 3 == 0:
                upstream.faults.status, upstream.faults.times = 500, 1
            return ask(request)

        upstream._page = sometimes  # type: ignore[method-assign]
        brought = sum(reader.pull() for _ in range(8))
        assert brought == 45
        assert reader.numbers() == sorted(numbers)


def test_the_wrong_token_is_told_and_none_is_ever_logged(tmp_path: Path) -> None:
    with reading(sqlite(tmp_path)) as reader:
        reader.upstream.token = "0ther"
        with capture_logs() as logs:
            reader.pull()
        assert "不认可令牌（401）" in reader.told()["reading"]["error"]
        assert "t0ken" not in json.dumps(logs, default=str)
        with pytest.raises(SecretMissing, match="LIST_TOKEN"):
            Lists({"a": reader.source}, {"LIST_TOKEN": " "})


def test_an_answer_without_end_and_a_packed_one_are_refused(tmp_path: Path) -> None:
    upstream = Upstream(CHANNEL, "t0ken")
    upstream.put(upstream.invent(NOW, content="长" * 400_000))
    with reading(sqlite(tmp_path), upstream) as reader:
        reader.pull()
        assert "答复过大" in reader.told()["reading"]["error"]


def test_a_redirect_on_the_same_host_is_followed(tmp_path: Path) -> None:
    upstream = Upstream(CHANNEL, "t0ken")
    grown(upstream, 3)
    with reading(sqlite(tmp_path), upstream) as reader:
        ask = upstream._page

        def moved(request: Any) -> Any:
            if "again" in request.query_params:
                return ask(request)
            upstream.faults.redirect = f"{request.url}&again=1"
            answer = ask(request)
            upstream.faults.redirect = ""
            return answer

        upstream._page = moved  # type: ignore[method-assign]
        assert reader.pull() == 3


def test_a_list_that_takes_no_such_parameters_is_told(tmp_path: Path) -> None:
    upstream = Upstream(CHANNEL, "t0ken")
    grown(upstream, 30)
    with reading(sqlite(tmp_path), upstream, page="seite", newest_first=True) as reader:
        reader.pull()
        assert "页码参数“seite”" in reader.told()["reading"]["error"]
        assert len(reader.numbers()) == 10, "what came is kept all the same"


# One reader of several


def test_the_lease_is_taken_when_its_holder_falls_silent(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        now = 0.0
        one, two = (Candidate(store, "x", lambda: now) for _ in range(2))
        assert await one.step() == 1
        assert await two.step() is None
        for _ in range(5):  # alive, however long
            now += 1
            assert await one.step() == 1
            assert await two.step() is None
        now += SILENCE_S - 0.1
        assert await two.step() is None
        now += 0.2
        assert await two.step() == 2
        assert await one.step() is None, "it learns that it was too slow"
        await two.give_up()
        assert two.term is None
        assert await one.step() == 3, "given up, it is taken at once"

    in_store(scenario)


def test_of_many_who_stand_at_once_one_holds(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        candidates = [Candidate(store, "x") for _ in range(8)]
        terms = await asyncio.gather(*(each.step() for each in candidates))
        assert sorted(terms, key=str) == [1, *[None] * 7]

    in_store(scenario)


def test_a_reader_of_an_earlier_term_writes_nothing(in_store: Run) -> None:
    async def scenario(store: Store) -> None:
        old = await store.run(lambda c: polls.begin(c, "a", 1))
        await store.run(lambda c: polls.begin(c, "a", 2))
        with pytest.raises(LeaseLost):
            await store.run(lambda c: polls.save(c, replace(old, failures=9), 1))
        with pytest.raises(LeaseLost):
            await store.run(lambda c: polls.begin(c, "a", 1))
        assert [state.failures for state in await store.read(polls.states)] == [0]

    in_store(scenario)


def test_a_reader_that_lost_its_lease_mid_page_leaves_no_ticket_of_it(database_url: str) -> None:
    upstream = Upstream(CHANNEL, "t0ken")
    grown(upstream, 5)
    with reading(database_url, upstream) as reader:
        reader.pull()
        grown(upstream, 5, NOW)
        reader.service.run(lambda parts: parts.store.run(lambda c: polls.begin(c, CHANNEL, 99)))
        assert reader.pull() == 0
        assert len(reader.numbers()) == 5
        assert reader.state().place.mark is not None


def sources_yaml(folder: Path, address: str) -> Path:
    path = folder / "sources.yaml"
    path.write_text(
        f"""\
{CHANNEL}:
  adapter: wenzheng_jiangxi
  channel: {CHANNEL}
  label: 问政江西
  poll: {{url: "{address}/list", every: 1s, page_size: 10, overlap: 30min, token: LIST_TOKEN}}
""",
        encoding="utf-8",
    )
    return path


def recent(upstream: Upstream, count: int, apart_s: float = 1) -> None:
    start = datetime.now(SHANGHAI) - timedelta(seconds=count * apart_s)
    upstream.put(*(upstream.invent(start + timedelta(seconds=n * apart_s)) for n in range(count)))


def stored(database_url: str) -> tuple[int, int, int]:
    """Return how many tickets and received events there are, and how many times the latter came twice."""
    from service.store import open_store

    async def ask() -> Any:
        store = open_store(database_url)
        try:
            return await store.read(
                lambda c: c.execute(
                    sa.text(
                        "SELECT (SELECT count(*) FROM tickets), count(*), "
                        "count(*) - count(DISTINCT ticket_id) FROM events WHERE act = 'received'"
                    )
                ).one()
            )
        finally:
            await store.close()

    held, told, twice = asyncio.run(ask())
    return held, told, twice


def until(wanted: Callable[[], bool], seconds: float = 60) -> float:
    began = time.monotonic()
    while not wanted():
        assert time.monotonic() - began < seconds, "it never happens"
        time.sleep(0.2)
    return time.monotonic() - began


@pytest.mark.slow
def test_a_reader_killed_mid_page_is_followed_without_loss_or_repetition(
    migrated_url: str, tmp_path: Path
) -> None:
    with fake_upstream(CHANNEL, rows=120, FAKE_TOKEN="t0ken") as address:
        # Twelve pages take twelve seconds: whoever looks in between finds it in the middle.
        httpx.post(f"{address}/faults", json={"duplicate": True, "slow_s": 1}, timeout=60)
        env = environment(
            migrated_url,
            BANJIE_SOURCES=str(sources_yaml(tmp_path, address)),
            LIST_TOKEN="t0ken",
        )
        port = free_port()
        late = Upstream(CHANNEL, first=1_000)
        for part in (0.2, 0.5):
            server = Server(env, port, tmp_path / "server.log")
            before = stored(migrated_url)[0]
            until(lambda mark=part * 120, least=before: stored(migrated_url)[0] > max(mark, least))  # type: ignore[misc]
            server.kill()
            assert stored(migrated_url)[0] < 120
            row = late.invent(datetime.now(SHANGHAI) - timedelta(minutes=20))
            httpx.post(f"{address}/rows", json=row, timeout=60)
        httpx.post(f"{address}/faults", json={"slow_s": 0}, timeout=60)
        server = Server(env, port, tmp_path / "server.log")
        try:
            until(lambda: stored(migrated_url)[0] == 122)
            time.sleep(2)
        finally:
            server.kill()
    assert stored(migrated_url) == (122, 122, 0)


@pytest.mark.slow
@pytest.mark.parametrize("migrated_url", ["postgresql"], indirect=True)
def test_of_two_replicas_one_reads_and_the_other_takes_over(
    migrated_url: str, tmp_path: Path
) -> None:
    upstream = Upstream(CHANNEL, "t0ken")
    recent(upstream, 30)
    with serving(upstream) as address:
        env = environment(
            migrated_url,
            BANJIE_SOURCES=str(sources_yaml(tmp_path, address)),
            LIST_TOKEN="t0ken",
        )
        logs = [tmp_path / f"{n}.log" for n in range(2)]
        servers = [Server(env, free_port(), log) for log in logs]
        waits = []
        try:
            until(lambda: stored(migrated_url)[0] == 30)
            for _ in range(2):
                reader = the_reader(logs)
                servers[reader].kill()
                killed = time.monotonic()
                recent(upstream, 30)
                until(lambda: leads(logs[1 - reader]), 30)  # noqa: B023 used up within the turn
                waits.append(time.monotonic() - killed)
                until(lambda: stored(migrated_url)[0] == len(upstream.rows))
                logs[reader].unlink()
                servers[reader] = Server(env, free_port(), logs[reader])
            # One that is asked to stop hands over at once.
            reader = the_reader(logs)
            servers[reader].stop()
            until(lambda: leads(logs[1 - reader]), 30)
        finally:
            for server in servers:
                server.kill()
    assert stored(migrated_url) == (90, 90, 0)
    print(f"taken over after {', '.join(f'{wait:.1f} s' for wait in waits)}")  # noqa: T201


def the_reader(logs: list[Path]) -> int:
    """Return which of the servers reads; who lost the lease may not have seen it yet."""
    until(lambda: sum(map(leads, logs)) == 1)
    return next(n for n, log in enumerate(logs) if leads(log))


def leads(log: Path) -> bool:
    """Whether a server says last that it holds the lease."""
    said = [
        json.loads(line) for line in log.read_text("utf-8").splitlines() if "poll.lease" in line
    ]
    return bool(said) and bool(said[-1]["held"])


def test_a_token_s_variable_that_is_not_set_stops_the_start(tmp_path: Path) -> None:
    path = sources_yaml(tmp_path, "http://127.0.0.1:1")
    ended = banjie(
        "serve",
        "--port",
        "0",
        env=environment(sqlite(tmp_path), BANJIE_SOURCES=str(path)),
        timeout_s=240,
    )
    assert ended.returncode == 2
    assert "LIST_TOKEN" in ended.stderr
    assert "Traceback" not in ended.stderr
