"""`banjie keys`: the keys of what people told."""

import asyncio
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
import typer

from service.domain.calendar import SHANGHAI
from service.main import now
from service.seal import Algorithm, Key, KeyFault, new_key, read_keys, write_keys
from service.store import Store, open_store, sealing
from service.terminal import AsJson, Refused, asked, print_document, require_tables, settings

app = typer.Typer(no_args_is_help=True, help="The keys of what people told 密钥.")

Which = Annotated[Algorithm, typer.Option(help="How the key seals.")]


@app.command("add")
def add(algorithm: Which = Algorithm.AES) -> None:
    """Add a key to the key file, or make the file: it opens from now on, and seals once it is the first
    one (`rotate`). The first key of a file seals at once."""
    path, keys = _file()
    key = _new(algorithm, keys)
    _write(path, [*keys, key], new=not keys)
    typer.echo(f"已添加密钥 {key.id}（{key.algorithm}）：{path}")
    typer.echo("请把密钥文件放到每台服务器上，并与数据库分开备份")


@app.command("rotate")
def rotate(algorithm: Which = Algorithm.AES) -> None:
    """Let a new key seal from now on: the one that was added last, or one made now. The service takes it
    in within seconds, and seals anew what older keys sealed; these stay until then."""
    path, keys = _file()
    if not keys:
        raise Refused(f"还没有密钥文件 {path}，请先用 banjie keys add", 1)
    first, *others = keys
    # Those that sealed before come right behind the first; what was added stands at the end.
    known = _known()
    added = [each for each in others if each.id not in known]
    key = added[-1] if added else _new(algorithm, keys)
    _write(path, [key, first, *(each for each in others if each is not key)])
    typer.echo(
        f"从现在起用密钥 {key.id}（{key.algorithm}）封存；旧密钥请保留，直到 status 显示不再使用"
    )


@app.command("status")
def status(as_json: AsJson = False) -> None:
    """Tell which key seals, what each still opens, and what is not sealed yet; exit 1 while something is
    to be done, or the key lies in the database."""

    async def run() -> sealing.State:
        store = _store()
        try:
            await require_tables(store)
            return await store.read(lambda connection: sealing.state(connection, store.sealing))
        finally:
            await store.close()

    found = asyncio.run(run())
    within = any(key.in_database and (key.seals or key.parts) for key in found.keys)
    if as_json:
        print_document(
            {
                "done": found.is_done,
                "waiting": found.waiting,
                "keys": [
                    {
                        "id": key.id,
                        "algorithm": key.algorithm,
                        "parts": key.parts,
                        "seals": key.seals,
                        "here": key.is_here,
                        "in_database": key.in_database,
                    }
                    for key in found.keys
                ],
            }
        )
    else:
        for key in found.keys:
            what = "正在使用" if key.seals else "仍需保留" if key.parts else "可以移除"
            where = "" if key.is_here else "\t本机没有此密钥"
            kept = "\t在数据库内" if key.in_database else ""
            typer.echo(f"{key.id}\t{key.algorithm}\t{key.parts}\t{what}{kept}{where}")
        typer.echo(
            "全部已用当前密钥封存"
            if found.is_done
            else f"尚有 {found.waiting} 张工单未封存，或有旧密钥封存的内容"
        )
    if not found.is_done or within:
        raise typer.Exit(1)


@app.command("remove")
def remove(key: Annotated[str, typer.Argument(help="The key's id.")]) -> None:
    """Remove a key that opens nothing any more, from the key file and from the database."""

    async def run() -> bool:
        store = _store()
        try:
            await require_tables(store)
            return await store.run(lambda connection: sealing.drop_key(connection, key))
        finally:
            await store.close()

    path, keys = _file()
    if keys and keys[0].id == key:
        raise Refused(f"密钥 {key} 正在使用，请先用 banjie keys rotate 换一把", 1)
    if not asyncio.run(run()):
        raise Refused(f"密钥 {key} 仍有封存的内容，不能移除；进度见 banjie keys status", 1)
    if any(each.id == key for each in keys):
        _write(path, [each for each in keys if each.id != key])
    typer.echo(f"已移除密钥 {key}")


def _known() -> set[str]:
    """Return the keys that have sealed something."""

    async def run() -> set[str]:
        store = _store()
        try:
            await require_tables(store)
            return await store.read(sealing.have_sealed)
        finally:
            await store.close()

    return asyncio.run(run())


def _path() -> Path:
    configured = settings()
    if configured.keys:
        return configured.keys
    url = configured.database_url
    path = sa.make_url(url).database if url.startswith("sqlite:") else ""
    if not path:
        raise Refused("请先用 BANJIE_KEYS 指明密钥文件的位置，再用 banjie keys add 新建", 2)
    return Path(f"{path}.keys")


def _file() -> tuple[Path, list[Key]]:
    """Return the key file and the keys in it, none where there is no file."""
    path = _path()
    try:
        return path, read_keys(path) if path.exists() else []
    except KeyFault as error:
        raise Refused(str(error), 1) from None


def _new(algorithm: Algorithm, keys: list[Key]) -> Key:
    try:
        return new_key(algorithm, now().astimezone(SHANGHAI).date(), [key.id for key in keys])
    except KeyFault as error:
        raise Refused(str(error), 2) from None


def _write(path: Path, keys: list[Key], *, new: bool = False) -> None:
    try:
        write_keys(path, keys, new=new)
    except OSError as error:
        raise Refused(f"密钥文件 {path} 无法写入：{error.strerror}", 1) from None


def _store() -> Store:
    configured = asked()
    return open_store(configured.database_url, keys=configured.keys)
