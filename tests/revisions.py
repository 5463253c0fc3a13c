"""The schema as it was at a revision."""

import sqlalchemy as sa
from alembic import command

from service.store.migrations.upgrade import alembic_config


def down_to(connection: sa.Connection, revision: str) -> None:
    """Take the schema back to a revision. Up again goes `store.migrate`."""
    config = alembic_config()
    config.attributes["connection"] = connection
    command.downgrade(config, revision)
