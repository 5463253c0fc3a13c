"""The chain of events: a link for each, how far the chain of each region goes, and heads of each day"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "chain",
        sa.Column("place", _ID, autoincrement=False, nullable=False),
        sa.Column("region", sa.String(16), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("ticket_no", sa.String(32), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_chain")),
        sa.UniqueConstraint("region", "sequence", name=op.f("uq_chain_region_sequence")),
        sa.UniqueConstraint("event_id", name=op.f("uq_chain_event_id")),
    )
    op.create_table(
        "chain_tails",
        sa.Column("region", sa.String(16), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("region", name=op.f("pk_chain_tails")),
    )
    op.create_table(
        "chain_heads",
        sa.Column("id", _ID, sa.Identity(), nullable=False),
        sa.Column("region", sa.String(16), nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("signature", sa.String(128), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chain_heads")),
        sa.UniqueConstraint("region", "day", name=op.f("uq_chain_heads_region_day")),
    )


def downgrade() -> None:
    for table in ("chain_heads", "chain_tails", "chain"):
        op.drop_table(table)
