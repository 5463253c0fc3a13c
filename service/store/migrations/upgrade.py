"""Alembic, for the one start in many that has something to migrate: to import it takes a while."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from service.store.revision import MIGRATIONS, VERSIONS


def upgrade(connection: sa.Connection, versions: Path = VERSIONS) -> None:
    """Run the revisions of a folder that are still missing. Where the connection has a transaction
    already all of them go into it, else each has its own."""
    config = alembic_config(versions)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def alembic_config(versions: Path = VERSIONS) -> Config:
    """Return what Alembic is to know of a folder of revisions."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("version_locations", str(versions))
    config.set_main_option("path_separator", "newline")
    return config
