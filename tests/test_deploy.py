"""What is used to run the service elsewhere names things that are there."""

import hashlib
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from service.config import Settings
from service.main import VERSION
from tests.conftest import tool

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
FILES = [path for path in DEPLOY.rglob("*") if path.is_file() and path.parent.name != "__pycache__"]
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))


def test_prometheus_accepts_its_configuration() -> None:
    checked = subprocess.run(
        [tool("promtool"), "check", "config", DEPLOY / "prometheus" / "prometheus.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_prometheus_asks_the_service_of_the_composition() -> None:
    configured = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8"))
    (job,) = configured["scrape_configs"]
    (host, port) = job["static_configs"][0]["targets"][0].split(":")
    assert host in COMPOSE["services"]
    assert COMPOSE["services"][host]["ports"] == [f"127.0.0.1:{port}:{port}"]


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_a_service_of_the_composition_mounts_what_is_there(name: str) -> None:
    for mount in COMPOSE["services"][name].get("volumes", []):
        source = mount.partition(":")[0]
        if source.startswith("."):
            assert (DEPLOY / source).exists(), source
        else:
            assert source in COMPOSE["volumes"], source


def test_what_is_waited_for_tells_when_it_is_well() -> None:
    told = {name for name, service in COMPOSE["services"].items() if "healthcheck" in service}
    if "HEALTHCHECK" in (ROOT / "Dockerfile").read_text("utf-8"):
        told |= {name for name, service in COMPOSE["services"].items() if "build" in service}
    for service in COMPOSE["services"].values():
        waited = service.get("depends_on", {})
        assert set(waited) <= set(COMPOSE["services"])
        if isinstance(waited, dict):
            assert {
                name for name, how in waited.items() if how["condition"] != "service_started"
            } <= told


def test_keys_are_kept_apart_from_the_database_and_made_before_the_first_start() -> None:
    service = COMPOSE["services"]["banjie"]
    (mount,) = service["volumes"]
    volume, _, folder = mount.partition(":")
    assert not [
        other
        for name, other in COMPOSE["services"].items()
        if name != "banjie" and any(m.startswith(f"{volume}:") for m in other.get("volumes", []))
    ]
    image = (ROOT / "Dockerfile").read_text("utf-8")
    assert re.search(rf"install --directory --owner banjie .* {folder}\n", image), "or root's alone"
    head = (DEPLOY / "compose.yaml").read_text("utf-8").partition("\nname:")[0]
    starts = head.index(" up --detach")
    made = {
        "BANJIE_KEYS": "banjie keys add",
        "BANJIE_AUDIT_KEY": f"banjie audit key {service['environment']['BANJIE_AUDIT_KEY']}",
    }
    for setting, command in made.items():
        assert Path(service["environment"][setting]).parent == Path(folder)
        assert head.index(command) < starts


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_an_image_is_of_a_version(name: str) -> None:
    assert re.search(r":v?\d", COMPOSE["services"][name]["image"])


def test_prometheus_is_given_every_file_of_rules() -> None:
    configured = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8"))
    mounted = {Path(mount.split(":")[1]) for mount in COMPOSE["services"]["prometheus"]["volumes"]}
    folder = Path("/etc/prometheus")
    assert {folder / name for name in configured["rule_files"]} <= mounted


def test_grafana_asks_nobody_outside_and_lets_in_nobody_unnamed() -> None:
    told = COMPOSE["services"]["grafana"]["environment"]
    assert told["GF_SECURITY_DISABLE_GRAVATAR"] == "true", "or it asks for a picture of each user"
    assert told["GF_SNAPSHOTS_EXTERNAL_ENABLED"] == "false", (
        "or a click puts a page on the Internet"
    )
    assert not [name for name in told if name.startswith("GF_AUTH_ANONYMOUS")]


def test_every_port_is_of_this_machine_alone() -> None:
    for name, service in COMPOSE["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name


def test_no_secret_is_written_down() -> None:
    for path in FILES:
        for name, value in re.findall(
            r"^\s*(\S*PASSWORD\S*?)\s*[:=]\s*(\S+)", path.read_text("utf-8"), re.MULTILINE
        ):
            assert value.startswith("${"), f"{path.name}: {name}"


def test_only_settings_that_exist_are_set() -> None:
    known = {f"BANJIE_{name.upper()}" for name in Settings.model_fields}
    for path in [ROOT / "Dockerfile", *FILES]:
        assert set(re.findall(r"BANJIE_[A-Z_]+", path.read_text("utf-8"))) <= known


def test_the_image_is_made_of_what_is_there_and_sent() -> None:
    sent = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line.startswith("!")
    }
    copied = {
        name
        for line in (ROOT / "Dockerfile").read_text("utf-8").splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for name in line.split()[1:-1]
    }
    assert copied == sent
    assert all((ROOT / name).exists() for name in copied)


def test_the_versions_agree() -> None:
    project = re.search(
        r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE
    )
    assert project
    assert project[1] == VERSION
    assert COMPOSE["services"]["banjie"]["image"] == f"banjie:{VERSION}"


def test_the_licence_is_the_published_text() -> None:
    digest = hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest()
    assert digest == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
