"""What the desk needs of the outside, as protocols. Concrete classes are named in `main` alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from service.domain.complaint import Complaint, Kind, Route, Urgency
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
    """Turns one native payload of a channel into a complaint."""

    def complaint(self, payload: Mapping[str, Any], source: Source) -> Complaint:
        """Return the complaint, or raise PayloadRejected with every field that is wrong."""
        ...
