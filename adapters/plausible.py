"""Times that can be read and still cannot be true. The adapters have no clock; intake has."""

from collections.abc import Collection
from datetime import datetime, timedelta

from adapters.fields import clock_fields, sender_pointer
from adapters.sources import ADAPTERS
from service.domain.calendar import SHANGHAI
from service.domain.complaint import Complaint
from service.domain.ports import FieldProblem, Source

# The calendar begins with 2000, and reckons back from a time as well as on from it.
_EARLIEST = datetime(2001, 1, 1, tzinfo=SHANGHAI)
CLOCK_SKEW = timedelta(minutes=5)
_LONGEST_LIMIT = timedelta(days=3653)  # ten years


def implausible(
    complaint: Complaint, now: datetime, source: Source, payload: Collection[str] = ()
) -> list[FieldProblem]:
    """Return what is wrong with a complaint's times at `now`, under the sender's own field names, of
    which `payload` has those that came.

    Nothing happened before 2001 or more than five minutes from now; a sender's own limit may lie
    ahead, by ten years at most, and not before the matter was accepted.
    """
    adapter = ADAPTERS[source.adapter]
    problems = []
    due_at = complaint.sender_due_at
    limit_is_past = (
        due_at is not None and _EARLIEST <= due_at < complaint.accepted_at <= now + CLOCK_SKEW
    )
    for attribute, canon in clock_fields(source, adapter.TIMES).items():
        moment: datetime | None = getattr(complaint, attribute)
        latest = now + (_LONGEST_LIMIT if attribute == "sender_due_at" else CLOCK_SKEW)
        label = adapter.FIELDS.get(canon, canon)
        if attribute == "sender_due_at" and limit_is_past:
            detail = f"{label}早于受理时间"
        elif moment is None or _EARLIEST <= moment <= latest:
            continue
        elif moment < _EARLIEST:
            detail = f"{label}早于 2001 年"
        else:
            detail = f"{label}晚得不合理，请核对时钟"
        problems.append(FieldProblem(sender_pointer(source, canon, payload), detail))
    return problems
