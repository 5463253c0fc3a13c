"""Takes the README's pictures of a fresh demo, into docs/images: `.venv/bin/python docs/screenshots.py`.

Needs Chromium. What is shown is invented by the demo.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).parent / "images"
SIZE = (1120, 640)
# What is shown to whom: the file, the role, the address, and what is clicked then. Add a line for
# another page.
SHOTS: tuple[tuple[str, str, str, str], ...] = (
    ("queue", "handler", "/desk/queue", ""),
    ("ticket", "dispatcher", "/desk/sorting", "[data-open]"),
    ("figures", "supervisor", "/desk/figures", ""),
)
_LINK = re.compile(r"\s(?P<role>[a-z]+)\s+(?P<address>http\S+/desk/enter/\S+)")


def main() -> int:
    """Serve a demo, take the pictures, and end it. Return 0, or 1 where there is no browser."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.stderr.write("chromium is not installed\n")
        return 1
    FOLDER.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        banjie = str(Path(sys.executable).with_name("banjie"))
        command = [banjie, "serve", "--demo", "--port", str(port)]
        env = os.environ | {"BANJIE_DATABASE_URL": f"sqlite:///{folder}/demo.db"}
        demo = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)  # noqa: S603 ours
        try:
            links = _links(demo)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
                )
                for name, role, address, then in SHOTS:
                    _take(browser, links[role].pop(0), name, address, then)
                browser.close()
        finally:
            demo.terminate()
            demo.wait()
    return 0


def _links(demo: "subprocess.Popen[str]") -> dict[str, list[str]]:
    """Return the one-time links that the demo prints, by role."""
    links: dict[str, list[str]] = {}
    assert demo.stdout
    for line in demo.stdout:
        if found := _LINK.search(line):
            links.setdefault(found["role"], []).append(found["address"])
        if "/metrics" in line:
            break
    return links


def _take(browser: Any, link: str, name: str, address: str, then: str) -> None:
    wide, high = SIZE
    page = browser.new_page(viewport={"width": wide, "height": high})
    for _ in range(60):  # the links are printed before the service listens
        try:
            page.goto(link)
            break
        except Exception:  # noqa: BLE001 whatever a browser calls a refused connection
            page.wait_for_timeout(1_000)
    page.get_by_role("button", name="进入").click()
    page.wait_for_load_state()
    page.goto(f"{link.partition('/desk/')[0]}{address}")
    if then:
        page.locator(then).first.click()
        page.wait_for_load_state()
    page.screenshot(path=FOLDER / f"{name}.png")
    page.close()


if __name__ == "__main__":
    sys.exit(main())
