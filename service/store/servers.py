"""The servers that a PostgreSQL address names, and which of them takes writes just now (ADR 0028)."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import asyncpg

from service.store.engine import NoServer

Host = tuple[str | None, int | None]  # None for what the environment or libpq's defaults say

# What a store can work with: everything it does ends in a write.
_WRITABLE = ("read-write", "primary")
_PORT = 5432
_FAILURES = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
_WHY = {
    "28": "登录被拒绝",
    "3D": "没有这个数据库",
    "53300": "连接数已满",
    "57P03": "正在启动或恢复",
}


class Session(asyncpg.Connection):  # type: ignore[misc]
    """A session whose transactions may begin by a statement that goes with their BEGIN: a round trip
    less for each."""

    begins_by = ""

    async def execute(self, query: str, *given: Any, **options: Any) -> Any:
        """See asyncpg."""
        first, self.begins_by = self.begins_by, ""
        if not first or not query.startswith("BEGIN"):
            return await super().execute(query, *given, **options)
        try:
            return await super().execute(f"{query} {first}", **options)
        except asyncpg.PostgresError:
            # Whoever began takes it for a BEGIN that failed, and asyncpg for a transaction that goes on.
            if not self.is_closed() and self.is_in_transaction():
                await super().execute("ROLLBACK")
            self._top_xact = None
            raise


class Servers:
    """The servers of `postgresql://user@h1:5432,h2:5433/db?target_session_attrs=read-write`.

    Raises ValueError for an address that cannot be read, with the reason in Chinese where there is
    more to say than that.
    """

    def __init__(self, url: str, connect_s: float, session: Mapping[str, str]) -> None:
        """Read an address. `connect_s` is what each server gets to answer a new connection, `session`
        what is set in each; the address may set both otherwise (`connect_timeout`)."""
        parts = urlsplit(url)
        asked = dict(parse_qsl(parts.query))
        login, _, named = parts.netloc.rpartition("@")
        user, _, password = (unquote(part) for part in login.partition(":"))
        self._hosts = _hosts(asked.pop("host", "") or unquote(named), asked.pop("port", ""))
        self._writable = asked.pop("target_session_attrs", _WRITABLE[0])
        if self._writable not in _WRITABLE:
            msg = f"服务要写数据库，target_session_attrs 应为 {' 或 '.join(_WRITABLE)}"
            raise ValueError(msg)
        self._connect_s = float(asked.pop("connect_timeout", connect_s))
        # Behind a pooler that gives each transaction another session: nothing is prepared.
        cached = asked.pop("statement_cache_size", None)
        self.prepares = cached != "0"
        self._login = {
            "user": user or None,
            "password": password or None,
            "database": unquote(parts.path[1:]) or None,
        }
        self._session = {name: value for name, value in session.items() if name not in asked}
        self._rest = f"postgresql:///?{urlencode(asked)}" if asked else "postgresql:///"
        self._last = 0

    async def connect(self) -> asyncpg.Connection:
        """Return a connection to the server that takes writes: the one that did the last time, else
        the first that does. Raises NoServer."""
        why: dict[int, str] = {}
        count = len(self._hosts)
        for n in (*range(self._last, count), *range(self._last)):
            host, port = self._hosts[n]
            try:
                connection = await asyncpg.connect(
                    self._rest,
                    host=host,
                    port=port,
                    timeout=self._connect_s,
                    target_session_attrs=self._writable,
                    connection_class=Session,
                    server_settings=self._session,
                    **self._login,
                    **({} if self.prepares else {"statement_cache_size": 0}),
                )
            except _FAILURES as error:
                why[n] = _reason(error)
            else:
                self._last = n
                return connection
        said = "；".join(f"第 {n + 1} 台{why[n]}" if count > 1 else why[n] for n in range(count))
        raise NoServer(said)


def _hosts(named: str, ports: str) -> Sequence[Host]:
    if not named:
        return [(None, int(ports) if ports else None)]
    apart = ports.split(",")
    found: list[Host] = []
    for n, each in enumerate(named.split(",")):
        if each.startswith("["):  # [::1]:5432
            host, _, port = each[1:].partition("]")
            port = port.removeprefix(":")
        elif each.startswith("/"):
            host, port = each, ""
        else:
            host, _, port = each.partition(":")
        port = port or (apart[n] if len(apart) > n else apart[-1])
        if not host or (port and not port.isdecimal()):
            msg = "主机应写作 主机:端口，多台以逗号分隔"
            raise ValueError(msg)
        found.append((host, int(port or _PORT)))
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, asyncpg.exceptions.TargetServerAttributeNotMatched):
        return "只读，不是主库"
    if isinstance(error, TimeoutError):
        return "没有在限定时间内应答"
    if isinstance(error, OSError):
        return f"连接不上（{type(error).__name__}）"
    state = str(getattr(error, "sqlstate", None) or type(error).__name__)
    said = next((word for start, word in _WHY.items() if state.startswith(start)), "连接不上")
    return f"{said}（{state}）"
