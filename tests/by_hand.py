"""Every rate worked out a second time: plain SQL over events, tickets and clocks, from the words of
docs/rates.md. Written apart from service/domain/kpi.py, and knows nothing of tallies."""

from math import ceil
from typing import Any

import sqlalchemy as sa

from service.domain.kpi import Worked
from service.reports import Report

Counted = dict[str, tuple[int, int]]


def _sql(dialect: str, text: str) -> sa.TextClause:
    """Return SQL with DAY(x) written as the database has it: the local day of a time."""
    day = "date({}, '+8 hours')"
    if dialect == "postgresql":
        day = "to_char({} AT TIME ZONE 'Asia/Shanghai', 'YYYY-MM-DD')"
    for column in ("t.received_at", "m.due_at", "at"):
        text = text.replace(f"DAY({column})", day.format(column))
    return sa.text(text)


_GIVEN = """
    WITH moves AS (
        SELECT id, ticket_id, act, DAY(at) AS day, content->>'unit' AS given,
            lead(act) OVER (PARTITION BY ticket_id ORDER BY id) AS next
        FROM events WHERE act = 'send_back'
            OR (act IN ('dispatch', 'rule') AND coalesce(content->>'unit', '') <> '')
    ), given AS (SELECT * FROM moves WHERE act <> 'send_back')
"""
_ROUNDS = """
    WITH steps AS (
        SELECT id, ticket_id, act, unit, DAY(at) AS day, content,
            CASE WHEN act = 'resolve' AND (content->>'working_s' IS NOT NULL
                OR content->>'unit_written' IS NOT NULL) THEN 1 ELSE 0 END AS ends
        FROM events WHERE act IN ('dispatch', 'send_back', 'rule', 'decide_extension', 'resolve',
            'call_back', 'reopen')
    ), rounds AS (
        SELECT steps.*, coalesce(sum(ends) OVER (PARTITION BY ticket_id ORDER BY id
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS round
        FROM steps
    ), ended AS (SELECT * FROM rounds WHERE ends = 1)
"""
_ANSWERS = (
    _ROUNDS
    + """
    , calls AS (
        SELECT ticket_id, unit, day, CAST(content->>'solved' AS text) AS solved,
            content->>'grade' AS grade,
            CASE WHEN CAST(content->>'reached' AS text) IN ('false', '0') THEN 0 ELSE 1 END AS reached,
            row_number() OVER (PARTITION BY ticket_id, round ORDER BY
                CASE WHEN CAST(content->>'reached' AS text) IN ('false', '0') THEN 1 ELSE 0 END,
                id DESC) AS nth
        FROM rounds WHERE act = 'call_back'
    ), answers AS (SELECT * FROM calls WHERE nth = 1 AND reached = 1)
"""
)
_RATING = "CAST(t.complaint->'review'->>'rating' AS integer)"
_SAID = """t.complaint->'review'->>'rating' IS NOT NULL
    AND CAST(t.complaint->'review'->>'system_default' AS text) NOT IN ('true', '1')"""
_WORKED = f"(t.complaint->'review'->>'rating' IS NULL OR ({_SAID} AND {_RATING} <= 2))"


def _owed(kind: str, *, late_counts: bool = False, more: str = "") -> str:
    """What fell due, judged by when the event was that met it, not by what the clock was told."""
    met = f"""EXISTS (SELECT 1 FROM events e WHERE e.ticket_id = m.ticket_id
        AND e.act = '{kind}' AND e.at = m.met_at)"""
    counts = met if late_counts else f"{met} AND m.met_at <= m.due_at"
    return f"""
        SELECT m.ticket_id, coalesce(nullif(m.answers, ''), m.unit) AS unit, DAY(m.due_at) AS day,
            CASE WHEN {counts} THEN 1 ELSE 0 END AS n,
            CASE WHEN {met} OR m.outcome = 'missed' OR (m.outcome IS NULL
                AND NOT (m.next_at IS NULL AND m.done <= 1) AND DAY(m.due_at) <= :elapsed)
                THEN 1 ELSE 0 END AS total
        FROM milestones m JOIN tickets t ON t.id = m.ticket_id
        WHERE m.governing AND NOT m.assisting AND m.kind = '{kind}'
            AND coalesce(m.outcome, '') <> 'withdrawn' {more}"""


