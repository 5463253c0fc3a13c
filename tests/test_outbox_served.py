"""The outbox in a running service: configured in files, woken by commits, seen, and killed."""

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.http import SecretMissing
from adapters.outbound import Outbound
from adapters.sources import SourceFileError, load_sources
from routing_rules.receivers import load_receivers
from routing_rules.yamlfile import RuleFileError
from service.config import Settings
from service.domain.ticket import DeliveryState, Word
from service.main import wire
from service.outbox import Outbox
from service.store import deliveries, open_store
from tests.process import Server, banjie, environment, free_port
from tests.receivers import SECRET, Got, Receiver
from tests.served import Served, rules, served, sqlite
from tests.test_web import form_of, signed_in

MARKET = "360732-market_regulation"
SOURCES = """\
hotline-12345:
  adapter: hotline_12345
  channel: hotline-12345
  label: 省12345热线
  callback: {url: "URL", secret: TEST_SECRET, hours: 24}
"""
PAYLOAD = json.loads((Path(__file__).parent / "samples" / "hotline-12345.json").read_text("utf-8"))


def configured(folder: Path, url: str) -> Path:
    path = folder / "sources.yaml"
    path.write_text(SOURCES.replace("URL", url), "utf-8")
    return path


def overlay(folder: Path, text: str) -> Path:
    (folder / "receivers.yaml").write_text(text, "utf-8")
    return folder


def eventually(holds: Callable[[], Any]) -> Any:
    for _ in range(1500):
        if found := holds():
            return found
        time.sleep(0.02)
    raise AssertionError("it never came")


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_SECRET", SECRET.decode())


def test_a_push_is_answered_to_its_source_at_the_commit_and_not_at_the_tick(
    tmp_path: Path,
) -> None:
    with Receiver() as source:
        settings = {"sources": configured(tmp_path, source.url)}
        # The tick comes once a minute here: what arrives was woken by the commit.
        with served(sqlite(tmp_path), "2026-11-21 09:00", **settings) as service:
            answer = service.post("/v1/intake/hotline-12345", PAYLOAD[0])
            assert answer.status_code == 201, answer.text
            eventually(lambda: len(source.taken) >= 2)
            ticket = answer.json()["ticket"]
            assert source.got[0].data["ticket"]["no"] == ticket["no"]
            assert source.got[0].data["ticket"]["source_no"] == PAYLOAD[0]["workOrderNo"]
            shown = service.get("/metrics").text
            assert 'banjie_deliveries{state="dead"} 0.0' in shown


def test_all_that_one_receiver_refused_is_sent_again_with_one_press(tmp_path: Path) -> None:
    with Receiver() as source:
        settings = {"sources": configured(tmp_path, source.url)}
        with served(sqlite(tmp_path), "2026-11-21 09:00", **settings) as service:
            ticket, dead = refuse(service, source)
            service.client.follow_redirects = False
            browser = signed_in(service, "supervisor")
            page = browser.get("/desk/deliveries").text
            assert f"投递失败 {len(dead)} 件" in page
            fares = browser.get("/desk/sources").text
            assert f"{len(dead)} 件回告投递失败" in fares
            assert SECRET.decode() not in fares
            assert source.url not in fares
            source.answers = lambda _: 200
            taken = len(source.taken)
            answer = browser.press("/desk/deliveries", "/desk/deliveries/retry")
            assert answer.status_code == 303
            assert f"已安排重新投递 {len(dead)} 件" in browser.get("/desk/deliveries").text
            eventually(lambda: len(source.taken) >= taken + len(dead))
            assert service.get("/v1/deliveries?state=dead").json()["items"] == []
            eventually(
                lambda: 'banjie_deliveries{state="dead"} 0.0' in service.get("/metrics").text
            )
            acts = [
                each["act"]
                for each in service.get(f"/v1/tickets/{ticket['no']}/events").json()["items"]
            ]
            assert acts.count("redeliver") == len(dead)


def test_what_was_given_up_in_another_region_is_left_alone(tmp_path: Path) -> None:
    with Receiver() as source:
        settings = {"sources": configured(tmp_path, source.url)}
        with served(sqlite(tmp_path), "2026-11-21 09:00", **settings) as service:
            _, dead = refuse(service, source)
            service.client.follow_redirects = False
            stranger = signed_in(service, "stranger")
            page = stranger.get("/desk/groups").text
            form = {"destination": "source:hotline-12345", **form_of(page, "/desk/sign-out")}
            answer = service.client.post(
                "/desk/deliveries/retry", data=form, headers={"Origin": "http://testserver"}
            )
            assert answer.status_code == 303
            assert "没有可以重新投递的" in stranger.get("/desk/deliveries").text
            assert len(service.get("/v1/deliveries?state=dead").json()["items"]) == len(dead)


