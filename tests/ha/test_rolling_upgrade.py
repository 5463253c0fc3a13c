"""Two versions side by side on one database: what docs/high-availability.md promises of an upgrade."""

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import httpx
import pytest

from service.store.revision import head as last
from tests.ha.cluster import alone
from tests.ha.load import Load, check
from tests.process import Server, banjie, environment, free_port

pytestmark = [pytest.mark.ha, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
PARTS = ("service", "routing_rules", "adapters")
# The code before the schema's revision 0008. At a release: the revision of the release before.
BEFORE = "427fbf8236668cf16c367d439e58526a11310e59"

# What a migration of the promised sort does: it adds.
NEXT = '''\
"""What the version after this one will want"""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tickets", sa.Column("tomorrow", sa.String(32), nullable=True))
    op.add_column("events", sa.Column("kept", sa.Integer(), server_default="0", nullable=False))
    op.create_index("ix_tickets_tomorrow", "tickets", ["tomorrow"])
    op.create_table("tomorrows", sa.Column("id", sa.Integer(), primary_key=True))
'''


def test_the_next_version_s_schema_is_worked_with(tmp_path: Path) -> None:
    """This version is the old one; the next is this one with a migration more."""
    later = tmp_path / "later"
    for part in PARTS:
        shutil.copytree(ROOT / part, later / part, ignore=shutil.ignore_patterns("__pycache__"))
    head = last()
    revision = f"{int(head) + 1:04}"
    versions = later / "service/store/migrations/versions"
    (versions / f"{revision}_next.py").write_text(
        NEXT.format(revision=revision, head=head), "utf-8"
    )
    roll(tmp_path, old=ROOT, new=later, restarts=True)


def test_the_version_before_works_with_this_one_s_schema(tmp_path: Path) -> None:
    found = subprocess.run(
        ["git", "archive", BEFORE, *PARTS], cwd=ROOT, capture_output=True, check=False
    )
    if found.returncode:
        pytest.skip(f"this checkout has no history back to {BEFORE[:7]}")
    earlier = tmp_path / "earlier"
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
        archive.extractall(earlier, filter="data")
    # It does not know yet that it works with a newer schema, and calls itself not ready.
    roll(tmp_path, old=earlier, new=ROOT, restarts=False)


def roll(folder: Path, *, old: Path, new: Path, restarts: bool) -> None:
    """Go from one version to the other under load."""
    with alone() as database:
        env = environment(database.url)
        made = banjie(
            *("token", "create", "--role", "admin", "--name", "管理员"),
            env=env,
            timeout_s=120,
            version=old,
        )
        assert made.returncode == 0, made.stderr
        ports = [free_port(), free_port()]
        servers = [Server(env, ports[0], folder / "old.log", version=old)]
        try:
            addresses = [f"http://127.0.0.1:{port}" for port in ports]
            with Load(addresses, made.stdout.strip()) as load:
                load.wait_for(100)
                moved = banjie("migrate", env=env, timeout_s=300, version=new)
                assert moved.returncode == 0, moved.stderr
                load.wait_for(100)
                servers.append(Server(env, ports[1], folder / "new.log", version=new))
                load.wait_for(100)
                if restarts:
                    # Killed in the middle of the upgrade, it comes back.
                    servers[0].kill()
                    servers[0] = Server(env, ports[0], folder / "old.log", version=old)
                    ready = httpx.get(f"{addresses[0]}/readyz", timeout=30).json()
                    assert "下一版本" in ready["checks"]["migrations"]["detail"]
                load.wait_for(100)
                servers[0].stop()
                assert "Finished server process" in (folder / "old.log").read_text("utf-8")
                load.wait_for(100)
            stored = check(load, database.url)
        finally:
            for server in servers:
                server.kill()
        print(f"{stored} tickets; {dict(load.statuses)}; {load.silence_s():.1f} s")  # noqa: T201
