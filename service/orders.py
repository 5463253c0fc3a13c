"""What each act carries, as a person or a program must give it, and the desk's method for it."""

import hashlib
import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
)

from service.desk import Desk, Order, UnknownTicket, shown
from service.domain.access import Actor
from service.domain.complaint import Kind, Urgency
from service.domain.deadline import parse_limit
from service.domain.sample import CheckedBy
from service.domain.ticket import Level, Ticket

# Control characters other than tab and newline: nobody types them, and PostgreSQL refuses NUL.
PRINTABLE = r"^[^\x00-\x08\x0B\x0C\x0E-\x1F\x7F]*$"

Line = Annotated[str, StringConstraints(max_length=200, pattern=PRINTABLE)]
Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=5000, pattern=PRINTABLE),
]
OptionalText = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=5000, pattern=PRINTABLE)
]
# `5 工作日`; whatever else it says is refused by pydantic with the sentence of LimitError.
Amount = Annotated[
    str,
    StringConstraints(max_length=40, pattern=PRINTABLE),
    AfterValidator(lambda text: str(parse_limit(text))),
]
TicketNo = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}[0-9K]{2,8}-[0-9]{8}-[0-9]{5,9}$")]
Code = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=PRINTABLE)]


class Given(BaseModel):
    """Fields by name; one that is not known is refused."""

    model_config = ConfigDict(extra="forbid")


# Acts


class Dispatch(Given):
    """派单, 改派."""

    act: Literal["dispatch"]
    unit: Code
    assist: Annotated[list[Code], Field(max_length=20)] = []
    reason: OptionalText = ""


class Sign(Given):
    """签收."""

    act: Literal["sign"]


class SendBack(Given):
    """退单."""

    act: Literal["send_back"]
    reason: Text
    basis: Text
    suggested_unit: Code | None = None


class Rule(Given):
    """裁定. The document is what the ruling rests on."""

    act: Literal["rule"]
    unit: Code
    reason: Text
    document: Line = ""


class ContactCitizen(Given):
    """首次联系."""

    act: Literal["contact"]
    text: Text


class RequestExtension(Given):
    """申请延期. The amount is written as a limit: `3 工作日`."""

    act: Literal["request_extension"]
    amount: Amount
    reason: Text


class DecideExtension(Given):
    """审批延期."""

    act: Literal["decide_extension"]
    granted: bool
    reason: OptionalText = ""


class Pause(Given):
    """挂起. The reason is a code of the policy: awaiting_citizen, awaiting_third_party, …."""

    act: Literal["pause"]
    reason: Code


class Resume(Given):
    """恢复办理."""

    act: Literal["resume"]


class Resolve(Given):
    """办结."""

    act: Literal["resolve"]
    public_reply: Text
    internal_finding: OptionalText = ""
    solved: bool


class CallBack(Given):
    """回访. `solved` and `grade` are for a citizen who was reached."""

    act: Literal["call_back"]
    reached: bool
    solved: bool | None = None
    grade: Annotated[int, Field(ge=1, le=5)] | None = None
    text: OptionalText = ""

    @field_validator("solved", "grade")
    @classmethod
    def _said_by_somebody(cls, value: Any, given: ValidationInfo) -> Any:
        if value is not None and given.data.get("reached") is False:
            msg = "没有联系上诉求人，不能填写诉求人的评价"
            raise ValueError(msg)
        return value


class Close(Given):
    """结案."""

    act: Literal["close"]


class Reopen(Given):
    """重办."""

    act: Literal["reopen"]
    reason: Text


class Merge(Given):
    """并单."""

    act: Literal["merge"]
    into: TicketNo
    reason: Text


class Supervise(Given):
    """督办."""

    act: Literal["supervise"]
    level: Level
    text: Text


class Reclassify(Given):
    """更正分类. What is not given stays."""

    act: Literal["reclassify"]
    kind: Kind | None = None
    urgency: Urgency | None = None
    reason: Text


class Note(Given):
    """备注."""

    act: Literal["note"]
    text: Text


class Check(Given):
    """抽查. By telephone nothing is found out of who was not reached; on the spot (现场) one sees for
    oneself whether the reply was true, but only the citizen says that it is solved to him."""

    act: Literal["check"]
    way: CheckedBy
    reached: bool
    solved: bool | None = None
    truthful: Annotated[bool | None, Field(validate_default=True)] = None
    text: OptionalText = ""

    @field_validator("solved", "truthful")
    @classmethod
    def _found_by_somebody(cls, value: Any, given: ValidationInfo) -> Any:
        reached, named = given.data.get("reached"), given.field_name
        sees_it = named == "truthful" and given.data.get("way") is CheckedBy.ON_SPOT
        if value is not None and reached is False and not sees_it:
            msg = "没有联系上诉求人，不能填写此项"
            raise ValueError(msg)
        if named == "truthful" and reached and value is None and given.data.get("solved") is None:
            msg = "联系上了诉求人，应填写是否解决，或答复是否属实"
            raise ValueError(msg)
        return value


ActIn = Annotated[
    Dispatch
    | Sign
    | SendBack
    | Rule
    | ContactCitizen
    | RequestExtension
    | DecideExtension
    | Pause
    | Resume
    | Resolve
    | CallBack
    | Close
    | Reopen
    | Merge
    | Supervise
    | Reclassify
    | Note
    | Check,
    Field(discriminator="act"),
]


class NotSame(Given):
    """Why two tickets are not of the same matter; it becomes an event."""

    no: TicketNo
    reason: OptionalText = ""


class ContactReading(Given):
    """Why somebody needs a citizen's name and number; it becomes an event."""

    reason: Text


# Each act's method of the desk. The request's model has the method's arguments as fields.
_METHODS: dict[type[Any], Callable[..., Awaitable[Ticket]]] = {
    Dispatch: Desk.dispatch,
    Sign: Desk.sign,
    SendBack: Desk.send_back,
    Rule: Desk.rule,
    ContactCitizen: Desk.contact,
    RequestExtension: Desk.request_extension,
    DecideExtension: Desk.decide_extension,
    Pause: Desk.pause,
    Resume: Desk.resume,
    Resolve: Desk.resolve,
    CallBack: Desk.call_back,
    Close: Desk.close,
    Reopen: Desk.reopen,
    Merge: Desk.merge,
    Supervise: Desk.supervise,
    Reclassify: Desk.reclassify,
    Note: Desk.note,
    Check: Desk.check,
}


# A region has six digits or more, or a K where a development zone has no code of the state's.
_NO = re.compile(r"[0-9]{4}[0-9K]{2,8}-[0-9]{8}-[0-9]{5,9}")


def checked_no(no: str) -> str:
    """Return the ticket number, or raise UnknownTicket for what cannot be one."""
    if not _NO.fullmatch(no):
        raise UnknownTicket(no)
    return no


async def perform(
    desk: Desk, wanted: Any, no: str, by: Actor, version: int, at: datetime, key: str = ""
) -> Ticket:
    """Do one act of `ActIn` on a version of a ticket; raise what the desk raises.

    `key` is the Idempotency-Key, "" for none: the same act again with it changes nothing.
    """
    asked = hashlib.sha256(f"{no}\n{wanted.model_dump_json()}".encode()).hexdigest()
    order = Order(no, by, version, at, key=key, request=asked)
    after = await _METHODS[type(wanted)](desk, order, **wanted.model_dump(exclude={"act"}))
    return shown(by, after)