def refuse(service: Served, source: Receiver) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a ticket whose deliveries were refused, and these."""
    source.answers = lambda _: 403
    ticket = service.post("/v1/intake/hotline-12345", PAYLOAD[0]).json()["ticket"]

    def dead() -> Any:
        items = service.get("/v1/deliveries?state=dead").json()["items"]
        return items if len(items) >= 2 else None

    return ticket, eventually(dead)


def test_what_was_given_up_is_listed_and_sent_again(tmp_path: Path) -> None:
    with Receiver() as source:
        path = configured(tmp_path, source.url)
        with served(sqlite(tmp_path), sources=path) as service:
            ticket, dead = refuse(service, source)
            assert {item["reason"] for item in dead} == {"http-403"}
            assert "payload" not in dead[0]
            shown = service.get("/metrics").text
            assert f'banjie_deliveries{{state="dead"}} {float(len(dead))}' in shown
            one = service.get("/v1/deliveries?state=dead&limit=1").json()
            rest = service.get(f"/v1/deliveries?state=dead&cursor={one['next']}").json()
            assert [*one["items"], *rest["items"]] == dead
            for who, status in (
                ("hotline-12345", 403),
                ("handler", 403),
                ("auditor", 200),
                ("dispatcher", 200),
                ("stranger", 200),
            ):
                answer = service.get("/v1/deliveries", who)
                assert answer.status_code == status, who
            assert service.get("/v1/deliveries", "stranger").json()["items"] == []
            retry = f"/v1/deliveries/{dead[0]['id']}/retry"
            assert service.post(retry, {}, "dispatcher").status_code == 403
            assert service.post(retry, {}, "stranger").status_code == 404
            assert service.post("/v1/deliveries/999999/retry", {}).status_code == 404
            source.answers = lambda _: 204
            answer = service.post(retry, {}, "supervisor")
            assert answer.status_code == 200, answer.text
            assert answer.json()["delivery"]["state"] == "pending"
            eventually(lambda: source.taken)
            assert source.taken[0].message == dead[0]["message"]
            eventually(
                lambda: service.get("/v1/deliveries?state=delivered").json()["items"] or None
            )
            again = service.post(retry, {}, "supervisor")
            assert (again.status_code, again.json()["type"][-12:]) == (409, "not-given-up")
            events = service.get(f"/v1/tickets/{ticket['no']}/events").json()["items"]
            assert (events[-1]["act"], events[-1]["actor"]) == ("redeliver", "督办员")


def test_the_desk_shows_what_did_not_arrive_and_sends_it_again(tmp_path: Path) -> None:
    with Receiver() as source:
        path = configured(tmp_path, source.url)
        with served(sqlite(tmp_path), sources=path) as service:
            service.client.follow_redirects = False
            ticket, dead = refuse(service, source)
            watching = signed_in(service, "dispatcher").get("/desk/deliveries").text
            assert "对方应答 403" in watching
            assert "/retry" not in watching
            browser = signed_in(service, "supervisor")
            page = browser.get("/desk/deliveries").text
            assert page.count("对方应答 403") == len(dead)
            assert "省12345热线" in page
            source.answers = lambda _: 204
            answer = browser.press("/desk/deliveries", f"/desk/deliveries/{dead[0]['id']}/retry")
            assert answer.status_code == 303
            after = browser.get(answer.headers["location"]).text
            assert f"已安排重新投递：工单 {ticket['no']}" in after
            eventually(lambda: source.taken)
            assert browser.get("/desk/deliveries?state=nonsense").status_code == 400
            history = browser.get(f"/desk/tickets/{ticket['no']}").text
            assert "重新投递" in history
            assert signed_in(service, "handler").get("/desk/deliveries").status_code == 403


@pytest.mark.slow
def test_a_sender_killed_in_the_middle_loses_nothing(database_url: str, tmp_path: Path) -> None:
    held, seen = threading.Event(), threading.Event()

    def slow(_: Got) -> int:
        if not seen.is_set():
            seen.set()
            held.wait(60)
        return 204

    with Receiver(slow) as source:
        path = configured(tmp_path, source.url)
        env = environment(
            database_url, BANJIE_SOURCES=str(path), TEST_SECRET=os.environ["TEST_SECRET"]
        )
        token = banjie("token", "create", "--role", "admin", "--name", "管理员", env=env).stdout
        server = Server(env, free_port(), tmp_path / "server.log")
        try:
            answer = httpx.post(
                f"{server.address}/v1/intake/hotline-12345",
                json=PAYLOAD[0],
                headers={"Authorization": f"Bearer {token.strip()}"},
                timeout=30,
            )
            assert answer.status_code == 201, answer.text
            assert seen.wait(30), "it is on its way"
        finally:
            server.kill()
        held.set()

        async def takes_over() -> list[tuple[Word, DeliveryState, str, int]]:
            callback = load_sources(path)["hotline-12345"].callback
            assert callback
            receivers = {callback.destination: callback}
            store = open_store(database_url)

            def later(seconds: int) -> Outbox:
                return Outbox(
                    store,
                    receivers,
                    Outbound(receivers, os.environ),
                    lambda: datetime.now(UTC) + timedelta(seconds=seconds),
                )

            early, late = later(0), later(31)
            assert await early.turn() == 0, "the claim still holds"
            while await late.turn():
                await late.landed()
            await early.stop()
            await late.stop()
            rows = (await store.read(lambda c: deliveries.page(c, ""))).items
            await store.close()
            return [(row.kind, row.state, row.message, row.attempts) for row in rows[::-1]]

        accepted, dispatched, *_ = asyncio.run(takes_over())
        assert accepted[:2] == (Word.ACCEPTED, DeliveryState.DELIVERED)
        assert (accepted[3], dispatched[3]) == (2, 1)
        # The first attempt was in the receiver's hands when its sender died.
        eventually(lambda: len(source.got) >= 3)
        messages = [got.message for got in source.got]
        assert messages.count(accepted[2]) == 2
        assert messages.count(dispatched[2]) == 1


# The files


def test_receivers_are_read_from_both_files_and_their_secrets_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = f"- {{unit: {MARKET}, url: 'http://127.0.0.1:9/x', secret: UNIT_SECRET, events: [dispatched]}}\n"
    settings = Settings(
        database_url=sqlite(tmp_path),
        sources=configured(tmp_path, "http://127.0.0.1:9/y"),
        rules=overlay(tmp_path, rows),
    )
    with pytest.raises(SecretMissing, match="环境变量 UNIT_SECRET 没有设置（unit:360732-market"):
        wire(settings, rules=rules(None))
    found = load_receivers(rules(None)[0], tmp_path)[f"unit:{MARKET}"]
    assert found.words == {Word.DISPATCHED}
    env = environment(
        f"sqlite:///{tmp_path}/x.db",
        BANJIE_RULES=str(tmp_path),
        TEST_SECRET=os.environ["TEST_SECRET"],
    )
    refused = banjie("serve", "--port", str(free_port()), env=env)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "UNIT_SECRET" in refused.stderr
    monkeypatch.setenv("UNIT_SECRET", "short")
    with pytest.raises(SecretMissing, match="至少 16 字节"):
        wire(settings, rules=rules(None))


@pytest.mark.parametrize(
    ("row", "word"),
    [
        ("{unit: 360732-nobody, url: 'http://a.example/', secret: S}", "360732-nobody"),
        (f"{{unit: {MARKET}, url: 'http://a.example/', secret: S, phone: 1}}", "phone"),
        (f"{{unit: {MARKET}, secret: S}}", "缺少 url"),
        (f"{{unit: {MARKET}, url: 'ftp://a.example/', secret: S}}", "http"),
        (f"{{unit: {MARKET}, url: 'http://a.example/', secret: S, events: [x]}}", "dispatched"),
    ],
)
def test_a_wrong_row_of_receivers_stops_the_start(tmp_path: Path, row: str, word: str) -> None:
    with pytest.raises(RuleFileError, match=word) as caught:
        load_receivers(rules(None)[0], overlay(tmp_path, f"# one\n- {row}\n"))
    assert caught.value.line == 2


def test_the_check_of_the_rules_reads_receivers_too(tmp_path: Path) -> None:
    overlay(tmp_path, "- {unit: 360732-nobody, url: 'http://a.example/', secret: S}\n")
    checked = banjie("rules", "check", env=environment("", BANJIE_RULES=str(tmp_path)))
    assert checked.returncode == 1
    assert "360732-nobody" in checked.stderr


@pytest.mark.parametrize(
    ("callback", "word"),
    [
        ('{url: "http://a.example/"}', "缺少 secret"),
        ('{url: "http://a.example/", secret: S, events: resolved}', "列表"),
        ('{url: "http://a.example/", secret: S, events: [done]}', "没有 done 这种通知"),
        ('{url: "http://a.example/", secret: S, format: x}', "format"),
        ('{url: "http://a.example/", secret: S, hours: 三天}', "整数"),
        ("http://a.example/", "键值表"),
    ],
)
def test_a_wrong_callback_stops_the_start(tmp_path: Path, callback: str, word: str) -> None:
    path = configured(tmp_path, "")
    text = SOURCES.partition("  callback")[0] + f"  callback: {callback}\n"
    path.write_text(text, "utf-8")
    with pytest.raises(SourceFileError, match=word) as caught:
        load_sources(path)
    assert caught.value.line == 5
