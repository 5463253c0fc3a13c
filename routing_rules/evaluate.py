"""How well a rulebook routes cases whose answer is known."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from routing_rules.rulebook import Rulebook
from service.domain.complaint import Complaint, Decision, Kind, Review, Route, Urgency

RATINGS = {"非常不满意": 1, "不满意": 2, "基本满意": 3, "满意": 4, "非常满意": 5}
KINDS = {
    "咨询": Kind.CONSULTATION,
    "求助": Kind.HELP,
    "投诉": Kind.COMPLAINT,
    "举报": Kind.REPORT,
    "建议": Kind.SUGGESTION,
    "表扬": Kind.PRAISE,
}
URGENCIES = {"一般": Urgency.NORMAL, "次紧急": Urgency.URGENT, "紧急": Urgency.EMERGENCY}
_WHEN = datetime(2026, 1, 1, tzinfo=UTC)  # routing does not look at the time


def complaint_from(row: Mapping[str, Any]) -> Complaint:
    """Return the complaint that a row means: a JSONL case or the body of a routing question.

    Keys: channel, region, kind, urgency, title, content, place, evaluated_unit, task_name, rating;
    all but region may be missing. `kind`, `urgency` and `rating` may be ASCII values or the Chinese
    words. Raises ValueError with a sentence in Chinese for a value that is none of these; it never
    repeats the value, which may be a citizen's words in the wrong field.
    """
    review = None
    evaluated = _text(row, "evaluated_unit")
    if evaluated:
        review = Review(
            rating=_rating(row.get("rating")),
            evaluated_unit=evaluated,
            task_name=_text(row, "task_name"),
            system_default=bool(row.get("system_default", False)),
        )
    region = _text(row, "region")
    if not region:
        raise ValueError("缺少 region(区划代码)")
    return Complaint(
        source="explain",
        source_no=_text(row, "id"),
        channel=_text(row, "channel") or "hotline-12345",
        region=region,
        kind=_kind(_text(row, "kind")),
        urgency=_urgency(_text(row, "urgency")),
        title=_text(row, "title"),
        content=_text(row, "content"),
        accepted_at=_WHEN,
        place=_text(row, "place"),
        review=review,
    )


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return "" if value is None else str(value)


def _kind(written: str) -> Kind:
    if not written:
        return Kind.HELP
    if written in KINDS:
        return KINDS[written]
    if written in set(Kind):
        return Kind(written)
    raise ValueError("诉求类型(kind)不认识")


def _urgency(written: str) -> Urgency:
    if not written:
        return Urgency.NORMAL
    if written in URGENCIES:
        return URGENCIES[written]
    if written in set(Urgency):
        return Urgency(written)
    raise ValueError("紧急程度(urgency)不认识")


def _rating(written: object) -> int:
    """Return 1 to 5; a review without a rating counts as the worst, so that it is looked at."""
    text = "" if written is None else str(written)
    if not text:
        return 1
    if text in RATINGS:
        return RATINGS[text]
    if text in {"1", "2", "3", "4", "5"}:
        return int(text)
    raise ValueError("评价等级(rating)不认识")


def judge(route: Route, expect: Mapping[str, Any]) -> dict[str, bool]:
    """Return what is right about a route: `decision`, `lead`, `conflict` (sent to the accused)."""
    name = route.lead.name if route.lead else ""
    fine = {expect["route"], *expect.get("route_ok", ())}
    wanted = expect.get("lead")
    barred = expect.get("not_lead")
    return {
        "decision": str(route.decision) in fine,
        "lead": bool(name and wanted and re.search(wanted, name))
        and not (barred and re.search(barred, name)),
        "conflict": bool(barred and name and re.search(barred, name)),
    }


def evaluate(rulebook: Rulebook, rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return how well the rulebook routes cases with an `expect`.

    `lead_accuracy` is over the cases that expect `auto`: the lead is right, or the decision is
    another one that the case allows. `auto_precision` is over those routed automatically,
    `coverage` their share. The recalls are over the cases that expect that decision, one that the
    case allows counting as found. A rate without cases is None. `calibration` has, for each tenth
    of confidence, the cases routed there and the share that is right.
    """
    judged = []
    for row in rows:
        route = rulebook.route(complaint_from(row))
        verdict = judge(route, row["expect"])
        judged.append((row, route, verdict))
    by_decision = {
        decision: [v for row, _, v in judged if row["expect"]["route"] == decision]
        for decision in Decision
    }
    autos = [(row, route, v) for row, route, v in judged if route.decision == Decision.AUTO]
    tags: dict[str, list[bool]] = defaultdict(list)
    for row, route, verdict in judged:
        for tag in row.get("tags", ()):
            tags[tag].append(_right(row, route, verdict))
    bins: dict[int, list[bool]] = defaultdict(list)
    for row, route, verdict in autos:
        bins[min(9, int(route.confidence * 10))].append(_right(row, route, verdict))
    return {
        "n": len(judged),
        "lead_accuracy": _rate(
            [
                _right(row, route, v)
                for row, route, v in judged
                if row["expect"]["route"] == Decision.AUTO
            ]
        ),
        "auto_precision": _rate([_right(row, route, v) for row, route, v in autos]),
        "coverage": len(autos) / len(judged) if judged else None,
        "manual_recall": _rate([v["decision"] for v in by_decision[Decision.MANUAL]]),
        "emergency_recall": _rate([v["decision"] for v in by_decision[Decision.EMERGENCY_LINE]]),
        "not_accepted_recall": _rate([v["decision"] for v in by_decision[Decision.NOT_ACCEPTED]]),
        "conflict_violations": sum(v["conflict"] for _, _, v in judged),
        "by_tag": {
            tag: {"n": len(right), "right": sum(right) / len(right)}
            for tag, right in sorted(tags.items())
        },
        "calibration": [
            {"from": n / 10, "n": len(right), "right": sum(right) / len(right)}
            for n, right in sorted(bins.items())
        ],
    }


def _right(row: Mapping[str, Any], route: Route, verdict: Mapping[str, bool]) -> bool:
    if not verdict["decision"] or verdict["conflict"]:
        return False
    return verdict["lead"] if route.decision == Decision.AUTO else True


def _rate(right: list[bool]) -> float | None:
    return sum(right) / len(right) if right else None
