"""docs/feed.md, run as it is written: the calls of the page, and its follower."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests.conftest import tool
from tests.process import environment, serving
from tests.served import sqlite
from tests.test_feed_streams import a_token, push

PAGE = (Path(__file__).parents[1] / "docs/feed.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_works_as_written(tmp_path: Path) -> None:
    tool("curl")
    url = sqlite(tmp_path)
    [first, stream], [follower] = blocks("bash"), blocks("python")
    (tmp_path / "follow.py").write_text(follower, "utf-8")

    with serving(environment(url, BANJIE_TICK_SECONDS="0.2"), tmp_path) as server:
        token = a_token(url)
        kept = tmp_path / "cursor"

        def run(script: str) -> str:
            assert "http://127.0.0.1:8000" in script
            return subprocess.run(
                ["bash", "-c", script.replace("http://127.0.0.1:8000", server.address)],
                env={**environment(url), "TOKEN": token},
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            ).stdout

        def followed(events: int) -> list[str]:
            """Follow until so many events have come, then end it as a power cut would."""
            following = subprocess.Popen(
                [sys.executable, str(tmp_path / "follow.py"), server.address, token, str(kept)],
                stdout=subprocess.PIPE,
                text=True,
            )
            assert following.stdout
            before = kept.read_text() if kept.exists() else ""
            lines = [following.stdout.readline() for _ in range(events)]
            until = time.monotonic() + 30
            while not kept.exists() or kept.read_text() in {"", before}:
                assert time.monotonic() < until, "it keeps no cursor"
                time.sleep(0.05)
            following.kill()
            following.communicate()
            return lines

        with httpx.Client(
            base_url=server.address, headers={"Authorization": f"Bearer {token}"}, timeout=30
        ) as client:
            for n in range(3):
                push(client, f"P{n}")
            page = json.loads(run(first))
            assert len(page["items"]) == 2
            assert page["more"]
            streamed = run(stream.replace("curl -sSN", "curl -sSN --max-time 3"))
            data = re.findall(r"^data: (.*)$", streamed, re.MULTILINE)
            everything = [json.loads(line) for line in data]
            assert everything[:2] == page["items"]
            assert streamed.startswith("retry: ")
            lines = followed(len(everything))
            push(client, "P9")
            more = followed(1)
            assert more[0].split()[2] == "received"
            ids = [int(line.split()[0]) for line in lines + more]
            assert ids == sorted(set(ids)), "SQLite: no repeat, in order"

        refused = subprocess.run(
            [sys.executable, str(tmp_path / "follow.py"), server.address, "bj_x", "none"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert refused.returncode == 1
        assert "未通过身份验证" in refused.stderr
