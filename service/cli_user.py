"""`banjie user`: the accounts of people who sign in with a password, and who came in."""

import sys
from datetime import timedelta
from typing import Annotated

import sqlalchemy as sa
import typer

from service.cli_token import OneRole, checked, in_store
from service.domain.access import Actor
from service.domain.calendar import SHANGHAI
from service.domain.sign_in import ACCOUNT, PERSONS, Record, Way, account_name, weakness
from service.labels import RECORDS, ROLES, WAYS
from service.main import now
from service.passwords import hashed
from service.store import accounts, sessions, tokens
from service.store.accounts import AccountExists
from service.store.tokens import Use
from service.terminal import AsJson, Refused, print_document, settings

app = typer.Typer(no_args_is_help=True, help="People's accounts 账号.")

Name = Annotated[str, typer.Argument(help="Account: letters, digits, `.`, `_`, `-`.")]
_MOST = 10_000


@app.command("add")
def add(
    name: Name,
    shown: Annotated[str, typer.Option("--name", help="Who it is, as events will show it.")],
    role: OneRole,
    unit: Annotated[list[str] | None, typer.Option(help="A handler's unit; repeat.")] = None,
    region: Annotated[str, typer.Option(help="GB/T 2260 code; empty is everywhere.")] = "",
) -> None:
    """Add an account. The password is asked for, or read from standard input, one line."""
    name = _name(name)
    if role not in PERSONS:
        raise Refused(f"“{ROLES[role]}”不是人，请用 banjie token create", 2)
    by = checked(Actor(shown.strip(), role, tuple(unit or ()), region=region))
    encoded = hashed(_password(name))
    at = now()

    def work(connection: sa.Connection) -> None:
        accounts.add(connection, name, by, encoded, at)
        sessions.record(connection, at, Record.ACCOUNT_ADDED, Way.PASSWORD, by.name, "")

    try:
        in_store(work)
    except AccountExists:
        raise Refused(f"已有账号“{name}”", 1) from None
    typer.echo(f"已添加账号 {name}（{by.name}，{ROLES[role]}）")


@app.command("list")
def show(as_json: AsJson = False) -> None:
    """List the accounts, those of the identity provider too."""
    found = in_store(accounts.all_of)
    if as_json:
        print_document(
            [
                {
                    "account": each.name,
                    "name": each.by.name,
                    "role": each.by.role,
                    "units": list(each.by.units),
                    "region": each.by.region,
                    "way": Way.PASSWORD if each.password else Way.OIDC,
                    "changed_at": each.changed_at.astimezone(SHANGHAI).isoformat(),
                }
                for each in found
            ]
        )
        return
    for each in found:
        where = "、".join(each.by.units) or each.by.region or "全部"
        way = WAYS[Way.PASSWORD if each.password else Way.OIDC]
        typer.echo(f"{each.name}\t{each.by.name}\t{ROLES[each.by.role]}\t{where}\t{way}")


@app.command("remove")
def remove(name: Name) -> None:
    """Remove an account; its sessions end at once."""
    name = _name(name)
    at = now()

    def work(connection: sa.Connection) -> bool:
        account = accounts.find(connection, name)
        if account is None or not accounts.remove(connection, name):
            return False
        way = Way.PASSWORD if account.password else Way.OIDC
        sessions.record(connection, at, Record.ACCOUNT_REMOVED, way, account.by.name, "")
        return True

    if not in_store(work):
        raise Refused(f"没有账号“{name}”", 1)
    typer.echo(f"已删除账号 {name}，其登录已全部失效")


@app.command("password")
def password(name: Name) -> None:
    """Give an account another password; its sessions end at once."""
    name = _name(name)
    if not in_store(lambda connection: _is_local(connection, name)):
        raise Refused(f"没有用密码登录的账号“{name}”", 1)
    encoded = hashed(_password(name))
    at = now()

    def work(connection: sa.Connection) -> bool:
        account = accounts.find(connection, name)
        if account is None or not accounts.set_password(connection, name, encoded, at):
            return False
        way = Way.PASSWORD
        sessions.record(connection, at, Record.ACCOUNT_CHANGED, way, account.by.name, "")
        return True

    if not in_store(work):
        raise Refused(f"没有用密码登录的账号“{name}”", 1)
    typer.echo(f"已更换账号 {name} 的密码，其登录已全部失效")


@app.command("link")
def link(
    name: Name,
    minutes: Annotated[int, typer.Option(min=1, max=1440, help="How long it is good.")] = 30,
) -> None:
    """Print a link that lets the person of an account in once, whatever the way of the account."""
    name = _name(name)
    at = now()

    def work(connection: sa.Connection) -> str | None:
        account = accounts.find(connection, name)
        if account is None:
            return None
        return tokens.create(
            connection,
            account.by,
            at,
            use=Use.LINK,
            expires_at=at + timedelta(minutes=minutes),
            account_id=account.id,
        )

    token = in_store(work)
    if token is None:
        raise Refused(f"没有账号“{name}”", 1)
    typer.echo(f"{(settings().public_url or '').rstrip('/')}/desk/enter/{token}")


@app.command("log")
def log(
    days: Annotated[int, typer.Option(min=1, max=366, help="How far back.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Show who came in, went out or was refused, and what became of accounts; newest first."""
    since = now() - timedelta(days=days)
    found = in_store(lambda connection: sessions.recorded(connection, since, _MOST))
    if as_json:
        print_document(
            [
                {
                    "at": each.at.astimezone(SHANGHAI).isoformat(),
                    "what": each.what,
                    "way": each.way,
                    "who": each.who,
                    "address": each.address,
                }
                for each in found
            ]
        )
        return
    for each in found:
        typer.echo(
            f"{each.at.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}\t{RECORDS[each.what]}\t"
            f"{WAYS[each.way]}\t{each.who}\t{each.address}"
        )


def _name(text: str) -> str:
    name = account_name(text)
    if not ACCOUNT.fullmatch(name):
        raise Refused("账号应为 2 到 32 个小写字母、数字或 . _ -，以字母或数字开头", 2)
    return name


def _password(name: str) -> str:
    """Return a new password: typed twice unseen, or the first line of standard input. It is never an
    argument, which every user of the machine could read."""
    if sys.stdin.isatty():
        given = typer.prompt("新密码", hide_input=True, confirmation_prompt="再输一次")
    else:
        given = sys.stdin.readline().rstrip("\r\n")
    if why := weakness(given, name):
        raise Refused(why, 2)
    return str(given)


def _is_local(connection: sa.Connection, name: str) -> bool:
    account = accounts.find(connection, name)
    return account is not None and account.password is not None
