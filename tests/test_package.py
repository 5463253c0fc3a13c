"""The package as it is installed: a service without its rules would be a disaster."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("service", "routing_rules", "adapters")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    return zipfile.ZipFile(wheel)


def test_the_wheel_holds_every_file_of_the_packages(packed: zipfile.ZipFile) -> None:
    kept = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *PACKAGES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if kept.returncode:
        pytest.skip("not a git checkout: which files belong to the packages is not known")
    files = {name for name in kept.stdout.splitlines() if (ROOT / name).is_file()}
    missing = files - set(packed.namelist())
    assert not missing


@pytest.mark.parametrize(
    "name",
    [
        "routing_rules/data/units.yaml",
        "routing_rules/data/limits.yaml",
        "routing_rules/data/duties/city.yaml",
        "routing_rules/data/calendars/2026.yaml",
        "adapters/sources.yaml",
        "service/web/templates/base.html",
        "service/web/static/desk.css",
        "service/store/migrations/env.py",
        "service/store/migrations/versions/0001_the_first_tables.py",
    ],
)
def test_the_wheel_holds_what_the_service_cannot_start_without(
    packed: zipfile.ZipFile, name: str
) -> None:
    assert packed.read(name) == (ROOT / name).read_bytes()


def test_the_wheel_holds_nothing_else(packed: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in packed.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


def test_the_wheel_brings_its_licence_and_its_command(packed: zipfile.ZipFile) -> None:
    parts = {name.partition("/")[2]: name for name in packed.namelist() if ".dist-info/" in name}
    assert packed.read(parts["licenses/LICENSE"]) == (ROOT / "LICENSE").read_bytes()
    assert "banjie = service.cli:main" in packed.read(parts["entry_points.txt"]).decode()
