"""A backlog of the feed is placed in parts: the snapshot that it is of, and how far it is done"""

import sqlalchemy as sa
from alembic import op

from service.store.migrations.online import add_column

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_column("feed_turns", sa.Column("until", sa.String(), nullable=True))
    add_column("feed_turns", sa.Column("passed", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("feed_turns", "passed")
    op.drop_column("feed_turns", "until")
