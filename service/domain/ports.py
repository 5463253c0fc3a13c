"""What the desk needs of the outside, as protocols. Concrete classes are named in `main` alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from service.domain.complaint import Complaint, Kind, Route, UnitRef, Urgency
from service.domain.flow import Rate
from service.domain.ticket import Word


@dataclass(frozen=True, slots=True)
class Unit:
    """A row of the unit table. `line` is its functional line (条线); "" for a territory."""

    code: str
    name: str
    region: str
    line: str
    basis: str


@dataclass(frozen=True, slots=True)
class Duty:
    """A row of the responsible-unit table (责任单位) as it holds in a region: what is meant, who
    answers, who assists, and what that rests on. `unit` is None where the place itself decides.

    `document` and `items` are those of the policy document, "" for a duty of the line alone.
    `words` are what it listens for, `examples` what people say.
    """

    code: str
    name: str
    unit: Unit | None
    assist: tuple[UnitRef, ...]
    document: str
    items: str
    why: str
    words: tuple[str, ...]
    examples: tuple[str, ...]


class Router(Protocol):
    """Decides which unit answers."""

    digest: str

    def route(self, complaint: Complaint) -> Route:
        """Return where the complaint goes; pure, no I/O."""
        ...

    def ruling_words(self, complaint: Complaint) -> Sequence[str]:
        """Return the words by which a ruling (裁定) on a complaint is found again, none where there are
        too few; none of them is a name."""
        ...

    def unit(self, code: str) -> Unit | None:
        """Return the unit with this code, or None."""
        ...

    def units(self, region: str | None = None) -> Sequence[Unit]:
        """Return the units of this region and those below it, or all."""
        ...

    def duties(self, region: str) -> Sequence[Duty]:
        """Return the responsible-unit table of a region."""
        ...

    def coordinator(self, region: str, named: str = "") -> Unit:
        """Return the unit that sorts, calls back and supervises in a region: the one that a channel
        names by its line or its own code, or else the one that runs the hotline."""
        ...

    def named(self, name: str, region: str, on: date) -> Unit | None:
        """Return the unit that answers today for the one that bore a name, written in a region on
        a day, or None."""
        ...


class Gazetteer(Protocol):
    """Knows the regions of the province."""

    def find(self, name: str) -> str | None:
        """Return the code of a region given its code or a name (`南昌市红谷滩区`), or None."""
        ...

    def name(self, code: str) -> str:
        """Return the full name of a region."""
        ...


class Auth(StrEnum):
    """How a source proves who it is when it pushes."""

    TOKEN = "token"  # noqa: S105 令牌, the word and no secret
    SIGNATURE = "signature"  # 签名
    EITHER = "either"


@dataclass(frozen=True, slots=True)
class Clocks:
    """Which of a sender's fields set its tickets' clocks, by canonical name or the sender's own.

    `limit` holds the time by which the sender wants an answer, `starts` the one from which our limit
    counts. "" is the field that the adapter knows for it; `RECEIPT` in `starts` is none at all.
    """

    limit: str = ""
    starts: str = ""

    RECEIPT: ClassVar[str] = "receipt"


@dataclass(frozen=True, slots=True)
class Poll:
    """How the list of a source that pushes nothing is read.

    `changed` is the field of a row, by the source's name or path, with the time by which the list is
    ordered; `items` a JSON pointer to the rows; `since`, `page` and `size` the parameters' names
    (`since` is "" where the list takes none). `token` names the variable that holds the secret.
    """

    url: str
    changed: str
    every: timedelta = timedelta(minutes=5)
    page_size: int = 100
    overlap: timedelta = timedelta(minutes=10)
    newest_first: bool = False
    items: str = "/items"
    since: str = "since"
    page: str = "page"
    size: str = "size"
    token: str = ""
    start: datetime | None = None


@dataclass(frozen=True, slots=True)
class Receiver:
    """An outside system that is told of tickets: the call-back of a source, or a unit's own system.

    `destination` is `source:NAME` or `unit:CODE`. `secret` and `token` name environment variables.
    `words` is what it wants to be told of, empty for everything; after `hours` a delivery is given
    up.
    """

    destination: str
    url: str
    secret: str
    token: str = ""
    words: frozenset[Word] = frozenset()
    hours: int = 72

    def wants(self, word: Word) -> bool:
        """Whether it is to be told of this."""
        return not self.words or word in self.words


@dataclass(frozen=True, slots=True)
class Letter:
    """One attempt to deliver a message, body ready; `message` is the same at every attempt."""

    destination: str
    message: str
    at: datetime
    body: bytes


class Unreachable(Exception):
    """The receiver did not take it now; try again, no sooner than after `wait_s` if it said so.

    `reason` is a word of ours (`timeout`, `http-503`) and nothing that the receiver sent.
    """

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait_s = wait_s


class Refused(Exception):
    """The receiver will never take it as it is; `reason` as in Unreachable."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Post(Protocol):
    """Carries letters to receivers."""

    async def send(self, letter: Letter) -> None:
        """Return when the receiver has taken it; raise Unreachable or Refused."""
        ...

    async def close(self) -> None:
        """Let go of every connection."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """One outside system that sends complaints (a row of sources.yaml).

    `field_map` turns that system's field names into the channel's canonical ones; `order.no` is the
    field `no` of the object `order`. `region` is used where the payload names none, `kind` where it
    names none. `kinds`, `urgencies`, `regions` and `ratings` say what that system's words mean. The
    `coordinator` is a line or a unit, "" for the one that runs the hotline. `secrets` are names of
    environment variables, two while a secret is changed.
    """

    name: str
    adapter: str
    channel: str
    label: str
    region: str = ""
    field_map: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    urgencies: Mapping[str, Urgency] = field(default_factory=dict)
    regions: Mapping[str, str] = field(default_factory=dict)
    ratings: Mapping[str, int] = field(default_factory=dict)
    kind: Kind | None = None
    clocks: Clocks = Clocks()
    coordinator: str = ""
    rate: Rate | None = None
    auth: Auth = Auth.TOKEN
    secrets: tuple[str, ...] = ()
    poll: Poll | None = None
    callback: Receiver | None = None


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """What is wrong with one field: a JSON pointer (`/areaCode`) and a sentence in Chinese."""

    pointer: str
    detail: str


class PayloadRejected(Exception):
    """The payload cannot become a complaint; nothing was stored. Carries every fault found."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        super().__init__("; ".join(f"{p.pointer} {p.detail}" for p in problems))
        self.problems = tuple(problems)


class Adapter(Protocol):
    """Turns one native payload of a channel into a complaint.

    `FIELDS` has the channel's canonical names with their Chinese labels, `NUMBER` that of the source's
    own number, `TIMES` those of the complaint's `accepted_at` and, where the channel has them,
    `clock_from` and `sender_due_at`. For files of earlier years `NEEDED` says of which fields one
    must be a column, and `ALSO` what columns are called besides, separated by spaces.
    """

    NUMBER: ClassVar[str]
    FIELDS: ClassVar[Mapping[str, str]]
    TIMES: ClassVar[Mapping[str, str]]
    NEEDED: ClassVar[Sequence[Sequence[str]]]
    ALSO: ClassVar[Mapping[str, str]]

    def __init__(self, gazetteer: Gazetteer) -> None: ...

    def complaint(self, payload: Mapping[str, Any], source: Source) -> Complaint:
        """Return the complaint, or raise PayloadRejected with every field that is wrong."""
        ...
