"""What the pages say is held against the code they speak of."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

import service.labels
from service.api import problems
from service.cli import COMMANDS, app, command
from service.config import Settings
from service.domain.access import GRANTS, Role
from service.domain.kpi import RATES, Better
from service.labels import ACTS, REACHES, ROLES
from service.metrics import Metrics
from service.store.figures import Figures

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
ADRS = sorted((DOCS / "adr").glob("[0-9]*.md"))
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])


def rows(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading, without its head."""
    text = (ROOT / page).read_text("utf-8")
    _, found, below = text.partition(f"\n{heading}\n")
    assert found, f"{page} has no “{heading}”"
    table = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    assert table, f"{page} has no table below “{heading}”"
    lines = table[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_every_setting_is_documented_with_its_default() -> None:
    expected = [
        [
            f"`BANJIE_{name.upper()}`",
            "none" if field.default is None else f"`{field.default}`",
            str(field.description),
        ]
        for name, field in Settings.model_fields.items()
    ]
    assert rows("docs/settings.md", "## The table") == expected


def labels() -> Iterator[tuple[str, str, str]]:
    for table, content in vars(service.labels).items():
        if table.isupper() and isinstance(content, Mapping):
            for value, label in content.items():
                yield table, str(value), label


@pytest.mark.parametrize(("table", "value", "label"), list(labels()))
def test_every_label_is_in_the_glossary(table: str, value: str, label: str) -> None:
    lines = (DOCS / "glossary.md").read_text("utf-8").splitlines()
    cells = [line.strip("|").split("|") for line in lines if line.startswith("|")]
    assert any(label == term.strip() and f"`{value}`" in names for term, names, *_ in cells), (
        f"docs/glossary.md has no row for {label} `{value}` ({table})"
    )


def test_every_refusal_is_documented() -> None:
    alone = [found for found in vars(problems).values() if isinstance(found, problems.Problem)]
    known = [*problems.PROBLEMS.values(), *problems._HTTP.values(), *alone]
    expected = sorted({(str(p.status), f"`{p.name}`", p.title) for p in known})
    assert sorted(tuple(row[:3]) for row in rows("docs/api.md", "## Refusals")) == expected


def test_who_may_do_what_is_documented() -> None:
    expected = [
        [f"`{what}` {ACTS[what]}", *(REACHES.get(roles.get(role, ""), "") for role in Role)]
        for what, roles in GRANTS.items()
    ]
    assert rows("docs/access.md", "## Who may do what") == expected


def test_every_role_is_documented() -> None:
    documented = [row[0] for row in rows("docs/api.md", "## Callers")]
    assert documented == [f"`{role}` {ROLES[role]}" for role in Role]


def test_every_address_is_documented_and_no_other() -> None:
    document = yaml.safe_load((ROOT / "openapi.yaml").read_text("utf-8"))
    served = {
        f"`{method.upper()} {path}`"
        for path, methods in document["paths"].items()
        for method in methods
    }
    assert {row[0] for row in rows("docs/api.md", "## Addresses")} == served


def test_every_series_is_documented() -> None:
    shown = Metrics().render(Figures(), datetime(2026, 11, 21, tzinfo=UTC), 40).decode()
    told = re.findall(r"^# HELP (\S+) (.*)", shown, re.MULTILINE)
    no_term = [name for name, text in told if not re.search(r"[a-z].*[\u4e00-\u9fff]", text)]
    assert not no_term, "English, with the Chinese term"
    # The library adds when each counter of the process began, as a series of its own.
    series = {f"`{name}`" for name, _ in told if not name.endswith("_created")}
    assert {row[0] for row in rows("docs/operations.md", "## Metrics")} == series


@pytest.mark.parametrize("page", ADRS, ids=lambda page: page.stem)
def test_a_decision_is_told_in_five_parts(page: Path) -> None:
    text = page.read_text("utf-8")
    assert text.startswith(f"# ADR {page.stem[:4]}: ")
    parts = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert parts == ["Context", "Decision", "Consequences", "Alternatives", "References"]


def test_the_index_names_every_decision_by_its_title() -> None:
    expected = [
        [
            page.stem[:4],
            f"[{page.read_text('utf-8').splitlines()[0].partition(': ')[2]}]({page.name})",
        ]
        for page in ADRS
    ]
    assert rows("docs/adr/README.md", "## All of them") == expected


def test_decisions_that_the_code_refers_to_exist() -> None:
    numbers = {page.stem[:4] for page in ADRS}
    for package in ("service", "routing_rules", "adapters"):
        for source in (ROOT / package).rglob("*.py"):
            for number in re.findall(r"ADR (\d{4})", source.read_text("utf-8")):
                assert number in numbers, f"{source.relative_to(ROOT)} refers to ADR {number}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_links_to_what_is_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_rate_is_documented_as_it_is_counted() -> None:
    expected = [
        [
            f"`{each.id}`",
            each.name,
            each.numerator,
            each.denominator,
            "；".join(out.label for out in each.left_out) or "无",
            each.day,
            {Better.HIGH: "多者", Better.LOW: "少者"}[each.better],
            each.source,
        ]
        for each in RATES.values()
    ]
    assert rows("docs/rates.md", "## Definitions") == expected


def commands(typed: typer.Typer, called: str = "banjie") -> Iterator[str]:
    for each in typed.registered_commands:
        assert each.callback
        yield f"`{called} {each.name or each.callback.__name__}`"
    for group in typed.registered_groups:
        assert group.typer_instance
        callback = group.typer_instance.registered_callback
        if callback and callback.invoke_without_command is True:
            yield f"`{called} {group.name}`"
        yield from commands(group.typer_instance, f"{called} {group.name}")


def test_every_command_is_documented_and_no_other() -> None:
    documented = [row[0] for row in rows("docs/operations.md", "## Commands")]
    assert sorted(documented) == sorted(
        each for name in COMMANDS for each in commands(command(name))
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_says_of_itself(name: str) -> None:
    listed = CliRunner().invoke(app, [name, "--help"])
    assert listed.exit_code == 0
    said = " ".join(re.sub(r"[│\n ]+", " ", listed.stdout).split())
    assert COMMANDS[name][2].rstrip(".") in said
