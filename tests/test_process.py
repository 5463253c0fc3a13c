"""What only a real process shows: the commands, the walk, and a kill in the middle of it."""

import json
import random
import socket
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from service.cli import app
from service.terminal import Refused
from tests.process import Server, banjie, environment, free_port, serving
from tests.served import rules, sqlite
from tests.walk import walk

pytestmark = pytest.mark.slow


def admin_token(env: dict[str, str]) -> str:
    made = banjie("token", "create", "--role", "admin", "--name", "管理员", env=env)
    assert made.returncode == 0, made.stderr
    assert made.stdout.count("\n") == 1, "a token is printed alone"
    return made.stdout.strip()


def test_the_walk_from_the_hotline_to_the_metric(database_url: str, tmp_path: Path) -> None:
    env = environment(database_url, BANJIE_FIGURES_SECONDS="1")
    token = admin_token(env)
    with serving(env, tmp_path) as server:
        walk(server.address, token)
        walk(server.address, token)  # a second walk finds what the first one made


def test_killing_the_server_loses_no_answered_ticket(database_url: str, tmp_path: Path) -> None:
    """Push and work tickets while the server is killed again and again: what it said was done is
    done, and nothing is there twice or half."""
    env = environment(database_url)
    token = admin_token(env)
    headers = {"Authorization": f"Bearer {token}"}
    port = free_port()
    rng = random.Random(731)
    answered: dict[str, dict[str, Any]] = {}
    signed: set[str] = set()
    stop = threading.Event()

    def push(worker: int) -> None:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=10
        ) as client:
            number = 0
            while not stop.is_set():
                number += 1
                payload = _payload(f"K{worker}-{number:05}")
                try:
                    answer = client.post("/v1/intake/hotline-12345", json=payload)
                    assert answer.status_code in {200, 201}, answer.text
                    ticket = answer.json()["ticket"]
                    answered[payload["workOrderNo"]] = ticket
                    act = client.post(
                        f"/v1/tickets/{ticket['no']}/acts",
                        json={"act": "sign"},
                        headers={"If-Match": str(ticket["version"])},
                    )
                    if act.status_code == 200:
                        signed.add(payload["workOrderNo"])
                except httpx.TransportError:
                    stop.wait(0.05)  # it is dead just now; a hotline would try again as well

    server = Server(env, port, tmp_path / "server.log")
    workers = [threading.Thread(target=push, args=(n,)) for n in range(4)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(3):
            # By what was answered, not by the clock: a busy machine answers little in a second.
            enough = len(answered) + rng.randint(8, 40)
            while len(answered) < enough:
                stop.wait(0.01)
            server.kill()
            server = Server(env, port, tmp_path / "server.log")
        enough = len(answered) + 8
        while len(answered) < enough:
            stop.wait(0.01)
    finally:
        stop.set()
        for worker in workers:
            worker.join()
        server.kill()

    assert len(answered) > 20
    assert signed
    with serving(env, tmp_path) as fresh:
        stored = _all(fresh.address, headers)
        by_number = {ticket["source_no"]: ticket for ticket in stored}
        assert len(by_number) == len(stored), "a source number is there twice"
        missing = set(answered) - set(by_number)
        assert not missing
        for number in answered:
            assert by_number[number]["no"] == answered[number]["no"]
        assert all(by_number[number]["state"] == "signed" for number in signed)
        for ticket in rng.sample(stored, min(30, len(stored))):
            _is_whole(fresh.address, headers, ticket)


def _payload(number: str) -> dict[str, Any]:
    return {
        "workOrderNo": number,
        "acceptTime": "2026-11-18 09:12:33",
        "appealTypeName": "投诉",
        "urgency": "一般",
        "title": "路灯不亮",
        "content": "街上的路灯坏了好几天没人修",
        "areaCode": "360732",
        "contactPhone": "13800000002",
    }


def _all(address: str, headers: dict[str, str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    with httpx.Client(base_url=address, headers=headers, timeout=30) as client:
        while cursor is not None:
            page = client.get("/v1/tickets", params={"limit": 200, "cursor": cursor}).json()
            found += page["items"]
            cursor = page["next"]
    return found


def _is_whole(address: str, headers: dict[str, str], ticket: dict[str, Any]) -> None:
    """A ticket has its clocks and an event for each version, or it is not there at all."""
    events = httpx.get(
        f"{address}/v1/tickets/{ticket['no']}/events", headers=headers, timeout=60
    ).json()["items"]
    acts = [event["act"] for event in events if event["act"] != "stage"]
    assert acts[:2] == ["received", "dispatch"]
    assert max(event["version"] for event in events) == ticket["version"]
    assert {m["kind"] for m in ticket["milestones"]} == {"sign", "contact", "resolve"}


def test_two_first_starts_at_once_migrate_once(database_url: str, tmp_path: Path) -> None:
    env = environment(database_url)
    servers: list[Server] = []

    def start(n: int) -> None:
        servers.append(Server(env, free_port(), tmp_path / f"{n}.log"))

    threads = [threading.Thread(target=start, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert len(servers) == 2
        for server in servers:
            assert httpx.get(f"{server.address}/readyz", timeout=60).json()["checks"]["migrations"][
                "ok"
            ]
    finally:
        for server in servers:
            server.kill()


def test_a_demo_fills_an_empty_database_and_prints_who_may_come_in(tmp_path: Path) -> None:
    env = environment(sqlite(tmp_path))
    with serving(env, tmp_path, "--demo") as server:
        printed = (tmp_path / "server.log").read_text("utf-8")
        assert f"{server.address}/desk/enter/" in printed
        admin = next(
            line.split()[-1]
            for line in printed.splitlines()
            if "\tadmin " in line and "bj_" in line and "/desk/" not in line
        )
        headers = {"Authorization": f"Bearer {admin}"}
        tickets = _all(server.address, headers)
        assert 200 < len(tickets) < 600
        assert {"dispatched", "signed", "resolved", "closed", "not_accepted", "referred"} <= {
            ticket["state"] for ticket in tickets
        }
        assert {ticket["channel"] for ticket in tickets} == {
            "hotline-12345",
            "wenzheng-jiangxi",
            "haochaping",
        }
        assert {"normal", "overdue"} <= {ticket["stage"] for ticket in tickets}
        assert any(ticket["redo"] for ticket in tickets)
        metrics = httpx.get(f"{server.address}/metrics", timeout=60).text
        for series in ("received_total", "closed_total", "callbacks_total", "met_total", "open"):
            assert series in metrics
    again = banjie("token", "create", "--role", "admin", "--name", "甲", env=env)
    assert again.returncode == 0


def test_a_push_with_an_offer_of_another_protocol_arrives(tmp_path: Path) -> None:
    env = environment(sqlite(tmp_path))
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAEA"}
    headers = {"Authorization": f"Bearer {admin_token(env)}", **offer}
    with serving(env, tmp_path) as server:
        asked = {"from": "2026-11-21T09:00:00+08:00", "limit": "5 工作日", "count_from": "next_day"}
        address = f"{server.address}/v1/deadlines/explain"
        answer = httpx.post(address, json=asked, headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text


def test_no_number_of_a_citizen_is_ever_logged(tmp_path: Path) -> None:
    phone = "13912345678"
    env = environment(sqlite(tmp_path), BANJIE_LOG_LEVEL="debug")
    headers = {"Authorization": f"Bearer {admin_token(env)}"}
    told = {"contactPhone": phone, "content": f"请打{phone}"}
    with (
        serving(env, tmp_path) as server,
        httpx.Client(base_url=server.address, headers=headers, timeout=30) as client,
    ):
        stored = client.post("/v1/intake/hotline-12345", json=_payload("L1") | told)
        assert stored.status_code == 201, stored.text
        broken = _payload("L2") | told | {"acceptTime": phone}
        assert client.post("/v1/intake/hotline-12345", json=broken).is_client_error
        assert client.get("/v1/tickets", params={"q": phone}).status_code == 422
        assert phone not in client.get("/metrics").text
    log = (tmp_path / "server.log").read_text("utf-8")
    assert log, "the server wrote its log"
    assert phone not in log


# Commands


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("token", "create", "--role", "king", "--name", "甲"), "没有“king”这个角色，可用的有"),
        (("token", "create", "--role", "handler", "--name", "甲"), "--unit"),
        (("token", "create", "--role", "handler", "--name", "甲", "--unit", "x"), "单位表"),
        (("token", "create", "--role", "source", "--name", "甲", "--source", "x"), "sources.yaml"),
        (("token", "create", "--role", "admin", "--name", " "), "--name"),
        # As Python reads what a terminal sends in GBK.
        (("token", "create", "--role", "admin", "--name", "\udcbc\udcd7"), "UTF-8"),
        (("token", "create", "--role", "admin", "--name", "甲", "--region", "999999"), "地区"),
        (("deadline", "--from", "明天", "--limit", "5 工作日"), "时间"),
        (("deadline", "--from", "2026-11-18", "--limit", "5 周"), "时限"),
        (("dance",), "dance"),
    ],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, tuple) else None,
)
def test_a_command_used_wrongly_says_why(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    says: str,
) -> None:
    monkeypatch.setenv("BANJIE_DATABASE_URL", sqlite(tmp_path))
    monkeypatch.setattr("service.cli_deadline.load_timetable", lambda _: rules(None)[1])
    monkeypatch.setattr("routing_rules.rulebook.load", lambda _: rules(None)[0])
    ended = CliRunner().invoke(app, arguments)
    # `main` turns what a command refuses into a line and this code; the next test sees it do so.
    refused = ended.exception
    code, said = (
        (refused.code, str(refused))
        if isinstance(refused, Refused)
        else (ended.exit_code, ended.stderr)
    )
    assert code == 2, ended.output
    assert says in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("token", "create", "--dance"), "--dance"),
        (("deadline", "--from", "2026-11-18", "--limit", "5 周"), "时限"),
    ],
    ids=["by typer", "by the command"],
)
def test_a_command_used_wrongly_exits_2_without_a_traceback(
    tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    ended = banjie(*arguments, env=environment(sqlite(tmp_path)))
    assert ended.returncode == 2, ended.stderr
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"BANJIE_DATABASE_URL": "mysql://x"}, "sqlite:///"),
        ({"BANJIE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}, "数据库不可用"),
        ({"BANJIE_TICK_SECONDS": "soon"}, "BANJIE_TICK_SECONDS"),
        ({"BANJIE_LOG_LEVEL": "loud"}, "BANJIE_LOG_LEVEL"),
    ],
    ids=["scheme", "no server", "number", "choice"],
)
def test_a_wrong_setting_stops_the_start_in_one_line(
    tmp_path: Path, settings: dict[str, str], says: str
) -> None:
    ended = banjie("migrate", env=environment(sqlite(tmp_path)) | settings)
    assert ended.returncode in {1, 2}
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("kpi", "--from", "2026-11-01", "--to", "2026-11-30"),
        ("kpi", "recount"),
        ("bulletin", "--month", "2026-10", "--json"),
        ("recalculate",),
    ],
    ids=["kpi", "recount", "bulletin", "recalculate"],
)
def test_a_question_makes_no_database(
    tmp_path: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BANJIE_DATABASE_URL", f"sqlite:///{tmp_path}/elsewhere/banjie.db")
    ended = CliRunner().invoke(app, arguments)
    assert isinstance(ended.exception, Refused)
    assert ended.exception.code == 2
    assert "BANJIE_DATABASE_URL" in str(ended.exception)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_question_makes_no_tables(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BANJIE_DATABASE_URL", database_url)
    ended = CliRunner().invoke(app, ["kpi", "recount"])
    assert isinstance(ended.exception, Refused)
    assert "还没有表" in str(ended.exception)


def test_a_broken_rule_stops_the_start_and_names_file_and_reason(tmp_path: Path) -> None:
    (tmp_path / "limits.yaml").write_text("- {milestone: sign}\n", "utf-8")
    env = environment(sqlite(tmp_path), BANJIE_RULES=str(tmp_path))
    ended = banjie("serve", "--port", "0", env=env)
    assert ended.returncode == 1
    assert "limits.yaml" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_that_is_taken_is_told_before_anything_is_begun(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = banjie("serve", "--demo", "--port", port, env=environment(sqlite(tmp_path)))
    assert ended.returncode == 1
    assert f"127.0.0.1:{port}" in ended.stderr
    assert not (tmp_path / "banjie.db").exists()


def test_deadline_prints_one_json_document(tmp_path: Path) -> None:
    ended = banjie(
        "deadline",
        "--from",
        "2025-09-30T10:00",
        "--limit",
        "5 工作日",
        "--json",
        env=environment(sqlite(tmp_path)),
    )
    assert ended.returncode == 0
    assert json.loads(ended.stdout)["due_at"] == "2025-10-14T17:30:00+08:00"


def test_a_recalculation_tells_what_it_would_move(tmp_path: Path) -> None:
    env = environment(sqlite(tmp_path))
    assert banjie("migrate", env=env).returncode == 0
    ended = banjie("recalculate", "--json", env=env)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {"applied": False, "tickets": 0, "moved": []}
    assert banjie("recalculate", "--region", "999999", env=env).returncode == 2
