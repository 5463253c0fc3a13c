"""The README's walk, run as it is written."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import tool
from tests.process import environment, serving
from tests.served import sqlite

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]


def test_the_walk_of_the_readme_works_as_written(tmp_path: Path) -> None:
    tool("curl")
    env = environment(sqlite(tmp_path))
    _, _, walk = (ROOT / "README.md").read_text("utf-8").partition("\n## The walk\n")
    script = "\n".join(re.findall(r"^```bash\n(.*?)^```$", walk, re.MULTILINE | re.DOTALL))
    assert "http://127.0.0.1:8000" in script
    script = script.replace(".venv/bin/banjie", str(Path(sys.executable).with_name("banjie")))
    script = script.replace("tests/samples", str(ROOT / "tests/samples"))
    with serving(env, tmp_path) as server:
        script = script.replace("http://127.0.0.1:8000", server.address)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path,
            env=env,
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
