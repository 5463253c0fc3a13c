"""What pydantic finds wrong with what was sent, as a pointer and a Chinese sentence."""

from typing import Any

from routing_rules.faults import QUOTED_CHARS, sentence
from service.domain.lifecycle import Act
from service.domain.ports import FieldProblem


def field_problem(fault: Any) -> FieldProblem:
    """Return one of pydantic's findings as a pointer and a Chinese sentence, never the value."""
    where = [str(part)[:QUOTED_CHARS] for part in fault["loc"] if part != "body"]
    if len(where) > 1 and where[0] in set(Act):
        # pydantic puts the chosen act before its field; the sender's JSON has no such level.
        where = where[1:]
    pointer = "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in where)
    return FieldProblem(pointer[:QUOTED_CHARS], sentence(fault))
