"""docs/integration.md, run as it is written: a city with names, codes and words of its own."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from adapters.fakes import MemoryGazetteer
from adapters.hotline_12345 import Hotline12345
from adapters.outbound import secrets_of, signatures
from adapters.payload import decode
from adapters.sources import ADAPTERS, load_sources
from service.domain.complaint import Attachment, Kind, Urgency
from tests.conftest import tool
from tests.process import environment, serving
from tests.served import sqlite

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/integration.md").read_text("utf-8")
EXAMPLE = ROOT / "docs/examples/jian-12345"
REGIONS = {"360000": "江西省", "360800": "吉安市", "360802": "吉州区", "360803": "青原区"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_shows_the_files_that_ship() -> None:
    assert json.loads(blocks("json")[0]) == json.loads((EXAMPLE / "order.json").read_text("utf-8"))
    shipped = yaml.safe_load((EXAMPLE / "sources.yaml").read_text("utf-8"))
    assert yaml.safe_load(blocks("yaml")[0]) == shipped


def test_every_field_of_the_example_arrives() -> None:
    source = load_sources(EXAMPLE / "sources.yaml")["jian-12345"]
    adapter = ADAPTERS[source.adapter](MemoryGazetteer(REGIONS))
    order = adapter.complaint(decode((EXAMPLE / "order.json").read_bytes()), source)
    assert (order.source_no, order.title, order.region) == (
        "JA20261118000042",
        "路灯不亮",
        "360802",
    )
    assert (order.kind, order.urgency) == (Kind.HELP, Urgency.URGENT)
    assert order.sender_due_at
    assert order.clock_from
    assert order.clock_from.hour == 10
    assert order.contact.phone == "13800000042"
    assert order.attachments == (Attachment("1.jpg", "http://10.8.0.12/files/1.jpg", 81233),)
    assert dict(order.extra) == {}
    letter = decode((EXAMPLE / "order.xml").read_bytes(), "application/xml")
    other = adapter.complaint(letter, source)
    assert (other.kind, other.extra["kind_raw"], other.confidential) == (Kind.HELP, "09", True)
    assert [file.url for file in other.attachments] == ["http://10.8.0.12/files/2.jpg"]


def test_the_page_names_every_field_of_a_hotline() -> None:
    table = PAGE.partition("Our names, on the right")[2].partition("A name that is already")[0]
    named = set(re.findall(r"`([A-Za-z]+)`", table)) - {
        "region",
        "name",
        "url",
        "size",
        "field_map",
    }
    assert named == set(Hotline12345.FIELDS)


def test_a_field_that_has_our_name_needs_no_row() -> None:
    source = load_sources(EXAMPLE / "sources.yaml")["jian-12345"]
    payload = json.loads((EXAMPLE / "order.json").read_text("utf-8")) | {"gender": "女"}
    order = Hotline12345(MemoryGazetteer(REGIONS)).complaint(payload, source)
    assert order.contact.gender == "女"


def test_the_receiver_of_the_page_knows_what_is_ours() -> None:
    found: dict[str, Any] = {}
    exec(blocks("python")[0], found)
    secret, body, now = (
        "whsec_aW52ZW50ZWQgZm9yIHRoZSB0ZXN0cyBvbmx5IQ==",
        b'{"a": 1}',
        int(time.time()),
    )
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(now),
        "webhook-signature": signatures(secrets_of(secret), "msg_1", now, body),
    }
    assert found["ours"](headers, body, secret)
    assert not found["ours"](headers, body + b" ", secret)
    assert not found["ours"](headers | {"webhook-timestamp": str(now - 600)}, body, secret)


def test_the_page_works_as_written(tmp_path: Path) -> None:
    tool("curl")
    tool("openssl")
    secret = "whsec_aW52ZW50ZWQgZm9yIHRoZSB0ZXN0cyBvbmx5IQ=="
    env = environment(
        sqlite(tmp_path),
        BANJIE_SOURCES=str(EXAMPLE / "sources.yaml"),
        BANJIE_SECRET_JIAN=secret,
    )
    script = "\n".join(blocks("bash"))
    assert "http://127.0.0.1:8000" in script
    # The server is up already, with a secret of its own.
    script = script.replace("whsec_$(openssl rand -base64 32)", secret)
    script = script.replace(".venv/bin/banjie", str(Path(sys.executable).with_name("banjie")))
    with serving(env, tmp_path) as server:
        script = script.replace("http://127.0.0.1:8000", server.address)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr + done.stdout
    assert "1 个来源；0 个错误，0 个提示" in done.stdout
    first, again, letter, listed = (
        json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")
    )
    assert first["ticket"]["region"] == "360802"
    ours = [m for m in first["ticket"]["milestones"] if not m["assisting"]]
    clocks = {m["clock"]: m for m in ours if m["kind"] == "resolve"}
    assert clocks["own"]["started_at"] == "2026-11-18T10:00:00+08:00"
    assert clocks["sender"]["due_at"] == "2026-11-25T17:30:00+08:00"
    assert again["duplicate"]
    assert letter["ticket"]["findings"] == ["诉求类型的写法不在对照表中，按默认类型受理，请核对"]
    assert {ticket["no"] for ticket in listed["items"]} == {
        first["ticket"]["no"],
        letter["ticket"]["no"],
    }
