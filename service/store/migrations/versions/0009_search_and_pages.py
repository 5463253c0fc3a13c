"""The words by which tickets are found, and indexes that lists are read along"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from service.store.migrations import online

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_OPEN = "outcome IS NULL"
_NOT_NORMAL = "outcome IS NULL AND stage <> 'normal'"
_ENDED = "kind = 'resolve' AND outcome IS NOT NULL"
_WAITING = "taken_at IS NULL"


def _index(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, postgresql_where=where, sqlite_where=where)


def upgrade() -> None:
    # First, for each is committed: a revision that fails is run again from here.
    for name, columns, condition in (
        ("ix_milestones_unit", ["unit", "due_at", "ticket_id"], _OPEN),
        ("ix_milestones_stage", ["stage", "ticket_id"], _NOT_NORMAL),
        ("ix_milestones_met_at", ["met_at"], _ENDED),
    ):
        online.create_index(name, "milestones", columns, where=condition)
    if op.get_bind().dialect.name == "postgresql":
        op.create_table(
            "ticket_words",
            sa.Column("ticket_id", _ID, autoincrement=False, nullable=False),
            sa.Column("words", postgresql.TSVECTOR(), nullable=False),
            sa.PrimaryKeyConstraint("ticket_id", name=op.f("pk_ticket_words")),
        )
        op.create_index("ix_ticket_words_words", "ticket_words", ["words"], postgresql_using="gin")
    else:
        # Nothing asks where in a text a word stands. Every byte of a Chinese word is part of it.
        op.execute(
            "CREATE VIRTUAL TABLE ticket_words USING fts5(words, detail=none, tokenize='ascii')"
        )
    backlog = op.create_table(
        "search_backlog",
        sa.Column("id", _ID, autoincrement=False, nullable=False),
        sa.Column("before", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_search_backlog")),
    )
    # What is there is cut by the ticker: to do it here would hold up the start for as long.
    last = op.get_bind().execute(sa.text("SELECT max(id) FROM tickets")).scalar()
    op.bulk_insert(backlog, [{"id": 1, "before": last + 1 if last else 0}])
    op.drop_index("ix_rejected_rows_open", table_name="rejected_rows")
    _index("ix_rejected_rows_open", "rejected_rows", ["source", "id"], _WAITING)
    op.drop_index("ix_group_matters_region", table_name="group_matters")
    op.create_index("ix_group_matters_last_at", "group_matters", ["last_at", "id"])


def downgrade() -> None:
    op.drop_index("ix_group_matters_last_at", table_name="group_matters")
    op.create_index("ix_group_matters_region", "group_matters", ["region", "last_at"])
    op.drop_index("ix_rejected_rows_open", table_name="rejected_rows")
    _index("ix_rejected_rows_open", "rejected_rows", ["source"], _WAITING)
    op.drop_index("ix_milestones_met_at", table_name="milestones")
    op.drop_index("ix_milestones_stage", table_name="milestones")
    op.drop_index("ix_milestones_unit", table_name="milestones")
    _index("ix_milestones_unit", "milestones", ["unit"], _OPEN)
    op.drop_table("search_backlog")
    op.drop_table("ticket_words")
