"""The outbox: to whom, under which number, until when; what waited for nobody is settled"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_PENDING = sa.text("state = 'pending'")


def upgrade() -> None:
    for column in (
        sa.Column("destination", sa.String(80), nullable=False, server_default=""),
        sa.Column("message", sa.String(64), nullable=False, server_default=""),
        sa.Column("reason", sa.String(64), nullable=False, server_default=""),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
    ):
        op.add_column("deliveries", column)
    # Nothing sent them when they were news, and nothing shall now: who wants one retries it.
    op.execute(
        "UPDATE deliveries SET message = 'msg_0001_' || id, destination = CASE recipient"
        " WHEN 'citizen' THEN 'citizen' ELSE 'unit:' || unit END,"
        " state = 'unaddressed', next_at = NULL, settled_at = created_at"
        " WHERE state = 'pending'"
    )
    op.execute("UPDATE deliveries SET kind = 'extended' WHERE kind = 'extension'")
    op.drop_index("ix_deliveries_next_at", table_name="deliveries")
    op.drop_index("ix_deliveries_ticket_id", table_name="deliveries")
    op.create_index(
        "ix_deliveries_destination",
        "deliveries",
        ["destination", "next_at", "id"],
        postgresql_where=_PENDING,
        sqlite_where=_PENDING,
    )
    op.create_index(
        "ix_deliveries_ticket_id", "deliveries", ["ticket_id", "destination", "state", "id"]
    )
    op.create_index("ix_deliveries_state", "deliveries", ["state", "id"])
    merged = sa.text("merged_into <> ''")
    op.create_index(
        "ix_tickets_merged_into",
        "tickets",
        ["merged_into"],
        postgresql_where=merged,
        sqlite_where=merged,
    )


def downgrade() -> None:
    op.drop_index("ix_tickets_merged_into", table_name="tickets")
    op.drop_index("ix_deliveries_state", table_name="deliveries")
    op.drop_index("ix_deliveries_ticket_id", table_name="deliveries")
    op.drop_index("ix_deliveries_destination", table_name="deliveries")
    op.create_index("ix_deliveries_ticket_id", "deliveries", ["ticket_id", "id"])
    op.create_index(
        "ix_deliveries_next_at",
        "deliveries",
        ["next_at"],
        postgresql_where=_PENDING,
        sqlite_where=_PENDING,
    )
    with op.batch_alter_table("deliveries") as table:
        for name in (
            "destination",
            "message",
            "reason",
            "claimed_until",
            "expires_at",
            "settled_at",
        ):
            table.drop_column(name)
