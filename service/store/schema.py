"""The schema: which revision a database is at, and how it gets to ours while others serve.

A revision is a four-digit number, and a higher one is newer. `schema_support` holds the oldest one
whose program works with the database as it is: a program that finds a revision that it does not know
asks it whether to go on (ADR 0026).
"""

from enum import StrEnum
from functools import cache
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from service.store.months import is_partition
from service.store.tables import SupportRow, metadata

_MIGRATIONS = Path(__file__).parent / "migrations"
VERSIONS = _MIGRATIONS / "versions"

_support = metadata.tables[SupportRow.__tablename__]


class Standing(StrEnum):
    """How the schema of a database stands to this program."""

    CURRENT = "current"
    OLDER = "older"  # or none at all
    NEWER = "newer"  # and this program works with it
    FOREIGN = "foreign"  # newer, and this program must not touch it


class SchemaRefused(Exception):
    """The database has a schema that this program does not work with; the message says what to do."""


def upgrade(connection: sa.Connection, versions: Path = VERSIONS) -> None:
    """Run the revisions of a folder that are still missing. Where the connection has a transaction
    already all of them go into it, else each has its own."""
    config = alembic_config(versions)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def standing(connection: sa.Connection, versions: Path = VERSIONS) -> Standing:
    """Return how the schema stands to the revisions of a folder."""
    found, known = _revision(connection), _revisions(versions)
    if found == known[-1]:
        return Standing.CURRENT
    if found is None or found in known:
        return Standing.OLDER
    # Older programs than the first that writes it are told by their not reading it.
    oldest = connection.execute(sa.select(_support.c.oldest)).scalar_one()
    return Standing.NEWER if oldest <= known[-1] else Standing.FOREIGN


def is_served(connection: sa.Connection) -> bool:
    """Whether this program works with the schema as it is."""
    return standing(connection) in {Standing.CURRENT, Standing.NEWER}


def require(connection: sa.Connection) -> None:
    """Raise SchemaRefused unless this program works with the schema as it is."""
    found, ours = _revision(connection), _revisions(VERSIONS)[-1]
    told = {
        Standing.OLDER: f"数据库结构（{found or '空库'}）旧于本程序（{ours}），而设置不许启动时迁移"
        "（BANJIE_MIGRATE=false）：请先执行 banjie migrate",
        Standing.FOREIGN: f"数据库结构（{found}）比本程序（{ours}）新，且与本程序不再兼容：请升级本程序，"
        "或恢复升级前的备份",
    }
    if reason := told.get(standing(connection)):
        raise SchemaRefused(reason)


def ours(name: str | None, kind: str, _parents: object) -> bool:
    """Whether a thing of the database is to be compared with the tables: a partition is not, it has
    no table of its own there. For Alembic's `include_name`."""
    return kind != "table" or not is_partition(name or "")


def alembic_config(versions: Path = VERSIONS) -> Config:
    """Return what Alembic is to know of a folder of revisions."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("version_locations", str(versions))
    config.set_main_option("path_separator", "newline")
    return config


@cache
def _revisions(versions: Path) -> tuple[str, ...]:
    """Return the revisions of a folder, the oldest first."""
    walked = ScriptDirectory.from_config(alembic_config(versions)).walk_revisions()
    return tuple(sorted(each.revision for each in walked))


def _revision(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
