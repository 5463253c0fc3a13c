"""The feed as server-sent events, from a real server: cut, resumed, refused, revoked, stopped."""

import asyncio
import json
import os
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from starlette.types import Message

from service import streams
from service.domain.access import Actor, Role
from service.feed import Feed, StreamsFull
from service.store import Store, open_store, tokens
from service.store.tokens import Use
from tests.process import Server, environment, serving

LONG = os.environ.get("BANJIE_LONG") == "1"
STREAM = {"Accept": "text/event-stream"}


def a_token(url: str, role: Role = Role.ADMIN) -> str:
    """Return a new token, in a database that is migrated."""
    actor = Actor("数据平台", role)
    made: str = _in_store(url, lambda c: tokens.create(c, actor, datetime.now(UTC)))
    return made


def _in_store(url: str, work: Callable[[sa.Connection], Any]) -> Any:
    async def run() -> Any:
        store = open_store(url)
        try:
            return await store.run(work)
        finally:
            await store.close()

    return asyncio.run(run())


def push(client: httpx.Client, number: str) -> None:
    answer = client.post(
        "/v1/intake/hotline-12345",
        json={
            "workOrderNo": number,
            "acceptTime": "2026-11-18 09:12:33",
            "appealTypeName": "投诉",
            "title": "路灯不亮",
            "content": "街上的路灯坏了好几天没人修",
            "areaCode": "360732",
        },
    )
    assert answer.status_code == 201, answer.text


@contextmanager
def stream(client: httpx.Client, last: str = "", **asked: str) -> Iterator[Iterator[Any]]:
    """Follow; give (id, item) of each event, and (id, None) where an id comes alone."""
    headers = STREAM | ({"Last-Event-ID": last} if last else {})
    with ExitStack() as open_:
        for left in reversed(range(20)):
            following = client.stream("GET", "/v1/events", params=asked, headers=headers)
            answer = open_.enter_context(following)
            if answer.status_code != 503 or not left or b"streams-full" not in answer.read():
                break
            # The place of who went away in the middle of a look is free once that look has ended.
            open_.close()
            time.sleep(0.2)
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-accel-buffering"] == "no"

        def told() -> Iterator[Any]:
            block: dict[str, str] = {}
            for line in answer.iter_lines():
                if line:
                    name, _, value = line.partition(": ")
                    block[name] = value
                    continue
                if "id" in block:
                    yield block["id"], json.loads(block["data"]) if "data" in block else None
                block = {}

        yield told()


