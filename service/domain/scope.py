"""For which tickets a row of the rules holds, and how surely the row is known."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import astuple, dataclass
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from service.domain.complaint import Complaint
from service.domain.region import covers, prefix


class Status(StrEnum):
    """How surely a value is known (DOMAIN: read, second-hand, default)."""

    READ = "read"  # 文件原文
    SECOND_HAND = "second_hand"  # 转引
    DEFAULT = "default"  # 缺省设定, no rule


STATUS_WORDS = {Status.READ: "文件", Status.SECOND_HAND: "转引", Status.DEFAULT: "缺省设定"}


_FIELD_WORDS = ("文件条目", "紧急程度", "诉求类型", "渠道", "地区")  # in the order of Scope.rank


@dataclass(frozen=True, slots=True)
class Scope:
    """The tickets for which a row holds; an empty field holds for everything.

    `document` and `item` name the clause a ticket was routed by: the 文号 of the document or, where
    it has none, its title, and the item's number as written.
    """

    channel: str = ""
    kind: str = ""
    urgency: str = ""
    region: str = ""
    document: str = ""
    item: str = ""

    def holds(self, complaint: Complaint, clauses: Collection[tuple[str, str]]) -> bool:
        """Whether it holds for a complaint that was routed by these (document, item) pairs."""
        return (
            self.channel in {"", complaint.channel}
            and self.kind in {"", complaint.kind}
            and self.urgency in {"", complaint.urgency}
            and (not self.region or covers(self.region, complaint.region))
            and (not self.document or any(self._is_clause(*clause) for clause in clauses))
        )

    def _is_clause(self, document: str, item: str) -> bool:
        # A route that rests on several items of one document names them together: 6、7.
        return document == self.document and self.item in item.split("、")

    @property
    def rank(self) -> tuple[int, ...]:
        """Return how specific it is: a clause before an urgency, before a kind, before a channel,
        before a region, and among regions the smaller first."""
        return (
            bool(self.document),
            bool(self.urgency),
            bool(self.kind),
            bool(self.channel),
            len(prefix(self.region)) if self.region else 0,
        )

    @property
    def named_by(self) -> str:
        """Return by what it is narrower than everything, in Chinese: `按条目、紧急程度`, or ""."""
        told = zip(_FIELD_WORDS, self.rank, strict=True)
        words = [word for word, counts in told if counts]
        return f"按{'、'.join(words)}" if words else ""

    @property
    def is_everything(self) -> bool:
        """Whether it holds for every ticket."""
        return not any(astuple(self))


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from, as shown to handlers."""

    status: Status
    source: str
    scope: Scope = Scope()

    @property
    def basis(self) -> str:
        """Return it in Chinese: the source, the clause, and how surely it is known."""
        clause = f"第{self.scope.item}项，" if self.scope.item else ""
        return f"{self.source}，{clause}{STATUS_WORDS[self.status]}"


class Scoped(Protocol):
    """A row that holds for some tickets."""

    @property
    def origin(self) -> Origin:
        """Return for what the row holds, and where it comes from."""
        ...


Row = TypeVar("Row", bound=Scoped)


def fitting(
    rows: Iterable[Row], complaint: Complaint, clauses: Collection[tuple[str, str]]
) -> Sequence[Row]:
    """Return the rows that hold for a complaint, the most specific first, and among equally
    specific ones the later."""
    found = [row for row in rows if row.origin.scope.holds(complaint, clauses)]
    return sorted(found, key=lambda row: row.origin.scope.rank)[::-1]


Found = TypeVar("Found")
_KEPT_MOST = 4_096


class Kept(Generic[Found]):
    """What was found for each sort of complaint, by all that a scope looks at. Rows never change."""

    def __init__(self, find: Callable[[Complaint, Collection[tuple[str, str]]], Found]) -> None:
        self._find = find
        self._kept: dict[object, Found] = {}

    def __call__(self, complaint: Complaint, clauses: Collection[tuple[str, str]]) -> Found:
        """Return what is found for a complaint that was routed by these clauses."""
        key = (
            complaint.channel,
            complaint.kind,
            complaint.urgency,
            complaint.region,
            frozenset(clauses),
        )
        found = self._kept.get(key)
        if found is None:
            if len(self._kept) >= _KEPT_MOST:
                self._kept.clear()
            found = self._kept[key] = self._find(complaint, clauses)
        return found
