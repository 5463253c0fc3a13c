"""Signed pushes by the id that their sender gave them (webhook-id)."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

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


def keep(connection: sa.Connection, message: Message, at: datetime) -> None:
    """Remember a push in the transaction that stores what it brings, and forget the oldest.

    Raises MessageReused for an id that this source gave another body; for the same body it does
    nothing.
    """
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    m = _messages.c
    kept = connection.execute(
        make(_messages)
        .values(source=message.source, id=message.id, digest=message.digest, at=at)
        .on_conflict_do_nothing()
    )
    if not kept.rowcount:
        known = connection.execute(
            sa.select(m.digest).where(m.source == message.source, m.id == message.id)
        ).scalar()
        if known != message.digest:
            raise MessageReused
        return
    # What another transaction is forgetting at this moment is left to it.
    oldest = (
        sa.select(m.source, m.id)
        .where(m.at < at - _KEPT)
        .order_by(m.at)
        .limit(_FORGOTTEN_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    connection.execute(_messages.delete().where(sa.tuple_(m.source, m.id).in_(oldest)))