def pages(client: httpx.Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after, more = "", True
    while more:
        got = client.get("/v1/events", params={"after": after, "limit": 7}).json()
        found += got["items"]
        after, more = got["next"], got["more"]
    return found


@pytest.mark.slow  # one more wait for a sign of life when long
def test_a_stream_is_cut_and_goes_on_is_full_is_revoked_and_stops(
    database_url: str, tmp_path: Path
) -> None:
    """One server for all of it: a start is what costs most here."""
    env = environment(database_url, BANJIE_FEED_STREAMS="2", BANJIE_TICK_SECONDS="0.2")
    with serving(env, tmp_path) as server:
        token, other = a_token(database_url), a_token(database_url, Role.AUDITOR)
        with (
            httpx.Client(
                base_url=server.address, headers={"Authorization": f"Bearer {token}"}, timeout=30
            ) as client,
            httpx.Client(
                base_url=server.address, headers={"Authorization": f"Bearer {other}"}, timeout=30
            ) as revoked,
        ):
            with _ends_with_its_token(database_url, revoked, other):
                _is_cut_and_goes_on(client)
            _is_full_and_has_room_again(client)
            if LONG:
                _says_that_it_lives(client)
            _ends_with_its_server(client, server)
        assert "graceful" not in (tmp_path / "server.log").read_text("utf-8")


def _is_cut_and_goes_on(client: httpx.Client, count: int = 15) -> None:
    chance = random.Random(5)

    def write(first: int) -> None:
        with httpx.Client(base_url=client.base_url, headers=client.headers, timeout=30) as writer:
            for n in range(first, first + count // 3):
                push(writer, f"S{n}")

    writers = [threading.Thread(target=write, args=(n * (count // 3),)) for n in range(3)]
    for writer in writers:
        writer.start()
    followed: list[dict[str, Any]] = []
    last = ""
    received: set[str] = set()
    while len(received) < count:
        with stream(client, last) as events:
            for _ in range(chance.randint(1, 12)):
                last, item = next(events)
                if item:
                    assert item["cursor"] == last
                    followed.append(item)
                    received |= {item["no"]} if item["act"] == "received" else set()
                if len(received) == count:
                    break
    for writer in writers:
        writer.join()
    whole = pages(client)
    assert followed == whole[: len(followed)]
    assert len({item["id"] for item in whole}) == len(whole)


def _says_that_it_lives(client: httpx.Client) -> None:
    """Where the caller sees nothing of what happens, the cursor comes all the same."""
    with stream(client, after="now", region="360300") as events:
        push(client, "FAR")
        last, item = next(events)
    assert item is None
    page = client.get("/v1/events", params={"after": last}).json()
    assert (page["items"], page["next"]) == ([], last)


def _is_full_and_has_room_again(client: httpx.Client) -> None:
    with stream(client, after="now"), stream(client, after="now"):
        full = client.get("/v1/events", headers=STREAM)
        assert (full.status_code, full.headers["retry-after"]) == (503, "30")
        assert client.get("/v1/events").status_code == 200, "pages are not streams"
    for _ in range(100):
        with client.stream("GET", "/v1/events", headers=STREAM) as answer:
            if answer.status_code == 200:
                return
        threading.Event().wait(0.05)
    raise AssertionError("who goes gives no place back")


def test_no_token_takes_every_place(in_store: Callable[[Callable[[Store], Any]], Any]) -> None:
    async def scenario(store: Store) -> None:
        kept = Feed(store, 0.01, 4)
        one, other = (Actor("平台", Role.ADMIN, id=id_) for id_ in "12")
        with ExitStack() as held:
            for _ in range(3):
                held.enter_context(kept.stream(one))
            with pytest.raises(StreamsFull), kept.stream(one):
                pass
            held.enter_context(kept.stream(other))
            with pytest.raises(StreamsFull), kept.stream(other):
                pass
        for _ in range(3):
            held.enter_context(kept.stream(other))
        await asyncio.sleep(0)
        held.close()
        await kept.stop()

    in_store(scenario)


def test_who_reads_nothing_gives_its_place_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(streams, "TAKES_S", 0.05)
    ended: list[str] = []

    async def stuck(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.sleep(60)

    async def stays() -> Message:
        await asyncio.sleep(60)
        raise AssertionError

    async def told() -> AsyncIterator[str]:
        try:
            while True:
                yield ": \n\n"
        finally:
            ended.append("ended")

    async def run() -> None:
        store = open_store(f"sqlite:///{tmp_path}/banjie.db")
        await store.migrate()
        kept, by = Feed(store, 0.01, 1), Actor("平台", Role.ADMIN, id="1")
        scope = {"type": "http", "asgi": {"spec_version": "2.3"}}
        await streams.Stream(kept.stream(by), told())(scope, stays, stuck)
        with kept.stream(by):
            pass
        await kept.stop()
        await store.close()

    asyncio.run(run())
    assert ended == ["ended"]


@contextmanager
def _followed_to_its_end(events: Iterator[Any]) -> Iterator[None]:
    """Follow beside what is done; it must end, and not by an error."""
    ended: list[str] = []

    def follow() -> None:
        for _ in events:
            pass
        ended.append("cleanly")

    following = threading.Thread(target=follow)
    following.start()
    yield
    following.join(30)
    assert ended == ["cleanly"]


@contextmanager
def _ends_with_its_token(url: str, client: httpx.Client, token: str) -> Iterator[None]:
    with stream(client, after="now") as events, _followed_to_its_end(events):
        now = datetime.now(UTC)
        assert _in_store(url, lambda c: tokens.revoke(c, token, now, Use.API))
        yield
    assert client.get("/v1/events").status_code == 401


def _ends_with_its_server(client: httpx.Client, server: Server) -> None:
    with stream(client, after="now") as events:
        push(client, "LAST")
        _, item = next(events)
        assert item["act"] == "received"
        with _followed_to_its_end(events):
            server.stop()
