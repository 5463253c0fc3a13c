"""From which units it is kept who complained (保密, 匿名, 举报)."""

import re
from collections.abc import Iterable

from service.domain.complaint import Complaint, Kind, Route
from service.domain.personal import find_of_person, masked

# A body as people call it: the ending, and what may stand before it.
_CALLED = re.compile(
    r"(?=([\u4e00-\u9fff]{2,10}?(?:局|委|办|院|所|站|大队|支队|中心|政府|公司|服务窗口)))"
)
# Who is asked to look into it is not whom it accuses.
_ASKED = re.compile(
    r"(?:请|让|转给|由|向|希望|建议|要求|移交|交给|报给|叫)(?:贵|我?县|我?市|我?区)?$"
)


# How the router calls what it takes for a report.
_ACCUSES = "举报"


def is_report(complaint: Complaint, route: Route) -> bool:
    """Whether it is a report (举报): it says so, or the router took it for one."""
    notes = (each.note for candidate in route.candidates for each in candidate.evidence)
    return complaint.kind is Kind.REPORT or any(_ACCUSES in text for text in (route.reason, *notes))


def is_shielded(complaint: Complaint, route: Route) -> bool:
    """Whether no unit's own system may learn who complained: confidential (保密), anonymous (匿名), or
    a report. Whom it accuses cannot be told for sure, so no system is told; a person who has to ring
    asks the desk, where that is written down."""
    return complaint.confidential or complaint.anonymous or is_report(complaint, route)


def unnamed(text: str, complaint: Complaint) -> str:
    """Return a text, of the complaint or about it, without what tells who complained. Plates stay:
    they are often the matter."""
    contact = complaint.contact
    for known, hidden in ((contact.phone, "****"), (contact.name, "某某")):
        # A single character stands in every other word.
        text = text.replace(known, hidden) if len(known) > 1 else text
    return masked(text, find_of_person)


def withheld(complaint: Complaint, route: Route, units: Iterable[str]) -> bool:
    """Whether people of units of these full names may not know who complained.

    Who asked for confidence or stayed unnamed is known to the coordinator alone, and a unit that a
    report (举报) names is never told who made it. A unit that is named and not accused is not told
    either: the coordinator rings in its place, and nobody is harmed by it.
    """
    if complaint.confidential or complaint.anonymous:
        return True
    return is_report(complaint, route) and any(names(complaint, unit) for unit in units)


def names(complaint: Complaint, unit: str) -> bool:
    """Whether a complaint names the unit of this full name, otherwise than to ask for its help.

    Short names count: the characters of 市监局 stand in 兴国县市场监督管理局 in this order.
    """
    review = complaint.review
    if review and review.evaluated_unit == unit:
        return True
    for text in (complaint.title, complaint.content):
        past = 0  # the end of a name of who is asked
        for found in _CALLED.finditer(text):
            called = found[1]
            if found.start() < past:
                continue
            for cut in range(len(called) - 2):
                start = found.start() + cut
                if _ASKED.search(text[max(0, start - 4) : start]):
                    past = found.end(1)
                    break
                if _is_short_for(called[cut:], unit):
                    return True
    return False


def _is_short_for(called: str, unit: str) -> bool:
    """Whether a short name's characters stand in the full one in this order, its last one last."""
    left = iter(unit)
    return len(called) > 2 and unit.endswith(called[-1]) and all(char in left for char in called)
