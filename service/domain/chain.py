"""The chain of events (审计链): what is hashed of each, how one link hangs on the one before, and what
is wrong with a chain that was read (ADR 0031). docs/audit.md has all of it for who writes another
verifier."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum

from service.domain.ticket import Event

# Whoever changes what is hashed, or how, gives it another name: links that are there stay what they are.
_EVENT = "banjie.event.1"
_HEAD = "banjie.head.1"
START = "0" * 64
"""What the first link of a region hangs on."""

# Keys in order, no spaces, text as it is, numbers as Python writes them.
_written = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode


@dataclass(frozen=True, slots=True)
class Placed:
    """An event with its ticket and its place in the feed; the place is 0 while it has none."""

    place: int
    ticket_id: int
    ticket_no: str
    region: str
    event: Event


@dataclass(frozen=True, slots=True)
class Link:
    """A link: the event at a place of the feed is the `sequence`-th of its region. `hash` covers the
    event and the hash before."""

    place: int
    region: str
    sequence: int
    event_id: int
    ticket_no: str
    hash: str


@dataclass(frozen=True, slots=True)
class Tail:
    """How far the chain of a region goes."""

    sequence: int = 0
    hash: str = START


@dataclass(frozen=True, slots=True)
class Head:
    """What a region's chain came to, once a day, for keeping elsewhere: after `sequence` events its hash
    is `hash`, `events` of them since the head before. `date` is the last day that was over, in
    Shanghai, when it was made. `key` (the public one) and `signature` are base64, "" where it is
    not signed."""

    region: str
    date: date
    sequence: int
    hash: str
    events: int
    made_at: datetime
    key: str = ""
    signature: str = ""
    id: int = 0  # 0 until stored


def event_bytes(each: Placed) -> bytes:
    """Return what is hashed of an event. What it carried stands in it as a hash: a chain can be checked
    by somebody who may not read that."""
    event = each.event
    return _written(
        [
            _EVENT,
            each.place,
            event.id,
            each.ticket_id,
            each.ticket_no,
            each.region,
            event.act,
            instant(event.at),
            event.actor,
            event.role,
            event.unit,
            event.version,
            hashlib.sha256(_written(event.content).encode()).hexdigest(),
        ]
    ).encode()


def head_bytes(head: Head) -> bytes:
    """Return what is signed of a head."""
    return _written(
        [
            _HEAD,
            head.region,
            head.date.isoformat(),
            head.sequence,
            head.hash,
            head.events,
            instant(head.made_at),
        ]
    ).encode()


def instant(at: datetime) -> str:
    """Return a time as it is hashed and signed: UTC, with microseconds."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def hash_after(before: str, each: Placed) -> str:
    """Return the hash of the link of an event that hangs on another hash."""
    return hashlib.sha256(bytes.fromhex(before) + event_bytes(each)).hexdigest()


def link_after(tail: Tail, each: Placed) -> Link:
    """Return the link of the next event of a region."""
    return Link(
        each.place,
        each.region,
        tail.sequence + 1,
        each.event.id,
        each.ticket_no,
        hash_after(tail.hash, each),
    )


class Fault(StrEnum):
    """What can be wrong."""

    CHANGED = "changed"  # an event, or its link, is not what was chained
    MISSING = "missing"  # an event that was chained, or placed in the feed, is not there
    REORDERED = "reordered"  # it stands at another place than it was chained at
    INSERTED = "inserted"  # an event among those that are chained, without a link
    GAP = "gap"  # links are missing
    CUT_OFF = "cut_off"  # the chain ends before, or otherwise than, it once did
    REWRITTEN = "rewritten"  # the chain is not the one of which a head was made
    FORGED = "forged"  # the signature of a head is not its own


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong: with which event of a region's chain, as far as it is known. 0 and ""
    stand for what is not. `told` is the day of a head, or the place of an event of which nothing else
    is known."""

    fault: Fault
    region: str
    sequence: int = 0
    ticket_no: str = ""
    event_id: int = 0
    told: str = ""


@dataclass(slots=True)
class Walk:
    """Checks chains link by link, in the order of the feed: what it keeps grows with the regions and the
    heads, not with the events.

    `starts` are where the chains of regions begin, for who does not begin at the beginning. After a
    fault it goes on from what is stored, so that one fault is not told of all that follows.
    """

    starts: Mapping[str, Tail] = field(default_factory=dict)
    tails: dict[str, Tail] = field(default_factory=dict)
    links: int = 0
    heads_met: int = 0
    _heads: dict[tuple[str, int], list[Head]] = field(default_factory=dict)

    def expect(self, head: Head) -> None:
        """Have the chain of a region meet a head. One that lies before the start is not asked for."""
        start = self.starts.get(head.region, Tail())
        if head.sequence > start.sequence:
            self._heads.setdefault((head.region, head.sequence), []).append(head)

    def step(self, link: Link, each: Placed | None) -> Iterator[Finding]:
        """Give what is wrong with a link, and with its event, None if that is not there."""
        start = self.starts.get(link.region, Tail())
        if link.sequence <= start.sequence:
            return
        tail = self.tails.get(link.region, start)
        self.links += 1

        def wrong(fault: Fault) -> Finding:
            return Finding(fault, link.region, link.sequence, link.ticket_no, link.event_id)

        follows = link.sequence == tail.sequence + 1
        if not follows:
            yield wrong(Fault.GAP if link.sequence > tail.sequence else Fault.REORDERED)
        if each is None:
            yield wrong(Fault.MISSING)
        elif follows and each.place != link.place:
            yield wrong(Fault.REORDERED)
        elif follows and link != link_after(tail, each):
            yield wrong(Fault.CHANGED)
        self.tails[link.region] = Tail(link.sequence, link.hash)
        for head in self._heads.pop((link.region, link.sequence), ()):
            self.heads_met += 1
            if head.hash != link.hash:
                yield _of_head(Fault.REWRITTEN, head)

    def end(self, tails: Mapping[str, Tail]) -> Iterator[Finding]:
        """Give what is wrong with how the chains end, and with the heads that they never came to."""
        for region in sorted(tails.keys() | self.tails.keys() | self.starts.keys()):
            came_to = self.tails.get(region, self.starts.get(region, Tail()))
            if came_to != tails.get(region):
                yield Finding(Fault.CUT_OFF, region, came_to.sequence)
        for heads in self._heads.values():
            for head in heads:
                yield _of_head(Fault.REWRITTEN, head)


def _of_head(fault: Fault, head: Head) -> Finding:
    return Finding(fault, head.region, head.sequence, told=head.date.isoformat())


def forged(head: Head) -> Finding:
    """Return the finding of a head whose signature is not its own."""
    return _of_head(Fault.FORGED, head)
