"""Proposals to the responsible-unit table, and what was decided of them"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_AT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "proposals",
        sa.Column("id", _ID, sa.Identity(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("unit", sa.String(64), nullable=False),
        sa.Column("region", sa.String(16), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("words", _JSON, nullable=False),
        sa.Column("pairs", _JSON, nullable=False),
        sa.Column("examples", _JSON, nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("author", sa.String(100), nullable=False),
        sa.Column("at", _AT, nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proposals")),
    )
    op.create_index("ix_proposals_state", "proposals", ["state", "id"])
    op.create_table(
        "proposal_decisions",
        sa.Column("id", _ID, sa.Identity(), nullable=False),
        sa.Column("proposal_id", _ID, nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("actor", sa.String(100), nullable=False),
        sa.Column("at", _AT, nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proposal_decisions")),
        sa.ForeignKeyConstraint(
            ["proposal_id"], ["proposals.id"], name=op.f("fk_proposal_decisions_proposal_id")
        ),
    )
    op.create_index(
        "ix_proposal_decisions_proposal_id", "proposal_decisions", ["proposal_id", "id"]
    )


def downgrade() -> None:
    op.drop_table("proposal_decisions")
    op.drop_table("proposals")
