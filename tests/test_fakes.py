"""The fakes that ship: what integrators try their systems with is held to the real ones here."""

import asyncio
import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from adapters.fakes import Faults, MemoryGazetteer, Upstream, serving, webhooks
from adapters.outbound import Outbound
from adapters.plausible import implausible
from adapters.sources import ADAPTERS, load_sources
from service.domain.calendar import SHANGHAI
from service.domain.ports import Letter, Receiver, Refused
from tests import process
from tests.process import environment, fake_upstream
from tests.served import sqlite

SECRET = "whsec_" + "bmljaHQtZWluLWVjaHRlci1zY2hsdWVzc2Vs"


@pytest.mark.parametrize("name", load_sources())
def test_what_a_channel_s_fake_sends_its_adapter_reads(name: str) -> None:
    source = load_sources()[name]
    adapter = ADAPTERS[source.adapter](MemoryGazetteer())
    upstream = Upstream(name)
    now = datetime.now(SHANGHAI)
    numbers = set()
    for _ in range(50):
        complaint = adapter.complaint(upstream.invent(now), source)
        assert implausible(complaint, now, source) == []
        numbers.add(complaint.source_no)
    assert len(numbers) == 50


def test_a_fake_runs_as_a_process_whose_faults_are_set_while_it_runs() -> None:
    with fake_upstream("haochaping", rows=7, FAKE_TOKEN="t0ken") as address:
        assert httpx.get(f"{address}/list", timeout=60).status_code == 401
        with httpx.Client(
            headers={"Authorization": "Bearer t0ken"}, base_url=address, timeout=60
        ) as client:
            whole = client.get("/list")
            assert whole.json()["total"] == len(whole.json()["items"]) == 7
            page = client.get("/list", params={"page": 2, "size": 5})
            assert len(page.json()["items"]) == 2
            same = client.get("/list", headers={"If-None-Match": whole.headers["etag"]})
            assert (same.status_code, same.content) == (304, b"")
            row = whole.json()["items"][0] | {"evaluateId": "HCP-1", "assessTime": "2031-01-01"}
            assert client.post("/rows", json=[row]).json() == {"rows": 8}
            since = client.get("/list", params={"since": "2030-12-31"})
            assert [item["evaluateId"] for item in since.json()["items"]] == ["HCP-1"]
            client.post("/faults", json={"status": 503, "times": 1})
            assert [client.get("/list").status_code for _ in range(2)] == [503, 200]
            assert client.post("/faults", json={"sloow_s": 1}).status_code == 422
            client.post("/faults", json={"garbage": "cut"})
            with pytest.raises(json.JSONDecodeError):
                client.get("/list").json()


def test_a_call_back_is_recorded_with_what_is_wrong_with_its_signature() -> None:
    """Signed by the service, verified by the fake: written apart, they agree on the specification."""
    to = Receiver("source:haochaping", "", "SECRET")
    with serving(Upstream("haochaping", secret=SECRET)) as address:

        async def send(secret: str) -> None:
            receiver = Receiver(to.destination, f"{address}/callback", to.secret)
            post = Outbound({to.destination: receiver}, {"SECRET": secret})
            body = json.dumps({"no": "360732-20261118-00001"}).encode()
            try:
                await post.send(Letter(to.destination, "msg_1", datetime.now(UTC), body))
            finally:
                await post.close()

        asyncio.run(send(SECRET))
        with pytest.raises(Refused, match="http-401"):
            asyncio.run(send("whsec_YW5vdGhlci1rZXktdGhhdC1pcy1ub3QtaXQ="))
        first, second = httpx.get(f"{address}/callback", timeout=60).json()["items"]
    assert (first["id"], first["fault"], first["answered"]) == ("msg_1", "", 200)
    assert first["body"] == {"no": "360732-20261118-00001"}
    assert (second["fault"], second["answered"]) == ("no signature fits", 401)


@pytest.mark.parametrize("version", ["v1", "v1sm3"])
def test_a_signature_holds_for_its_body_its_time_and_its_key(version: str) -> None:
    now = int(time.time())
    given = webhooks.headers(SECRET, "msg_1", now, b"{}", version)
    assert webhooks.fault(SECRET, given, b"{}", now + 299) == ""
    assert "five minutes" in webhooks.fault(SECRET, given, b"{}", now + 301)
    assert webhooks.fault(SECRET, given, b"[]", now)
    assert webhooks.fault("other", given, b"{}", now)
    assert webhooks.fault(SECRET, {}, b"{}", now)


def test_a_fake_pushes_what_is_signed_and_what_goes_wrong_on_the_way(tmp_path: Path) -> None:
    (tmp_path / "sources.yaml").write_text(
        "hotline-12345: {adapter: hotline_12345, channel: hotline-12345, label: 热线,"
        " auth: signature, secrets: [FAKE_SIGNS]}\n",
        "utf-8",
    )
    env = environment(
        sqlite(tmp_path), BANJIE_SOURCES=str(tmp_path / "sources.yaml"), FAKE_SIGNS=SECRET
    )
    upstream = Upstream("hotline-12345", secret=SECRET)
    with process.serving(env, tmp_path) as server, httpx.Client(timeout=60) as client:
        intake = f"{server.address}/v1/intake/hotline-12345"

        def push(count: int = 1, **faults: object) -> list[int]:
            upstream.faults = replace(Faults(), **faults)  # type: ignore[arg-type]
            rows = [upstream.invent() for _ in range(count)]
            return [answer.status_code for answer in upstream.push(client, rows, intake)]

        assert push() == [201]
        assert push(wrong_signature=True) == [401]
        assert push(garbage="cut") == [400]
        assert push(duplicate=True) == [201, 200]
        assert sorted(push(3, duplicate=True, out_of_order=True)) == [200] * 3 + [201] * 3
