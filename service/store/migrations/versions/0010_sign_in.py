"""Sign-in: accounts, sessions of their own, failed tries, and what is recorded of both"""

import secrets

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from service.store.migrations import online

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_AT = sa.DateTime(timezone=True)


def upgrade() -> None:
    online.create_index("ix_idempotency_keys_at", "idempotency_keys", ["at"])
    op.create_table(
        "accounts",
        sa.Column("id", _ID, sa.Identity(), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("shown", sa.String(100), nullable=False),
        sa.Column("role", sa.String(32), nullable=False),
        sa.Column("units", _JSON, nullable=False),
        sa.Column("region", sa.String(16), nullable=False),
        sa.Column("subject", sa.String(64), nullable=True),
        sa.Column("password", sa.String(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", _AT, nullable=False),
        sa.Column("changed_at", _AT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("name", name=op.f("uq_accounts_name")),
        sa.UniqueConstraint("subject", name=op.f("uq_accounts_subject")),
    )
    op.create_table(
        "sessions",
        sa.Column("id", _ID, sa.Identity(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("account_id", _ID, nullable=True),
        sa.Column("token_id", _ID, nullable=True),
        sa.Column("way", sa.String(32), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("role", sa.String(32), nullable=False),
        sa.Column("units", _JSON, nullable=False),
        sa.Column("region", sa.String(16), nullable=False),
        sa.Column("created_at", _AT, nullable=False),
        sa.Column("seen_at", _AT, nullable=False),
        sa.Column("expires_at", _AT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("digest", name=op.f("uq_sessions_digest")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_sessions_account_id")
        ),
        sa.ForeignKeyConstraint(["token_id"], ["tokens.id"], name=op.f("fk_sessions_token_id")),
    )
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])
    op.create_index("ix_sessions_account_id", "sessions", ["account_id"])
    op.create_table(
        "devices",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("account", sa.String(64), nullable=False),
        sa.Column("seen_at", _AT, nullable=False),
        sa.PrimaryKeyConstraint("digest", "account", name=op.f("pk_devices")),
    )
    op.create_index("ix_devices_seen_at", "devices", ["seen_at"])
    op.create_table(
        "sign_in_tries",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("at", _AT, nullable=False),
        sa.Column("until", _AT, nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_sign_in_tries")),
    )
    op.create_index("ix_sign_in_tries_at", "sign_in_tries", ["at"])
    op.create_table(
        "sign_ins",
        sa.Column("id", _ID, sa.Identity(), nullable=False),
        sa.Column("at", _AT, nullable=False),
        sa.Column("what", sa.String(32), nullable=False),
        sa.Column("way", sa.String(32), nullable=False),
        sa.Column("who", sa.String(100), nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_ins")),
    )
    op.create_index("ix_sign_ins_at", "sign_ins", ["at"])
    op.add_column("tokens", sa.Column("account_id", _ID, nullable=True))
    # Sessions have a table of their own from now on: whoever is signed in signs in once more.
    op.execute("DELETE FROM tokens WHERE use = 'session'")
    kept = sa.table("secrets", sa.column("name", sa.String()), sa.column("secret", sa.String()))
    op.bulk_insert(kept, [{"name": "sign_in", "secret": secrets.token_hex(32)}])


def downgrade() -> None:
    op.execute("DELETE FROM secrets WHERE name = 'sign_in'")
    op.drop_index("ix_idempotency_keys_at", table_name="idempotency_keys")
    op.drop_column("tokens", "account_id")
    for table in ("sign_ins", "sign_in_tries", "devices", "sessions", "accounts"):
        op.drop_table(table)
