"""Tallies are kept as documents, by longer blocks too, and more of them for ever"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_CELL = (("region", 16), ("unit", 64), ("channel", 64), ("kind", 32))
_COLUMNS = "region, unit, channel, kind"
_MONTH = "CAST(substr(since, 6, 2) AS integer)"
_DAY = "CAST(substr(since, 9, 2) AS integer)"
# What holds a day, as text in the order of time.
_BLOCKS = {
    "year": "substr(since, 1, 4)",
    "quarter": f"substr(since, 1, 4) || 'Q' || (({_MONTH} + 2) / 3)",
    "month": "substr(since, 1, 7)",
    "ten": f"substr(since, 1, 7) || '-' || CASE WHEN {_DAY} <= 10 THEN '1' WHEN {_DAY} <= 20 "
    "THEN '2' ELSE '3' END",
    "day": "since",
}
_ENDS = ("on_time", "late", "missed")
_BY_UNIT = (
    *(f"delivery_{s}" for s in ("pending", "delivered", "dead", "unaddressed")),
    *(f"{k}_{e}" for k in ("sign", "contact", "resolve", "call_back", "rectify") for e in _ENDS),
    *(f"stand_{s}" for s in ("received", "sorting", "dispatched", "signed", "paused", "resolved")),
    "stand_merged",
    *("dispatched", "first_right", "first_wrong", "sent_back", "back_upheld", "back_refused"),
    *("redispatched", "extension_granted", "extension_refused", "resolved", "resolved_moved"),
    *("resolved_extended", "redone"),
    *(f"call_{s}_{g}" for s in ("yes", "no", "none") for g in range(6)),
)


def _create(name: str, *key: tuple[str, int], packed: bool) -> None:
    columns: list[sa.Column[str]] = [
        sa.Column(column, sa.String(length), nullable=False) for column, length in key
    ]
    held = (
        sa.Column("counts", sa.JSON(), nullable=False)
        if packed
        else sa.Column("n", sa.BigInteger(), nullable=False)
    )
    names = [column for column, _ in key]
    op.create_table(
        name,
        *columns,
        held,
        sa.PrimaryKeyConstraint(*names, name=op.f(f"pk_{name}")),
        sqlite_with_rowid=False,
    )


def _set_aside(name: str) -> None:
    op.rename_table(name, f"{name}_before")
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"ALTER INDEX pk_{name} RENAME TO pk_{name}_before")


def upgrade() -> None:
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    pack = f"{'json_object_agg' if on_postgresql else 'json_group_object'}(measure, n)"
    # The first word of a measure.
    theme = (
        "split_part(measure, '_', 1)"
        if on_postgresql
        else "substr(measure, 1, instr(measure || '_', '_') - 1)"
    )
    op.drop_index("ix_tallies_known_on", "tallies")
    for name in ("tallies", "tally_sums"):
        _set_aside(name)
    _create("tallies", ("day", 10), *_CELL, ("known_on", 10), packed=True)
    op.create_index("ix_tallies_known_on", "tallies", ["known_on"])
    _create("tally_sums", ("view", 32), ("since", 10), *_CELL, packed=True)
    op.execute(
        f"INSERT INTO tallies (day, {_COLUMNS}, known_on, counts) "  # noqa: S608 names of ours
        f"SELECT day, {_COLUMNS}, known_on, {pack} FROM tallies_before "
        f"GROUP BY day, {_COLUMNS}, known_on"
    )

    def add_up(view: str, since: str, columns: str, measure: str, source: str) -> None:
        op.execute(
            f"INSERT INTO tally_sums (view, since, {_COLUMNS}, counts) "  # noqa: S608
            f"SELECT {view}, block, {_COLUMNS}, {pack} FROM ("
            f"SELECT {since} AS block, {columns}, {measure} AS measure, "
            f"CAST(sum(n) AS bigint) AS n FROM {source} GROUP BY 1, 2, 3, 4, 5, 6"
            f") AS summed WHERE n <> 0 GROUP BY 1, block, {_COLUMNS}"
        )

    for view in ("unit", "class"):
        for grain, since in _BLOCKS.items():
            days = f"tally_sums_before WHERE view = 'day-{view}'"
            add_up(f"'{grain}-{view}-' || {theme}", since, _COLUMNS, "measure", days)
    listed = ", ".join(f"'{measure}'" for measure in _BY_UNIT)
    ended = ", ".join(f"'resolve_{end}'" for end in _ENDS)
    for view, columns, where in (
        ("unit", "region, unit, '' AS channel, '' AS kind", f"measure IN ({listed}, 'closed')"),
        (
            "channel",
            "region, '' AS unit, channel, '' AS kind",
            f"measure LIKE 'worked%' OR measure IN ({ended})",
        ),
        ("class", "region, '' AS unit, channel, kind", "measure LIKE 'received%'"),
    ):
        told = (
            "CASE WHEN measure = 'closed' THEN 'closed ' || channel || ' ' || kind ELSE measure END"
        )
        # In a query of its own: a column that is emptied must not be what a name is made of.
        source = (
            f"(SELECT {columns}, {told} AS measure, n FROM tallies_before WHERE {where}) AS told"  # noqa: S608
        )
        add_up(f"'ever-{view}'", "''", _COLUMNS, "measure", source)
    for name in ("tallies_before", "tally_sums_before"):
        op.drop_table(name)


def downgrade() -> None:
    # What was known when is lost: everything is counted anew at the next start.
    op.drop_index("ix_tallies_known_on", "tallies")
    for name in ("tallies", "tally_sums"):
        op.drop_table(name)
    _create(
        "tallies",
        ("measure", 32),
        ("day", 10),
        *_CELL,
        ("known_on", 10),
        packed=False,
    )
    op.create_index("ix_tallies_known_on", "tallies", ["known_on"])
    _create("tally_sums", ("view", 16), ("measure", 32), ("since", 10), *_CELL, packed=False)
