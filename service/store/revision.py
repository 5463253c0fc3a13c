"""Which revision a database is at and which is the last, told without Alembic: a start that finds
nothing to migrate, and every /readyz, need none of it."""

import re
from functools import cache
from pathlib import Path

import sqlalchemy as sa

MIGRATIONS = Path(__file__).parent / "migrations"
VERSIONS = MIGRATIONS / "versions"

# Alembic's own table; a revision's file says what it is and what it comes after.
_AT = sa.table("alembic_version", sa.column("version_num", sa.String))
_SAYS = re.compile(r"^(revision|down_revision) = (?:\"(\w+)\"|None)$", re.MULTILINE)


def current(connection: sa.Connection) -> str | None:
    """Return the revision that a database is at; None if it is at none, or at several."""
    if not sa.inspect(connection).has_table(_AT.name):
        return None
    found = connection.execute(sa.select(_AT.c.version_num)).scalars().all()
    return found[0] if len(found) == 1 else None


@cache
def head(versions: Path = VERSIONS) -> str:
    """Return the revision of a folder that no other comes after."""
    ids: dict[str, set[str]] = {"revision": set(), "down_revision": set()}
    for path in versions.glob("*.py"):
        for what, revision in _SAYS.findall(path.read_text("utf-8")):
            ids[what].add(revision)
    (last,) = ids["revision"] - ids["down_revision"]
    return last
