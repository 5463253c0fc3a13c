"""Second looks at closed tickets, what is supervised found along indexes, and how sources fare"""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0010"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_AT = sa.DateTime(timezone=True)
_NOT_NORMAL = "outcome IS NULL AND stage <> 'normal'"
_ASKED = "extension_asked_at IS NOT NULL"
_CHECKED = "checked_on <> ''"


def _index(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, postgresql_where=where, sqlite_where=where)


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
    _index("ix_checks_checked_on", "checks", ["checked_on", "unit"], _CHECKED)
    op.create_table(
        "push_days",
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("fate", sa.String(32), nullable=False),
        sa.Column("pushes", sa.Integer(), nullable=False),
        sa.Column("last_at", _AT, nullable=False),
        sa.PrimaryKeyConstraint("source", "day", "fate", name=op.f("pk_push_days")),
    )
    op.add_column("tickets", sa.Column("extension_asked_at", _AT, nullable=True))
    _keep_what_was_asked()
    _index("ix_tickets_extension_asked_at", "tickets", ["extension_asked_at", "id"], _ASKED)
    _index(
        "ix_milestones_stage_due_at", "milestones", ["stage", "due_at", "ticket_id"], _NOT_NORMAL
    )


def _keep_what_was_asked() -> None:
    """Write down when more time was asked for where that waits to be decided: of all requests of a
    ticket the last one."""
    tickets = sa.table(
        "tickets",
        sa.column("id", _ID),
        sa.column("state", sa.String),
        sa.column("extensions", _JSON),
        sa.column("extension_asked_at", _AT),
    )
    t = tickets.c
    pending = sa.cast(t.extensions, sa.Text).contains("pending")
    bind = op.get_bind()
    rows = bind.execute(
        sa.select(t.id, t.extensions).where(t.state.in_(["signed", "paused"]), pending)
    ).all()
    for row in rows:
        last = row.extensions[-1]
        if last["decided"] == "pending":
            asked_at = datetime.fromisoformat(last["at"]).astimezone(UTC)
            bind.execute(tickets.update().where(t.id == row.id).values(extension_asked_at=asked_at))


def downgrade() -> None:
    op.drop_index("ix_milestones_stage_due_at", table_name="milestones")
    op.drop_index("ix_tickets_extension_asked_at", table_name="tickets")
    op.drop_column("tickets", "extension_asked_at")
    op.drop_table("push_days")
    op.drop_table("checks")
    op.drop_table("samples")
