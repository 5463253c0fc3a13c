"""What is sealed at rest: the keys and the database together, and the rows of what people told (ADR 0030).

A `Sealing` belongs to a store; whoever works with one of its connections finds it there (`of`). The
rows are of a ticket and a part: "" is its complaint, others are texts that were written about it.
"""

import hashlib
import hmac
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from service.domain.personal import FREE_TEXTS, said
from service.domain.similar import person
from service.seal import (
    Algorithm,
    Key,
    KeyFault,
    KeyMissing,
    Keyring,
    is_open_to_others,
    new_key,
    read_keys,
    write_keys,
)
from service.store.bulk import among, given_among, insert_rows, put_rows
from service.store.engine import OPTION, Keys, NotPrepared, logger
from service.store.tables import SealedRow, SealKeyRow, SecretRow, TicketRow, metadata

_keys = metadata.tables[SealKeyRow.__tablename__]
_sealed = metadata.tables[SealedRow.__tablename__]
_secrets = metadata.tables[SecretRow.__tablename__]
_tickets = metadata.tables[TicketRow.__tablename__]
_k, _s = _keys.c, _sealed.c

# Of no ticket: the key of the hashes, sealed like everything else. So it stays the same when the
# keys change, and nobody finds it in the database.
_INDEX = (0, "index")


@dataclass(frozen=True, slots=True)
class Part:
    """Something to be sealed: of which ticket, which part of it, what it says, and the number of who
    complained, by which it is found, "" for none."""

    ticket_id: int
    part: str
    document: Mapping[str, Any]
    phone: str = ""


