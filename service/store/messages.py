"""Signed pushes by the id that their sender gave them (webhook-id)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from service.store.bulk import find_rows, put_rows
from service.store.tables import MessageRow, metadata

_messages = metadata.tables[MessageRow.__tablename__]
# A sender repeats a push for a day or so; after a week nobody does.
_KEPT = timedelta(days=7)
_FORGOTTEN_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Message:
    """A signed push: which one it is to its source, and the SHA-256 of its body in hex."""

    source: str
    id: str
    digest: str


class MessageReused(Exception):
    """The same id came before with another body."""


def keep(connection: sa.Connection, pushed: Mapping[int, Message], at: datetime) -> set[int]:
    """Remember pushes in the transaction that stores what they bring.

    Return which of them carry an id that its source gave another body, before or among these: they
    are not to be taken. The same body again is no matter.
    """
    if not pushed:
        return set()
    first: dict[tuple[str, str], str] = {}
    for each in pushed.values():
        first.setdefault((each.source, each.id), each.digest)
    rows = [
        {"source": source, "id": message_id, "digest": digest, "at": at}
        for (source, message_id), digest in sorted(first.items())
    ]
    kept = first
    if put_rows(connection, _messages, rows, replace=False) < len(rows):
        # After the writing: what another transaction wrote meanwhile was waited for, and counts.
        keys = [{"source": source, "id": id_} for source, id_ in first]
        there = find_rows(connection, _messages, keys)
        kept = {(row.source, row.id): row.digest for row in there}
    return {n for n, each in pushed.items() if kept[each.source, each.id] != each.digest}


def purge(connection: sa.Connection, at: datetime) -> int:
    """Forget some of the pushes that nobody repeats any more; return how many."""
    m = _messages.c
    old = sa.select(m.source, m.id).where(m.at < at - _KEPT).order_by(m.at)
    these = old.limit(_FORGOTTEN_AT_ONCE).with_for_update(skip_locked=True)
    gone = connection.execute(_messages.delete().where(sa.tuple_(m.source, m.id).in_(these)))
    return gone.rowcount
