"""Tickets of the same matter are found, whatever channel brought them"""

import secrets

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_AT = sa.DateTime(timezone=True)


def upgrade() -> None:
    # What is there already has not been looked at: the ticker catches up with it.
    op.add_column("bodies", sa.Column("looked_at", _AT, nullable=True))
    op.create_index(
        "ix_bodies_looked_at",
        "bodies",
        ["ticket_id"],
        postgresql_where=sa.text("looked_at IS NULL"),
        sqlite_where=sa.text("looked_at IS NULL"),
    )
    kept = op.create_table(
        "secrets",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("secret", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_secrets")),
    )
    op.bulk_insert(kept, [{"name": "person", "secret": secrets.token_hex(32)}])
    op.create_table(
        "group_matters",
        sa.Column("id", _ID, sa.Identity(always=False), nullable=False),
        sa.Column("region", sa.String(16), nullable=False),
        sa.Column("line", sa.String(64), nullable=False),
        sa.Column("place", sa.String(64), nullable=False),
        sa.Column("people", sa.Integer(), nullable=False),
        sa.Column("tickets", sa.Integer(), nullable=False),
        sa.Column("first_at", _AT, nullable=False),
        sa.Column("last_at", _AT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_group_matters")),
    )
    op.create_index("ix_group_matters_region", "group_matters", ["region", "last_at"])
    op.create_table(
        "traits",
        sa.Column("ticket_id", _ID, autoincrement=False, nullable=False),
        sa.Column("person", sa.String(32), nullable=False),
        sa.Column("region", sa.String(16), nullable=False),
        sa.Column("line", sa.String(64), nullable=False),
        sa.Column("spots", _JSON, nullable=False),
        sa.Column("towns", _JSON, nullable=False),
        sa.Column("pairs", sa.Integer(), nullable=False),
        sa.Column("least", _JSON, nullable=False),
        sa.Column("at", _AT, nullable=False),
        sa.Column("group_id", _ID, nullable=True),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_traits_ticket_id")),
        sa.ForeignKeyConstraint(
            ["group_id"], ["group_matters.id"], name=op.f("fk_traits_group_id")
        ),
        sa.PrimaryKeyConstraint("ticket_id", name=op.f("pk_traits")),
    )
    op.create_index(
        "ix_traits_group_id",
        "traits",
        ["group_id"],
        postgresql_where=sa.text("group_id IS NOT NULL"),
        sqlite_where=sa.text("group_id IS NOT NULL"),
    )
    op.create_table(
        "marks",
        sa.Column("mark", sa.String(64), nullable=False),
        sa.Column("at", _AT, nullable=False),
        sa.Column("ticket_id", _ID, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_marks_ticket_id")),
        sa.PrimaryKeyConstraint("mark", "at", "ticket_id", name=op.f("pk_marks")),
    )
    op.create_index("ix_marks_ticket_id", "marks", ["ticket_id"])
    op.create_table(
        "likenesses",
        sa.Column("later_id", _ID, autoincrement=False, nullable=False),
        sa.Column("earlier_id", _ID, autoincrement=False, nullable=False),
        sa.Column("person", sa.Boolean(), nullable=False),
        sa.Column("spot", sa.String(32), nullable=False),
        sa.Column("town", sa.String(32), nullable=False),
        sa.Column("text", sa.Float(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("found_at", _AT, nullable=False),
        sa.Column("rejected_at", _AT, nullable=True),
        sa.ForeignKeyConstraint(["later_id"], ["tickets.id"], name=op.f("fk_likenesses_later_id")),
        sa.ForeignKeyConstraint(
            ["earlier_id"], ["tickets.id"], name=op.f("fk_likenesses_earlier_id")
        ),
        sa.PrimaryKeyConstraint("later_id", "earlier_id", name=op.f("pk_likenesses")),
    )
    op.create_index("ix_likenesses_earlier_id", "likenesses", ["earlier_id"])


def downgrade() -> None:
    for table in ("likenesses", "marks", "traits", "group_matters", "secrets"):
        op.drop_table(table)
    op.drop_index("ix_bodies_looked_at", table_name="bodies")
    with op.batch_alter_table("bodies") as batch:
        batch.drop_column("looked_at")