class Sealing:
    """The keys of a store. `path` is the key file, None where there is none: then a key is kept in the
    database itself, which every replica finds there. `makes` says that a missing file is made."""

    def __init__(self, path: Path | None, *, makes: bool = False) -> None:
        self.path = path
        self._makes = makes
        self._ring: Keyring | None = None
        self._index = b""
        self._seen: object = None
        self.is_ready = False

    def prepare(self, connection: sa.Connection) -> bool:
        """Load the keys, hold them against the database, and tell it of those that are new; return
        whether that could be done yet. Whoever writes does this first.

        Raises KeyFault for keys that lack one by which something is sealed: to go on would leave that
        unread, and what is written would be unreadable to others.
        """
        if not sa.inspect(connection).has_table(_sealed.name):
            return False
        if connection.dialect.name == "postgresql":
            # Of several that start at once the second one finds the first one's key.
            connection.exec_driver_sql("LOCK TABLE seal_keys IN SHARE ROW EXCLUSIVE MODE")
        self._load(connection, makes=True)
        ring = self._ring
        assert ring is not None
        known = {row.id: row for row in connection.execute(sa.select(_keys))}
        now = datetime.now(UTC)
        for key in ring.keys:
            if key.id not in known:
                row = _row(key, "", now if key is ring.current else None)
                connection.execute(_keys.insert().values(**row))
        if ring.current.id in known and known[ring.current.id].since is None:
            connection.execute(_keys.update().where(_k.id == ring.current.id).values(since=now))
        self._index = self._found_index(connection) or self._new_index(connection)
        return True

    def ring(self, connection: sa.Connection) -> Keyring:
        """Return the keys."""
        if self._ring is None:
            self._load(connection, makes=False)
        assert self._ring is not None
        return self._ring

    def index(self, connection: sa.Connection) -> bytes:
        """Return the key of the hashes, b"" where nothing was ever sealed."""
        if not self._index:
            self._index = self._found_index(connection)
        return self._index

    @property
    def keeps_in_database(self) -> bool:
        """Whether the key that seals lies in the database beside what it seals."""
        return self.path is None and self._ring is not None

    @property
    def has_changed(self) -> bool:
        """Whether there is another key file than the one that was read."""
        return self.path is not None and _state_of(self.path) != self._seen

    def _load(self, connection: sa.Connection, *, makes: bool) -> None:
        rows = connection.execute(sa.select(_keys).order_by(_k.since.desc())).all()
        here = [
            Key(r.id, Algorithm(r.algorithm), bytes.fromhex(r.secret)) for r in rows if r.secret
        ]
        seen: object = None
        if self.path is not None:
            if makes and self._makes and not self.path.exists():
                self._refuse_lack(connection, rows, {key.id for key in here})
                _make_file(self.path)
            seen = _state_of(self.path)
            found = read_keys(self.path)
            if is_open_to_others(self.path):
                logger().warning("keys.readable_by_others", file=str(self.path))
            keys = [*found, *(key for key in here if key.id not in {each.id for each in found})]
        else:
            keys = here
            self._refuse_lack(connection, rows, {key.id for key in here})
            if not keys and makes:
                key = new_key(Algorithm.AES, datetime.now(UTC).date())
                row = _row(key, key.secret.hex(), datetime.now(UTC))
                connection.execute(_keys.insert().values(**row))
                keys = [key]
        self._refuse_lack(connection, rows, {key.id for key in keys})
        proofs = {row.id: row.proof for row in rows}
        for key in keys:
            if proofs.get(key.id, key.check) != key.check:
                msg = f"密钥 {key.id} 与数据库登记的不是同一把，已停止：请换回原来的密钥文件"
                raise KeyFault(msg)
        self._ring = Keyring(keys)
        self._seen = seen

    def _refuse_lack(
        self, connection: sa.Connection, rows: Sequence[Any], there: Collection[str]
    ) -> None:
        lacking = [row.id for row in rows if row.id not in there and _is_used(connection, row.id)]
        if lacking:
            where = f"密钥文件 {self.path} 中" if self.path else "没有设置 BANJIE_KEYS，"
            msg = (
                f"数据库中有用密钥 {'、'.join(lacking)} 封存的个人信息，{where}缺少这些密钥，已停止，"
                "未作任何改动：请把其他服务器或备份中的密钥文件放到本机，并用 BANJIE_KEYS 指明"
            )
            raise KeyFault(msg)

    def _found_index(self, connection: sa.Connection) -> bytes:
        sealed = connection.execute(
            sa.select(_s.document).where(_s.ticket_id == _INDEX[0], _s.part == _INDEX[1])
        ).scalar()
        if sealed is None:
            return b""
        found = orjson.loads(self.ring(connection).open(sealed, _where(*_INDEX)))
        return bytes.fromhex(found["key"])

    def _new_index(self, connection: sa.Connection) -> bytes:
        """Seal the key of the hashes. What was hashed before goes on being found: its key is taken
        over from the table in which it stood."""
        was = _secrets.c.name == "person"
        before = connection.execute(sa.select(_secrets.c.secret).where(was)).scalar()
        key = before or secrets.token_hex(32)
        keep(connection, [Part(*_INDEX, {"key": key})], self)
        connection.execute(_secrets.update().where(was).values(secret=""))
        return bytes.fromhex(key)


def _row(key: Key, secret: str, since: datetime | None) -> dict[str, Any]:
    return {
        "id": key.id,
        "algorithm": key.algorithm,
        "proof": key.check,
        "secret": secret,
        "since": since,
    }


def _make_file(path: Path) -> None:
    try:
        write_keys(path, [new_key(Algorithm.AES, datetime.now(UTC).date())], new=True)
    except FileExistsError:
        return  # another process was first
    logger().warning("keys.made", file=str(path), hint="请把密钥文件与数据库分开备份")


