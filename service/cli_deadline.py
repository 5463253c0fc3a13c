"""`banjie deadline`: when a limit ends, and why."""

from datetime import datetime
from typing import Annotated

import typer

from routing_rules.clocks import load_timetable
from routing_rules.gazetteer import load_gazetteer
from service.domain.calendar import SHANGHAI
from service.domain.deadline import CountFrom, LimitError, due, parse_limit
from service.terminal import AsJson, Refused, print_document, settings


def deadline(
    start: Annotated[str, typer.Option("--from", help="When it begins; +08:00 if no zone.")],
    limit: Annotated[str, typer.Option(help="For instance “5 工作日”.")],
    count_from: Annotated[CountFrom, typer.Option(help="Which day counts first.")] = (
        CountFrom.NEXT_DAY
    ),
    region: Annotated[
        str, typer.Option(help="Count by a region's office hours and closures: code or name.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Work out when a limit ends, and say how."""
    try:
        at = datetime.fromisoformat(start)
    except ValueError:
        raise Refused(f"看不懂的时间“{start}”，应如 2026-11-18T09:12", 2) from None
    if at.tzinfo is None:
        at = at.replace(tzinfo=SHANGHAI)
    rules = settings().rules
    code = load_gazetteer(rules).find(region) if region else ""
    if code is None:
        raise Refused(f"没有这个地区：{region}", 2)
    try:
        found = due(load_timetable(rules).calendar_of(code), at, parse_limit(limit), count_from)
    except LimitError as error:
        raise Refused(str(error), 2) from None
    except OverflowError:
        raise Refused(
            f"{at:%Y-%m-%d} 起的时限超出日历所及（2000 年至数据截止后若干年）", 2
        ) from None
    if as_json:
        print_document(
            {
                "due_at": found.due_at.astimezone(SHANGHAI).isoformat(),
                "provisional": found.provisional,
                "reasoning": found.reasoning,
            }
        )
    else:
        typer.echo("\n".join(found.reasoning))
