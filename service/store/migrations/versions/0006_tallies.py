"""Tallies: what is counted, by the day it belongs to and the day it was known"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_CELL = (("region", 16), ("unit", 64), ("channel", 64), ("kind", 32))


def _columns(*named: tuple[str, int]) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.String(length), nullable=False) for name, length in named]


def upgrade() -> None:
    op.create_table(
        "tally_entries",
        sa.Column("id", _ID, sa.Identity(), nullable=False),
        *_columns(("known_on", 10), ("region", 16), ("channel", 64), ("kind", 32)),
        sa.Column("counts", _JSON, nullable=False),
        sa.Column("names", _JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tally_entries")),
    )
    op.create_table(
        "tallies",
        *_columns(("measure", 32), ("day", 10), *_CELL, ("known_on", 10)),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "measure",
            "day",
            "region",
            "unit",
            "channel",
            "kind",
            "known_on",
            name=op.f("pk_tallies"),
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_tallies_known_on", "tallies", ["known_on"])
    op.create_table(
        "tally_sums",
        *_columns(("view", 16), ("measure", 32), ("since", 10), *_CELL),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "view",
            "measure",
            "since",
            "region",
            "unit",
            "channel",
            "kind",
            name=op.f("pk_tally_sums"),
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "unit_names",
        sa.Column("unit", sa.String(64), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("since", sa.String(10), nullable=False),
        sa.PrimaryKeyConstraint("unit", "name", name=op.f("pk_unit_names")),
    )
    op.create_table(
        "recounts",
        sa.Column("id", _ID, autoincrement=False, nullable=False),
        sa.Column("known_on", sa.String(10), nullable=False),
        sa.Column("cells", sa.Integer(), nullable=False),
        sa.Column("first", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recounts")),
    )


def downgrade() -> None:
    for table in ("recounts", "unit_names", "tally_sums", "tallies", "tally_entries"):
        op.drop_table(table)