def _state_of(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _is_used(connection: sa.Connection, key: str) -> bool:
    return connection.execute(sa.select(_s.part).where(_s.key == key).limit(1)).first() is not None


def of(connection: sa.Connection) -> Sealing:
    """Return what seals and opens for whoever works with this connection."""
    keys: Keys = connection.get_execution_options()[OPTION]
    return keys.sealing


# What is written


def keep(connection: sa.Connection, parts: Sequence[Part], sealing: Sealing | None = None) -> None:
    """Seal parts that are new. Raises NotPrepared."""
    if parts:
        insert_rows(connection, _sealed, _rows(connection, parts, sealing or _ready(connection)))


def new_rows(
    connection: sa.Connection, parts: Sequence[Part]
) -> tuple[sa.Table, list[dict[str, Any]]]:
    """Return the rows that `keep` would write. Raises NotPrepared."""
    return _sealed, _rows(connection, parts, _ready(connection)) if parts else []


def put(connection: sa.Connection, parts: Sequence[Part]) -> None:
    """Seal parts, of which some may be there. Raises NotPrepared."""
    if parts:
        put_rows(connection, _sealed, _rows(connection, parts, _ready(connection)), replace=True)


# That a delivery's own words are sealed, under its message.
HIDDEN = "sealed"


def hide(delivery: dict[str, Any]) -> Part | None:
    """Mask what people wrote in a row of a delivery; return what is to be sealed of it, None for
    nothing."""
    payload = delivery["payload"]
    if HIDDEN in payload:
        return None
    texts = {name: payload[name] for name in FREE_TEXTS if isinstance(payload.get(name), str)}
    told = {name: said(text) for name, text in texts.items()}
    if told == texts:
        return None
    delivery["payload"] = {**payload, **told, HIDDEN: True}
    return Part(delivery["ticket_id"], delivery["message"], texts)


def _ready(connection: sa.Connection) -> Sealing:
    sealing = of(connection)
    if not sealing.is_ready:
        raise NotPrepared
    return sealing


def _rows(
    connection: sa.Connection, parts: Sequence[Part], sealing: Sealing
) -> list[dict[str, Any]]:
    if not parts:
        return []
    ring = sealing.ring(connection)
    return [
        {
            "ticket_id": each.ticket_id,
            "part": each.part,
            "key": ring.current.id,
            "person": person(each.phone, sealing.index(connection)) if each.phone else "",
            "document": ring.seal(orjson.dumps(each.document), _where(each.ticket_id, each.part)),
            "dropped_at": None,
        }
        for each in parts
    ]


def _where(ticket_id: int, part: str) -> str:
    return f"{ticket_id}:{part}"


# What is read


def opened(
    connection: sa.Connection, ids: Collection[int], part: str = ""
) -> dict[int, dict[str, Any] | None]:
    """Return one part of each of these tickets that has it, by ticket; None for what was dropped.

    Raises KeyMissing, or Tampered.
    """
    query = _of_tickets(connection.dialect.name)
    rows = connection.execute(query, {"ids": list(ids), "of": part}).all()
    return {row.ticket_id: open_part(connection, row.document, row.ticket_id, part) for row in rows}


@cache
def _of_tickets(dialect: str) -> sa.Select[Any]:
    these = given_among(dialect, _s.ticket_id, "ids")
    return sa.select(_s.ticket_id, _s.document).where(these, _s.part == sa.bindparam("of"))


def opened_parts(
    connection: sa.Connection, ticket_id: int, parts: Collection[str]
) -> dict[str, dict[str, Any]]:
    """Return those of these parts that there are, by name."""
    rows = connection.execute(
        sa.select(_s.part, _s.document).where(
            _s.ticket_id == ticket_id, among(connection, _s.part, parts)
        )
    )
    found = {row.part: open_part(connection, row.document, ticket_id, row.part) for row in rows}
    return {part: said for part, said in found.items() if said is not None}


def parts_of(connection: sa.Connection, ticket_id: int) -> dict[str, dict[str, Any]]:
    """Return every part of a ticket but the complaint, by name."""
    rows = connection.execute(
        sa.select(_s.part, _s.document).where(_s.ticket_id == ticket_id, _s.part != "")
    )
    found = {row.part: open_part(connection, row.document, ticket_id, row.part) for row in rows}
    return {part: said for part, said in found.items() if said is not None}


def open_part(
    connection: sa.Connection, document: str, ticket_id: int, part: str
) -> dict[str, Any] | None:
    """Return what a part says that was read, None for what was dropped. Raises KeyMissing, or Tampered."""
    if not document:
        return None
    sealing, where = of(connection), _where(ticket_id, part)
    try:
        text = sealing.ring(connection).open(document, where)
    except KeyMissing:
        if not sealing.has_changed:
            raise
        # Another replica has a newer file, and so have we by now.
        sealing._load(connection, makes=False)
        text = sealing.ring(connection).open(document, where)
    document_: dict[str, Any] = orjson.loads(text)
    return document_


def keyed(connection: sa.Connection, text: str) -> str:
    """Return the keyed hash of a text: without the key nobody can try what it may have been."""
    index = of(connection).index(connection)
    return hmac.new(index, text.encode(), hashlib.sha256).hexdigest()


def person_key(connection: sa.Connection) -> bytes:
    """Return the key of the persons' hashes. Raises NotPrepared."""
    return _ready(connection).index(connection)


def of_person(connection: sa.Connection, phone: str, after: int, limit: int) -> list[int]:
    """Return the ids of tickets of whoever has this number, newest first, from `after` on (0 for the
    first); nothing for what is no number."""
    index = of(connection).index(connection)
    wanted = person(phone, index) if index else ""
    if not wanted:
        return []
    query = sa.select(_s.ticket_id).where(_s.person == wanted, _s.person != sa.literal_column("''"))
    if after:
        query = query.where(_s.ticket_id < after)
    found = connection.execute(query.order_by(_s.ticket_id.desc()).limit(limit)).scalars()
    return list(found)


# What is done with it as time goes by


def is_to_reseal(connection: sa.Connection) -> bool:
    """Whether there is something that an older key sealed."""
    rows = connection.execute(sa.select(_k.id, _k.since)).all()
    newest = _newest(rows)
    return newest is not None and any(
        _is_used(connection, row.id) for row in rows if row.id != newest.id
    )


def _newest(keys: Sequence[Any]) -> Any:
    """Return which of these keys seals now, if one does yet."""
    return max((row for row in keys if row.since), key=lambda row: row.since, default=None)


def take_turn(connection: sa.Connection) -> bool:
    """Whether nobody else seals anew just now: of several replicas one does at a time."""
    newest = sa.select(_k.id).where(_k.since.is_not(None)).order_by(_k.since.desc()).limit(1)
    row = connection.execute(newest.with_for_update(skip_locked=True)).first()
    return row is not None


def unsealed(connection: sa.Connection, after: int, window: int) -> tuple[list[int], int | None]:
    """Return the tickets without a complaint sealed among the next so many ids, and the last of these
    ids, None at the end."""
    t = _tickets.c
    ids = sa.select(t.id).where(t.id > after).order_by(t.id).limit(window).subquery()
    last = connection.execute(sa.select(sa.func.max(ids.c.id))).scalar()
    found = connection.execute(
        sa.select(ids.c.id)
        .outerjoin(_sealed, (_s.ticket_id == ids.c.id) & (_s.part == ""))
        .where(_s.ticket_id.is_(None))
        .order_by(ids.c.id)
    )
    return list(found.scalars()), last


def reseal(connection: sa.Connection, limit: int) -> int:
    """Seal some of what older keys sealed by the one that seals now; return how much. Who does not know
    the newest key leaves it to who does."""
    ring = of(connection).ring(connection)
    rows = connection.execute(sa.select(_k.id, _k.since)).all()
    newest = _newest(rows)
    if newest is None or newest.id != ring.current.id:
        return 0
    done = 0
    for row in rows:
        if row.id == newest.id or done >= limit:
            continue
        found = connection.execute(
            sa.select(_sealed)
            .where(_s.key == row.id)
            .order_by(_s.ticket_id)
            .limit(limit - done)
            .with_for_update(skip_locked=True)
        ).all()
        again = [
            {
                **each._mapping,
                "key": newest.id,
                "document": _resealed(ring, each.document, each.ticket_id, each.part),
            }
            for each in found
        ]
        put_rows(connection, _sealed, again, replace=True)
        done += len(again)
    return done


def _resealed(ring: Keyring, document: str, ticket_id: int, part: str) -> str:
    where = _where(ticket_id, part)
    return ring.seal(ring.open(document, where), where)


def have_sealed(connection: sa.Connection) -> set[str]:
    """Return the ids of the keys that sealed at some time."""
    return set(connection.execute(sa.select(_k.id).where(_k.since.is_not(None))).scalars())


def drop_key(connection: sa.Connection, key: str) -> bool:
    """Delete a key that the database itself keeps; return False where it still opens something."""
    if _is_used(connection, key):
        return False
    connection.execute(_keys.delete().where(_k.id == key))
    return True


def is_sealed(connection: sa.Connection, ids: Collection[int]) -> set[int]:
    """Return which of these tickets have their complaint sealed, or had it before it was dropped."""
    if not ids:
        return set()
    query = sa.select(_s.ticket_id).where(among(connection, _s.ticket_id, ids), _s.part == "")
    return set(connection.execute(query).scalars())


def is_known(ticket_id: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    """Return the condition that what a ticket's people told is still there."""
    mine = sa.select(_s.part).where(_s.ticket_id == ticket_id, _s.part == "")
    return mine.where(_s.dropped_at.is_(None)).exists()


def drop(connection: sa.Connection, ids: Collection[int], at: datetime) -> None:
    """Forget for good what these tickets' people told."""
    mine = _s.ticket_id.in_(list(ids))
    connection.execute(_sealed.delete().where(mine, _s.part != ""))
    connection.execute(
        _sealed.update().where(mine).values(key="", person="", document="", dropped_at=at)
    )


def forget(connection: sa.Connection, parts: Iterable[tuple[int, str]]) -> None:
    """Delete single parts."""
    for ticket_id, part in parts:
        connection.execute(_sealed.delete().where(_s.ticket_id == ticket_id, _s.part == part))


@dataclass(frozen=True, slots=True)
class KeyState:
    """How a key is used: by how many sealed parts, whether it is here and where it is kept, and whether
    it seals now."""

    id: str
    algorithm: str
    parts: int
    is_here: bool
    in_database: bool
    seals: bool


@dataclass(frozen=True, slots=True)
class State:
    """How far everything is sealed: by which keys, and how many tickets are not yet."""

    keys: Sequence[KeyState]
    waiting: int

    @property
    def is_done(self) -> bool:
        """Whether all is sealed by the key that seals now."""
        return not self.waiting and all(key.seals or not key.parts for key in self.keys)


def state(connection: sa.Connection, sealing: Sealing) -> State:
    """Return how far everything is sealed. It counts all there is: for a person who asks."""
    ring = sealing.ring(connection)
    rows = connection.execute(sa.select(_keys)).all()
    counted = sa.select(_s.key, sa.func.count().label("parts")).where(_s.key != "")
    rows_of = connection.execute(counted.group_by(_s.key))
    counts: dict[str, int] = {row.key: row.parts for row in rows_of}
    known = {row.id: row for row in rows}
    names = [key.id for key in ring.keys]
    names += [name for name in (*known, *counts) if name not in names]
    algorithms = {key.id: str(key.algorithm) for key in ring.keys}
    found = [
        KeyState(
            name,
            algorithms.get(name) or known[name].algorithm,
            counts.get(name, 0),
            name in ring,
            name in known and bool(known[name].secret),
            name == ring.current.id,
        )
        for name in dict.fromkeys(names)
    ]
    waiting = connection.execute(
        sa.select(sa.func.count())
        .select_from(_tickets)
        .outerjoin(_sealed, (_s.ticket_id == _tickets.c.id) & (_s.part == ""))
        .where(_s.ticket_id.is_(None))
    ).scalar_one()
    return State(found, waiting)
