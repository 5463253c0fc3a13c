"""The command line: what a command loads, and the tokens that it lists and revokes."""

import json
import subprocess
import sys
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from service.cli import app
from service.domain.access import Actor, Role
from service.store import tokens
from service.terminal import Refused
from tests.process import environment
from tests.served import served

_HEAVY = {
    *(
        "alembic",
        "apscheduler",
        "asyncpg",
        "docx",
        "fastapi",
        "httpx",
        "jinja2",
        "numpy",
        "pydantic",
    ),
    *("pypdf", "rjieba", "sqlalchemy", "uvicorn", "xlsxwriter", "service.demo"),
}
_LOADED = "; ".join(
    (
        "import sys",
        "from service import cli",
        "name = sys.argv[1]",
        "cli.command(name) if name else cli.app(['--help'], standalone_mode=False)",
        "sys.stderr.write(' '.join(sys.modules))",
    )
)


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("", set[str]()),
        ("deadline", {"pydantic"}),
        ("calendar", {"pydantic"}),
        ("migrate", {"sqlalchemy"}),
        ("rules", {"pydantic", "numpy"}),
        ("token", {"pydantic", "sqlalchemy"}),
        ("kpi", {"pydantic", "numpy", "sqlalchemy"}),
        ("bulletin", {"pydantic", "numpy", "sqlalchemy", "jinja2"}),
        ("serve", {"pydantic", "numpy", "sqlalchemy", "uvicorn"}),
    ],
    ids=lambda value: value or "--help" if isinstance(value, str) else "",
)
def test_a_command_loads_nothing_that_it_does_not_need(name: str, needed: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LOADED, name], capture_output=True, text=True, check=True
    )
    assert _HEAVY & set(done.stderr.split()) <= needed


def test_a_database_that_is_up_to_date_is_found_so_without_alembic(migrated_url: str) -> None:
    migrate = "from service.cli import app; app(['migrate'], standalone_mode=False)"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {migrate}; sys.exit('alembic' in sys.modules)"],
        env=environment(migrated_url),
        check=False,
    )
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("BANJIE_DATABSE_URL", "BANJIE_DATABASE_URL"),
        ("BANJIE_RANKFLOOR", "BANJIE_RANK_FLOOR"),
        ("banjie_source", "BANJIE_SOURCES"),
    ],
)
def test_a_setting_that_is_mistyped_is_not_passed_over(
    name: str, meant: str, migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BANJIE_DATABASE_URL", migrated_url)
    monkeypatch.setenv("BANJIE_SECRET_JIAN", "a secret that a sources file may name")
    run = CliRunner()
    assert run.invoke(app, ["token", "list"]).exit_code == 0
    monkeypatch.setenv(name, "3")
    refused = run.invoke(app, ["token", "list"]).exception
    assert isinstance(refused, Refused)
    assert (refused.code, name in str(refused), meant in str(refused)) == (2, True, True)


def test_a_token_is_listed_and_revoked_on_every_replica(
    migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BANJIE_DATABASE_URL", migrated_url)
    run = CliRunner()

    def said(*arguments: str) -> str:
        done = run.invoke(app, ["token", *arguments])
        assert done.exit_code == 0, done.output
        return done.stdout

    with served(migrated_url) as one, served(migrated_url) as other:
        hotline = Actor("江边热线", Role.SOURCE, source="hotline-12345")
        token = one.run(
            lambda parts: parts.store.run(lambda c: tokens.create(c, hotline, parts.now()))
        )
        # Found on both replicas, which remember it for a while.
        answers = [
            each.client.get("/v1/tickets", headers={"Authorization": f"Bearer {token}"})
            for each in (one, other)
        ]
        assert [answer.status_code for answer in answers] == [200, 200]

        listed = json.loads(said("list", "--json"))
        (mine,) = [each for each in listed if each["name"] == "江边热线"]
        assert (mine["role"], mine["source"], mine["revoked_at"]) == (
            "source",
            "hotline-12345",
            None,
        )
        assert token not in json.dumps(listed)
        assert f"{mine['id']}\t江边热线\t" in said("list")

        # Two callers of the test are called alike, and a name that nobody has is none.
        for which, why in (("管理员", "请用编号"), ("没有这个", "没有编号或名称")):
            refused = run.invoke(app, ["token", "revoke", which]).exception
            assert isinstance(refused, Refused)
            assert why in str(refused)

        assert "已吊销" in said("revoke", "江边热线")
        for each in (one, other):
            each.clock.time += timedelta(seconds=5)
            answer = each.client.get("/v1/tickets", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 401
        assert "江边热线" not in said("list")
        assert "江边热线" in said("list", "--all")
        assert isinstance(
            run.invoke(app, ["token", "revoke", str(mine["id"])]).exception, Refused
        ), "it has ended"
