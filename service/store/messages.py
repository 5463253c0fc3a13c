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
# More than one is added at a time, so that the table does not grow for ever.
_FORGOTTEN_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Message:
    """A signed push: which one it is to its source, and the SHA-256 of its body in hex."""

    source: str
    id: str
    digest: str


class MessageReused(Exception):
    """The same id came before with another body."""


_m = _messages.c
# What another transaction is forgetting at this moment is left to it. Made once: that takes longer
# than running it.
_FORGET = _messages.delete().where(
    sa.tuple_(_m.source, _m.id).in_(
        sa.select(_m.source, _m.id)
        .where(_m.at < sa.bindparam("before", type_=_m.at.type))
        .order_by(_m.at)
        .limit(sa.bindparam("most", type_=sa.Integer()))
        .with_for_update(skip_locked=True)
    )
)


def keep(connection: sa.Connection, pushed: Mapping[int, Message], at: datetime) -> set[int]:
    """Remember pushes in the transaction that stores what they bring, and forget the oldest.

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
    put_rows(connection, _messages, rows, replace=False)
    # After the writing: what another transaction wrote meanwhile was waited for, and counts.
    kept = {
        (row.source, row.id): row.digest
        for row in find_rows(
            connection, _messages, [{"source": source, "id": id_} for source, id_ in first]
        )
    }
    connection.execute(_FORGET, {"before": at - _KEPT, "most": _FORGOTTEN_AT_ONCE * len(rows)})
    return {n for n, each in pushed.items() if kept[each.source, each.id] != each.digest}