# Of each rate, case by case: the ticket, for whom and on which day it counts, whether it does (n),
# and in how many (total).
BY_HAND = {
    "completion": f"""
        SELECT t.id AS ticket_id, lead_unit AS unit, DAY(t.received_at) AS day,
            CASE WHEN state IN ('resolved', 'closed', 'not_accepted') THEN 1 ELSE 0 END AS n,
            1 AS total
        FROM tickets t WHERE state NOT IN ('merged', 'referred') AND {_WORKED}""",
    "repeated": f"""
        SELECT t.id AS ticket_id, lead_unit AS unit, DAY(t.received_at) AS day,
            CASE WHEN state = 'merged' THEN 1 ELSE 0 END AS n, 1 AS total
        FROM tickets t WHERE state NOT IN ('not_accepted', 'referred') AND {_WORKED}""",
    "on_time": _owed("resolve"),
    "sign": _owed("sign"),
    "contact": _owed("contact"),
    "called_back": _owed("call_back", late_counts=True),
    "rectified": _owed("resolve", late_counts=True, more=f"AND {_SAID} AND {_RATING} <= 2"),
    "solved": f"""{_ANSWERS} SELECT ticket_id, unit, day,
            CASE WHEN solved IN ('true', '1') THEN 1 ELSE 0 END AS n, 1 AS total
        FROM answers WHERE solved IS NOT NULL""",
    "satisfied": f"""{_ANSWERS}, rated AS (
            SELECT ticket_id, unit, day, CAST(grade AS integer) AS grade FROM answers
            WHERE grade IS NOT NULL
            UNION ALL SELECT t.id, t.lead_unit, DAY(t.received_at), {_RATING}
            FROM tickets t WHERE state <> 'not_accepted' AND {_SAID})
        SELECT ticket_id, unit, day, CASE WHEN grade >= 3 THEN 1 ELSE 0 END AS n, 1 AS total
        FROM rated""",
    "sent_back": f"""{_GIVEN} SELECT ticket_id, given AS unit, day,
            CASE WHEN next = 'send_back' THEN 1 ELSE 0 END AS n, 1 AS total FROM given""",
    "first_right": f"""{_GIVEN}, ranked AS (
            SELECT ticket_id, given, day,
                row_number() OVER (PARTITION BY ticket_id ORDER BY id) AS nth,
                min(given) OVER (PARTITION BY ticket_id) AS lowest,
                max(given) OVER (PARTITION BY ticket_id) AS highest
            FROM given)
        SELECT ticket_id, given AS unit, day,
            CASE WHEN lowest = highest THEN 1 ELSE 0 END AS n, 1 AS total
        FROM ranked WHERE nth = 1""",
    "redispatched": f"""{_ROUNDS}, had AS (
            SELECT ticket_id, round, unit AS who FROM rounds
                WHERE act IN ('dispatch', 'rule', 'send_back')
            UNION SELECT ticket_id, round, content->>'unit' FROM rounds
                WHERE act IN ('dispatch', 'rule')
        ), moved AS (SELECT ticket_id, round FROM had WHERE who <> '' GROUP BY 1, 2
            HAVING count(DISTINCT who) > 1)
        SELECT ended.ticket_id, unit, day,
            CASE WHEN moved.ticket_id IS NULL THEN 0 ELSE 1 END AS n, 1 AS total
        FROM ended LEFT JOIN moved
            ON moved.ticket_id = ended.ticket_id AND moved.round = ended.round""",
    "extended": f"""{_ROUNDS}, granted AS (
            SELECT DISTINCT ticket_id, round FROM rounds WHERE act = 'decide_extension'
                AND CAST(content->>'granted' AS text) IN ('true', '1'))
        SELECT ended.ticket_id, unit, day,
            CASE WHEN granted.ticket_id IS NULL THEN 0 ELSE 1 END AS n, 1 AS total
        FROM ended LEFT JOIN granted
            ON granted.ticket_id = ended.ticket_id AND granted.round = ended.round""",
    "redone": f"""{_ROUNDS} SELECT r.ticket_id, r.content->>'counts_against' AS unit, ended.day,
            1 AS n, 0 AS total
        FROM rounds r JOIN ended ON ended.ticket_id = r.ticket_id AND ended.round = r.round - 1
        WHERE r.act = 'reopen' UNION ALL SELECT ticket_id, unit, day, 0, 1 FROM ended""",
}

_BY = ("unit", "channel", "kind", "month")


def by_hand(connection: sa.Connection, days: dict[str, str]) -> dict[str, dict[str, Counted]]:
    """Return numerator and denominator by key of every rate, by each thing to count by; `days` are a
    and b, both counted, and the last day that has elapsed."""
    found: dict[str, dict[str, Counted]] = {by: {} for by in _BY}
    for rate, cases in BY_HAND.items():
        text = f"""
            SELECT each_one.unit, k.channel, k.received_kind, substr(each_one.day, 1, 7), sum(n),
                sum(total)
            FROM ({cases}) each_one JOIN tickets k ON k.id = each_one.ticket_id
            WHERE day BETWEEN :a AND :b GROUP BY 1, 2, 3, 4"""
        used = {name: day for name, day in days.items() if f":{name}" in text}
        rows = connection.execute(_sql(connection.dialect.name, text), used).all()
        for place, by in enumerate(_BY):
            sums: dict[str, list[int]] = {}
            for row in rows:
                pair = sums.setdefault(row[place], [0, 0])
                pair[0] += int(row[4])
                pair[1] += int(row[5])
            found[by][rate] = {key: (n, of) for key, (n, of) in sums.items() if n or of}
    return found


def told(report: Report, rate: str) -> Counted:
    """Return what a report says of a rate, by key."""
    rows = ((row.key, row.rates[rate]) for row in report.items)
    found = {key: (each.numerator, each.denominator) for key, each in rows}
    return {key: pair for key, pair in found.items() if pair != (0, 0)}


def worked_by_hand(connection: sa.Connection, days: dict[str, str]) -> list[int]:
    """Return the working seconds of each resolution of the days, the shortest first."""
    text = """SELECT CAST(content->>'working_s' AS integer) FROM events
        WHERE act = 'resolve' AND content->>'working_s' IS NOT NULL AND DAY(at) BETWEEN :a AND :b
        ORDER BY 1"""
    rows = connection.execute(_sql(connection.dialect.name, text), {n: days[n] for n in "ab"})
    return list(rows.scalars())


def agrees(worked: Worked, seconds: list[int]) -> bool:
    """Whether count and mean are exact, and each percentile lies in the step that is told."""
    if not seconds:
        return worked == Worked(0)
    assert worked.median
    assert worked.p90
    exact = (worked.count, worked.mean_s) == (len(seconds), round(sum(seconds) / len(seconds)))
    steps = ((worked.median, 0.5), (worked.p90, 0.9))
    ranked: list[tuple[Any, int]] = [
        (step, seconds[max(1, ceil(share * len(seconds))) - 1]) for step, share in steps
    ]
    return exact and all(
        step.above_s <= value and (step.within_s is None or value <= step.within_s)
        for step, value in ranked
    )
