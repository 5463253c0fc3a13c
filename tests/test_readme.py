"""The README's walk, run as it is written."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import tool

ROOT = Path(__file__).parents[1]
BANJIE = Path(sys.executable).with_name("banjie")


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve an empty database as `make run` does, without the tickets of the demo."""
    monkeypatch.setenv("BANJIE_DATABASE_URL", f"sqlite:///{tmp_path}/banjie.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    log = tmp_path / "log"
    with log.open("w") as written:
        server = subprocess.Popen([BANJIE, "serve", "--port", str(port)], stderr=written)
    try:
        for _ in range(300):
            try:
                httpx.get(f"{address}/healthz")
                break
            except httpx.ConnectError:
                assert server.poll() is None, log.read_text()
                time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait(30)


def test_the_walk_of_the_readme_works_as_written(address: str, tmp_path: Path) -> None:
    tool("curl")
    _, _, walk = (ROOT / "README.md").read_text("utf-8").partition("\n## The walk\n")
    script = "\n".join(re.findall(r"^```bash\n(.*?)^```$", walk, re.MULTILINE | re.DOTALL))
    assert "http://127.0.0.1:8000" in script
    script = script.replace("http://127.0.0.1:8000", address)
    script = script.replace(".venv/bin/banjie", str(BANJIE))
    script = script.replace("tests/samples", str(ROOT / "tests/samples"))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    received, *batches = answers[:4]
    assert received["ticket"]["lead"]["name"] == "兴国县市场监督管理局"
    assert [item["status"] for batch in batches for item in batch["items"]] == [200] + [201] * 6
    acts = answers[4:9]
    states = [answer["ticket"]["state"] for answer in acts]
    assert states == ["signed", "signed", "resolved", "resolved", "closed"]
    history, route, deadline = answers[9:]
    happened = [event["act"] for event in history["items"] if event["act"] != "stage"]
    assert happened == [
        "received", "dispatch", "sign", "contact", "resolve", "call_back", "close",
    ]  # fmt: skip
    assert re.search(
        r'^banjie_tickets_closed_total\{.*unit="360732-market_regulation"\} 1\.0$',
        done.stdout,
        re.MULTILINE,
    )
    assert route["decision"] == "auto"
    assert deadline["due_at"] == "2025-10-14T17:30:00+08:00"
