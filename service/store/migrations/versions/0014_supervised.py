"""What is supervised is found along indexes"""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from service.store.migrations import online

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_AT = sa.DateTime(timezone=True)
_NOT_NORMAL = "outcome IS NULL AND stage <> 'normal'"
_ASKED = "extension_asked_at IS NOT NULL"


def upgrade() -> None:
    # A revision of its own: what comes before an index made beside writers must bear a second run.
    online.create_index(
        "ix_milestones_stage_due_at",
        "milestones",
        ["stage", "due_at", "ticket_id"],
        where=_NOT_NORMAL,
    )
    online.create_index(
        "ix_tickets_extension_asked_at", "tickets", ["extension_asked_at", "id"], where=_ASKED
    )
    _keep_what_was_asked()


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
    op.drop_index("ix_tickets_extension_asked_at", table_name="tickets")
    op.drop_index("ix_milestones_stage_due_at", table_name="milestones")
