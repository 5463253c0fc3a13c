"""What the commands share: settings, one JSON document, and a refusal in one line."""

import json
import os
import sys
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from service.config import Settings
    from service.store import Store

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


class Refused(Exception):
    """A command cannot go on: told in one line, with exit code 1 (found wrong) or 2 (used wrongly)."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def fail(message: str, code: int) -> NoReturn:
    """Say why on standard error, and end."""
    typer.echo(message, err=True)
    raise SystemExit(code)


def settings() -> "Settings":
    """Return the settings, or refuse with the name of the one that is wrong."""
    # `banjie --help` has none.
    from pydantic import ValidationError  # noqa: PLC0415

    from routing_rules.faults import sentence  # noqa: PLC0415
    from service.config import Settings, mistyped  # noqa: PLC0415

    if meant := [f"{name}（是否应为 {near}？）" for name, near in mistyped(os.environ)]:
        raise Refused(f"没有这样的设置：{'、'.join(meant)}", 2)
    try:
        return Settings()
    except ValidationError as error:
        wrong = "；".join(
            f"BANJIE_{'_'.join(str(part) for part in fault['loc']).upper()}：{sentence(fault)}"
            for fault in error.errors()
        )
        raise Refused(f"设置有误：{wrong}", 2) from error


def asked() -> "Settings":
    """Return the settings of a database that is there, or refuse: a question makes none."""
    from service.store.engine import lacks_file  # noqa: PLC0415

    configured = settings()
    if lacks_file(configured.database_url):
        raise Refused(
            "没有这个数据库文件：请核对 BANJIE_DATABASE_URL 和当前文件夹；新建数据库用 banjie migrate",
            2,
        )
    return configured


async def require_tables(store: "Store") -> None:
    """Refuse a database that has no tables of ours."""
    from service.store.engine import Schema, schema  # noqa: PLC0415

    if await store.read(schema) is Schema.NONE:
        raise Refused("这个数据库中还没有表：请核对 BANJIE_DATABASE_URL；新建用 banjie migrate", 2)


async def require_schema(store: "Store") -> None:
    """Refuse a database without tables of ours, or with those of an earlier version: who only reads
    changes none."""
    from service.store.engine import is_migrated  # noqa: PLC0415

    await require_tables(store)
    if not await store.read(is_migrated):
        raise Refused("数据库的结构是较早版本的，请先运行 banjie migrate", 2)


def print_document(document: Any) -> None:
    """Print one JSON document and nothing else."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
