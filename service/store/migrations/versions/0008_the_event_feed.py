"""The event feed: who wrote an event, its place in the feed, and how far the sequencer has come"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_WRITTEN = sa.text("tx IS NOT NULL")


def upgrade() -> None:
    # No default at first: with one that is new for each row the whole table would be written anew.
    op.add_column("events", sa.Column("tx", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_events_tx", "events", ["tx"], postgresql_where=_WRITTEN, sqlite_where=_WRITTEN
    )
    op.create_table(
        "feed",
        sa.Column("position", _ID, autoincrement=False, nullable=False),
        sa.Column("event_id", _ID, nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_feed")),
        sa.UniqueConstraint("event_id", name=op.f("uq_feed_event_id")),
    )
    op.create_table(
        "feed_turns",
        sa.Column("id", _ID, autoincrement=False, nullable=False),
        sa.Column("base", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.String(), nullable=True),
        sa.Column("tx", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feed_turns")),
    )
    if op.get_bind().dialect.name == "postgresql":
        # As a default of the table, so that a replica of the version before fills it too.
        op.execute(
            "ALTER TABLE events ALTER COLUMN tx"
            " SET DEFAULT CAST(CAST(pg_current_xact_id() AS text) AS bigint)"
        )
        # The table is locked since its column was added: nobody is writing an event just now.
        op.execute(
            "INSERT INTO feed_turns (id, base, last, since, tx)"
            " SELECT 1, coalesce(max(id), 0), coalesce(max(id), 0),"
            " CAST(pg_current_snapshot() AS text),"
            " CAST(CAST(pg_current_xact_id() AS text) AS bigint) FROM events"
        )


def downgrade() -> None:
    op.drop_table("feed_turns")
    op.drop_table("feed")
    op.drop_index("ix_events_tx", table_name="events")
    with op.batch_alter_table("events") as table:
        table.drop_column("tx")
