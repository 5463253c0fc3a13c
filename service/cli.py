"""The command line: `banjie`. A table of commands; the module of one is imported when it is called."""

import gc
import os
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from service.terminal import Refused, fail

# By name: the module, what is typed in it (a Typer of several commands, or one function), and what
# `banjie --help` says, for which no module is imported.
COMMANDS = {
    "serve": ("cli_serve", "serve", "Migrate the database, then serve."),
    "migrate": ("cli_migrate", "migrate", "Bring the database's schema up to date."),
    "openapi": ("cli_serve", "openapi", "Print the OpenAPI document as YAML."),
    "token": ("cli_token", "app", "Callers' tokens 令牌."),
    "user": ("cli_user", "app", "People's accounts 账号."),
    "keys": ("cli_keys", "app", "The keys of what people told 密钥."),
    "rules": ("cli_rules", "app", "The responsible-unit table 责任单位."),
    "sources": ("cli_sources", "app", "The systems that send complaints 来源."),
    "learn": ("cli_learn", "app", "The learned model; needs the extra `learn`."),
    "deadline": ("cli_deadline", "deadline", "Work out when a limit ends, and say how."),
    "calendar": ("cli_calendar", "app", "Working days 工作日."),
    "recalculate": (
        "cli_recalculate",
        "recalculate",
        "Work out open clocks anew by the calendar and limits of today: tell what moves, then do it.",
    ),
    "import": (
        "cli_import",
        "import_history",
        "Take over years of history; exit 1 if rows were refused.",
    ),
    "store": ("cli_store", "app", "Months of events 按月存放的办件历史."),
    "kpi": ("cli_kpi", "app", "Rates that can be defended 考核指标."),
    "bulletin": (
        "cli_bulletin",
        "bulletin",
        "Make the monthly bulletin (通报): totals, rankings, late tickets, lists, hot matters.",
    ),
    "audit": ("cli_audit", "app", "The chain of events that shows what was tampered with 审计."),
    "simulate": (
        "cli_simulate",
        "run",
        "Simulate a place's days by the rules and limits in force, and tell what came of it.",
    ),
}


def command(name: str) -> typer.Typer:
    """Return a command line of this command alone, its module imported."""
    module, attribute, _ = COMMANDS[name]
    found = getattr(import_module(f"service.{module}"), attribute)
    alone = typer.Typer(add_completion=False)
    if isinstance(found, typer.Typer):
        alone.add_typer(found, name=name)
    else:
        alone.command(name)(found)
        alone.callback()(_listed)  # else the one command would be taken for the whole
    return alone


class _Commands(TyperGroup):
    """Lists the table, and imports no more of it than the command that is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _listed, rest = super().resolve_command(ctx, args)
        if not name:
            return name, None, rest
        called = typer.main.get_command(command(name))
        if not gc.isenabled():  # by `main`: from here on what a command makes may be garbage
            gc.freeze()
            gc.enable()
        return name, called.get_command(ctx, name), rest  # type: ignore[attr-defined]


app = typer.Typer(
    name="banjie",
    cls=_Commands,
    help="Banjie 办结: complaints to the unit that must answer, and every unit to its time limit.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _listed() -> None:
    """Stand for a command whose module is not imported yet."""


for _name, (_module, _attribute, _help) in COMMANDS.items():
    app.command(_name, help=_help)(_listed)


def main() -> None:
    """Run the command line; what an operator can mend is told in one line, without a traceback."""
    # The database and its journals hold people's numbers: nobody else on the machine reads them.
    os.umask(0o077)
    # What is imported stays, and has no garbage to speak of: to look through it takes a tenth as long.
    gc.disable()
    try:
        app()
    except Refused as error:
        fail(str(error), error.code)
    except Exception as error:
        if why := _mendable(error):
            fail(*why)
        raise


def _mendable(error: Exception) -> tuple[str, int] | None:
    """Return what to tell of an error that an operator can mend, and the exit code; None for a fault
    of ours."""
    # Only who fails pays for knowing all that can.
    from adapters.http import SecretMissing
    from adapters.sources import SourceFileError
    from routing_rules.clocks import ClockFileError
    from routing_rules.yamlfile import RuleFileError
    from service.audit import BadKey
    from service.seal import KeyFault, Tampered
    from service.store import BadDatabaseUrl, StoreUnavailable
    from service.store.months import Detached

    match error:
        case RuleFileError() | ClockFileError() | SourceFileError():
            return f"规则或配置无法加载，已停止：{error}", 1
        case SecretMissing():
            return f"设置有误：{error}", 2
        case BadDatabaseUrl():
            return f"设置有误：BANJIE_DATABASE_URL：{error}", 2
        case KeyFault():
            return str(error), 1
        case Tampered():
            return f"{error}；请从备份核对", 1
        case BadKey():
            return f"设置有误：BANJIE_AUDIT_KEY：{error}", 2
        case StoreUnavailable():
            return f"数据库不可用：{error}", 1
        case Detached():
            until = f"{error.until // 100} 年 {error.until % 100} 月"
            return f"{until}及以前的办件历史已取下，请先用 banjie store attach 接回", 1
        case _:
            return None
