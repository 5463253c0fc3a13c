"""`banjie token`: what programs prove themselves by."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import sqlalchemy as sa
import typer

from service.domain.access import Actor, Role
from service.domain.calendar import SHANGHAI
from service.labels import ROLES
from service.store import open_store, tokens
from service.terminal import AsJson, Refused, print_document, settings

T = TypeVar("T")


def read_role(text: str) -> Role:
    """Return a role, or refuse what is none with those that there are."""
    if text not in set(Role):
        there_are = "、".join(f"{role}（{ROLES[role]}）" for role in Role)
        raise Refused(f"没有“{text}”这个角色，可用的有：{there_are}", 2)
    return Role(text)


OneRole = Annotated[
    Role,
    typer.Option(
        parser=read_role, metavar="|".join(Role), help="What the person or program may do."
    ),
]

app = typer.Typer(no_args_is_help=True, help="Callers' tokens 令牌.")


@app.command("create")
def create_token(
    role: OneRole,
    name: Annotated[str, typer.Option(help="Who it is, as events will show it.")],
    unit: Annotated[list[str] | None, typer.Option(help="A handler's unit; repeat.")] = None,
    source: Annotated[str, typer.Option(help="The source that a source's token is for.")] = "",
    region: Annotated[str, typer.Option(help="GB/T 2260 code; empty is everywhere.")] = "",
) -> None:
    """Create a token and print it alone. It cannot be shown again."""
    actor = checked(Actor(name.strip(), role, tuple(unit or ()), source, region))
    at = datetime.now(UTC)
    typer.echo(in_store(lambda connection: tokens.create(connection, actor, at)))


@app.command("list")
def list_tokens(
    ended: Annotated[bool, typer.Option("--all", help="Revoked and expired ones too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the tokens of programs: number, name, role, scope, since when. None is shown itself."""
    at = datetime.now(UTC)
    found = [each for each in in_store(tokens.listed) if ended or each.good_at(at)]
    if as_json:
        print_document(
            [
                {
                    "id": each.id,
                    "name": each.actor.name,
                    "role": each.actor.role,
                    "units": list(each.actor.units),
                    "source": each.actor.source,
                    "region": each.actor.region,
                    "created_at": each.created_at.astimezone(SHANGHAI).isoformat(),
                    "expires_at": each.expires_at
                    and each.expires_at.astimezone(SHANGHAI).isoformat(),
                    "revoked_at": each.revoked_at
                    and each.revoked_at.astimezone(SHANGHAI).isoformat(),
                }
                for each in found
            ]
        )
        return
    for each in found:
        by = each.actor
        scope = "、".join(by.units) or by.source or by.region or "全部"
        made = f"{each.created_at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}"
        end = "" if each.good_at(at) else "\t已吊销" if each.revoked_at else "\t已过期"
        typer.echo(f"{each.id}\t{by.name}\t{ROLES[by.role]}\t{scope}\t{made}{end}")


@app.command("revoke")
def revoke_token(
    which: Annotated[str, typer.Argument(help="Number or name, as `banjie token list` shows it.")],
) -> None:
    """Revoke a token; every replica refuses it within 5 seconds."""
    at = datetime.now(UTC)

    def work(connection: sa.Connection) -> tokens.Listed:
        good = [each for each in tokens.listed(connection) if each.good_at(at)]
        # A name may be a number: then the number of a token goes first.
        found = [each for each in good if str(each.id) == which] or [
            each for each in good if each.actor.name == which
        ]
        if len(found) > 1:
            ids = "、".join(str(each.id) for each in found)
            raise Refused(f"名称为“{which}”的令牌有 {len(found)} 个，请用编号：{ids}", 2)
        if not found:
            raise Refused(f"没有编号或名称为“{which}”的有效令牌", 2)
        tokens.revoke_listed(connection, found[0].id, at)
        return found[0]

    ended = in_store(work)
    typer.echo(
        f"已吊销 {ended.id} {ended.actor.name}（{ROLES[ended.actor.role]}），各副本 5 秒内生效"
    )


def checked(by: Actor) -> Actor:
    """Return who a new token or account is for, or refuse what there is not."""
    if by.role is Role.HANDLER and not by.units:
        raise Refused("承办人要用 --unit 指明单位", 2)
    if by.role is Role.SOURCE and not by.source:
        raise Refused("来源系统的令牌要用 --source 指明来源", 2)
    if not by.name or len(by.name) > 100:
        raise Refused("--name 应为 1 到 100 个字", 2)
    if any("\ud800" <= char <= "\udfff" for char in by.name):
        # As Python reads bytes of another encoding; no store takes them.
        raise Refused("--name 不是 UTF-8 文字：请把终端的编码设为 UTF-8", 2)
    # Only who makes a token or an account needs the rules to check it against.
    from adapters.sources import read_sources
    from routing_rules.rulebook import load
    from service.source_check import require

    configured = settings()
    book = load(configured.rules)
    for code in by.units:
        if book.unit(code) is None:
            raise Refused(f"责任单位表中没有代码为“{code}”的单位", 2)
    sources = require(read_sources(configured.sources), book, book.gazetteer)
    if by.source and by.source not in sources:
        raise Refused(f"sources.yaml 中没有“{by.source}”", 2)
    if by.region and book.gazetteer.find(by.region) != by.region:
        raise Refused(f"没有代码为“{by.region}”的地区", 2)
    return by


def in_store(work: Callable[[sa.Connection], T]) -> T:
    """Return the result of work in the database of the settings, migrated first."""

    async def run() -> T:
        store = open_store(settings().database_url)
        try:
            await store.migrate()
            return await store.run(work)
        finally:
            await store.close()

    return asyncio.run(run())
