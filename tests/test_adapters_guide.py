"""docs/adapters.md tells how to write a fourth adapter: here somebody does what it says."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "adapters.md").read_text("utf-8")


def blocks(file: str) -> list[str]:
    """Return the code blocks that follow the mention of a file, up to the next heading."""
    found = re.search(rf"^`{re.escape(file)}`.*?(?=^## )", GUIDE, re.MULTILINE | re.DOTALL)
    assert found, f"the guide does not speak of {file}"
    return re.findall(r"^```\w+\n(.*?)^```$", found[0], re.MULTILINE | re.DOTALL)


def add(file: Path, line: str, after: str) -> None:
    """Put a line behind the last one that begins like another."""
    lines = file.read_text("utf-8").splitlines(keepends=True)
    place = max(n for n, there in enumerate(lines) if there.startswith(after))
    lines.insert(place + 1, line)
    file.write_text("".join(lines), "utf-8")


@pytest.mark.slow
def test_a_fourth_adapter_is_written_as_the_guide_tells(tmp_path: Path) -> None:
    for package in ("adapters", "service", "routing_rules", "tests"):
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for file in ("adapters/mailbox.py", "tests/samples/mayor-mailbox.json"):
        (text,) = blocks(file)
        (tmp_path / file).write_text(text, "utf-8")
    row, needed = blocks("adapters/sources.py")
    add(tmp_path / "adapters/sources.py", row, '        "haochaping": Haochaping,')
    add(tmp_path / "adapters/sources.py", needed, "from adapters.hotline_12345 import")
    (source,) = blocks("adapters/sources.yaml")
    with (tmp_path / "adapters/sources.yaml").open("a", encoding="utf-8") as listing:
        listing.write("\n" + source)
    (line,) = blocks("tests/channels.py")
    assert line.count("\n") == 1
    add(tmp_path / "tests/channels.py", line, "    HAOCHAPING,")

    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-k",
            "mayor-mailbox or held_to_the_contract",
            "tests/test_adapters_contract.py",
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-4000:]
    passed = re.search(r"(\d+) passed", ended.stdout)
    assert passed, ended.stdout
    assert int(passed[1]) > 50
