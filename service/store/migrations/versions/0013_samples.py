"""Second looks at closed tickets, when more time was asked for, and how sources fare"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from service.store.migrations import online

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_AT = sa.DateTime(timezone=True)
_CHECKED = "checked_on <> ''"


def upgrade() -> None:
    op.create_table(
        "samples",
        sa.Column("id", _ID, sa.Identity(), nullable=False),
        sa.Column("region", sa.String(16), nullable=False),
        sa.Column("unit", sa.String(64), nullable=False),
        sa.Column("since", sa.String(10), nullable=False),
        sa.Column("until", sa.String(10), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("percent", sa.Integer(), nullable=False),
        sa.Column("seed", sa.String(64), nullable=False),
        sa.Column("population", sa.Integer(), nullable=False),
        sa.Column("strata", _JSON, nullable=False),
        sa.Column("actor", sa.String(100), nullable=False),
        sa.Column("at", _AT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_samples")),
    )
    op.create_index("ix_samples_region", "samples", ["region", "id"])
    op.create_table(
        "checks",
        sa.Column("id", _ID, sa.Identity(), nullable=False),
        sa.Column("sample_id", _ID, nullable=False),
        sa.Column("ticket_id", _ID, nullable=False),
        sa.Column("region", sa.String(16), nullable=False),
        sa.Column("unit", sa.String(64), nullable=False),
        sa.Column("drawn_at", _AT, nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("way", sa.String(32), nullable=False),
        sa.Column("reached", sa.Boolean(), nullable=True),
        sa.Column("solved", sa.Boolean(), nullable=True),
        sa.Column("truthful", sa.Boolean(), nullable=True),
        sa.Column("checked_on", sa.String(10), nullable=False),
        sa.Column("checked_by", sa.String(100), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checks")),
        sa.ForeignKeyConstraint(["sample_id"], ["samples.id"], name=op.f("fk_checks_sample_id")),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_checks_ticket_id")),
    )
    op.create_index("ix_checks_ticket_id", "checks", ["ticket_id", "id"])
    op.create_index("ix_checks_sample_id", "checks", ["sample_id", "id"])
    op.create_index("ix_checks_state", "checks", ["state", "id"])
    op.create_index(
        "ix_checks_checked_on",
        "checks",
        ["checked_on", "unit"],
        postgresql_where=sa.text(_CHECKED),
        sqlite_where=sa.text(_CHECKED),
    )
    op.create_table(
        "push_days",
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("fate", sa.String(32), nullable=False),
        sa.Column("pushes", sa.Integer(), nullable=False),
        sa.Column("last_at", _AT, nullable=False),
        sa.PrimaryKeyConstraint("source", "day", "fate", name=op.f("pk_push_days")),
    )
    online.add_column("tickets", sa.Column("extension_asked_at", _AT, nullable=True))


def downgrade() -> None:
    op.drop_column("tickets", "extension_asked_at")
    op.drop_table("push_days")
    op.drop_table("checks")
    op.drop_table("samples")
