"""Sealing: what people told, sealed by ticket and part, and the keys that sealed it"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_AT = sa.DateTime(timezone=True)


def upgrade() -> None:
    # Tables alone: what is there already is sealed bit by bit while the service runs.
    op.create_table(
        "seal_keys",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("algorithm", sa.String(16), nullable=False),
        sa.Column("proof", sa.String(32), nullable=False),
        sa.Column("secret", sa.String(64), nullable=False),
        sa.Column("since", _AT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_seal_keys")),
    )
    op.create_table(
        "sealed",
        sa.Column("ticket_id", _ID, autoincrement=False, nullable=False),
        sa.Column("part", sa.String(200), nullable=False),
        sa.Column("key", sa.String(32), nullable=False),
        sa.Column("person", sa.String(32), nullable=False),
        sa.Column("document", sa.String(), nullable=False),
        sa.Column("dropped_at", _AT, nullable=True),
        sa.PrimaryKeyConstraint("ticket_id", "part", name=op.f("pk_sealed")),
    )
    op.create_index("ix_sealed_key", "sealed", ["key", "ticket_id"])
    op.create_index(
        "ix_sealed_person",
        "sealed",
        ["person", "ticket_id"],
        postgresql_where=sa.text("person <> ''"),
        sqlite_where=sa.text("person <> ''"),
    )


def downgrade() -> None:
    for table in ("sealed", "seal_keys"):
        op.drop_table(table)
