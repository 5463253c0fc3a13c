"""The monthly bulletin (通报): all that is told of a region's month, from one snapshot.

The rates are those of `Reports`, never counted again; what they do not say is read by
`store.bulletin` and decided by `domain.bulletin`.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import TypeVar
from weakref import WeakValueDictionary

import sqlalchemy as sa

from service.domain.access import Actor, Ask, Forbidden, check_act
from service.domain.bulletin import (
    HOT_CASES,
    MOST_MONTHS,
    Card,
    Growth,
    Late,
    Month,
    Named,
    Rules,
    Why,
    begins,
    cards,
    common,
    growth,
    lists,
    overdue,
    public_title,
    with_cards,
    worst,
)
from service.domain.kpi import Grain, Row, Span, day_of
from service.domain.ports import FieldProblem, Gazetteer, Router, Source
from service.domain.region import covers
from service.domain.ticket import Level, MilestoneKind, Stage
from service.labels import DECISIONS, KINDS
from service.reports import Asked, BadPeriod, By, Report, Reports
from service.store import Store, tallies
from service.store import bulletin as read
from service.store.bulletin import Crowd, Matter
from service.store.tallies import Wanted

T = TypeVar("T")

MOST_LATE = 2_000
MOST_HOT = 10
MOST_CROWDS = 20
_EXAMPLES = 3
_WORDS = 4
_TREND_MONTHS = 12
_FIRST = Month(2001, 1)  # no ticket is older


@dataclass(frozen=True, slots=True)
class Wish:
    """Which bulletin: of a month, of a region and what lies in it ("" for all that the caller may
    see), as known at the end of `as_of`, None for now."""

    month: Month
    region: str = ""
    as_of: date | None = None


def read_month(text: str) -> Month:
    """Return a month written as 2026-10, or raise BadPeriod."""
    month = Month.read(text)
    if month is None:
        raise BadPeriod(FieldProblem("/month", "应为年月，例如 2026-10"))
    return month


@dataclass(frozen=True, slots=True)
class Figure:
    """A count of the month, of the month before and of the same month a year before; None where there
    are no data. `group` is total, channel, kind, decision or state."""

    group: str
    key: str
    name: str
    now: int | None
    before: int | None
    year_before: int | None


@dataclass(frozen=True, slots=True)
class LateTicket:
    """A line of the list of late tickets. `stage` is the worst that it came to by the end of the month;
    `cards` those of the month."""

    no: str
    kind: str
    title: str
    unit: str
    unit_name: str
    owed: MilestoneKind
    why: Why
    due_at: datetime | None
    stage: Stage
    cards: tuple[Card, ...]
    assisting: bool


@dataclass(frozen=True, slots=True)
class HotMatter:
    """A matter of the month: `name` is a topic, or a place with its county. `growth` is None where
    there is too little to compare with; `words` are those of the rules that most of its tickets have,
    `about` the topic of a place or the place of a topic, `examples` numbers of tickets."""

    sort: str
    name: str
    count: int
    before: int | None
    growth: Growth | None
    about: str
    words: tuple[str, ...]
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CrowdMatter:
    """A group matter (群体性诉求) of the month, with the name of its topic and place."""

    topic: str
    place: str
    crowd: Crowd


@dataclass(frozen=True, slots=True)
class Bulletin:
    """A month of a region. `until` is the end of what it tells of: of the month, of `as_of`, or the
    time of making, whatever came first. `provisional` says in Chinese why it may change, "" if it
    does not; `empty` whether the region never had a ticket by then.

    `units_before` is None where there are no data of a whole month; `begun` is the region's first
    day. `by_day` and `by_month` give each day's and month's count of what was received. `compared`
    is with how many months hot matters are compared, `unread` how many tickets nobody
    has looked at yet.
    """

    wish: Wish
    region_name: str
    made_at: datetime
    until: datetime
    provisional: str
    empty: bool
    version: str
    rulebook: str
    rules: Rules
    figures: Sequence[Figure]
    units: Report
    units_before: Report | None
    channels: Report
    kinds: Report
    by_day: Sequence[tuple[date, int]]
    by_month: Sequence[tuple[Month, int, Row]]
    begun: date | None
    late: Sequence[LateTicket]
    late_count: int
    praised: Sequence[Named]
    criticised: Sequence[Named]
    hot: Sequence[HotMatter]
    frequent: Sequence[HotMatter]
    crowds: Sequence[CrowdMatter]
    compared: int
    unread: int

    def before(self, row: Row) -> Row | None:
        """Return the row that a unit had in the month before, None for none."""
        rows = self.units_before.items if self.units_before else ()
        return next((each for each in rows if each.key == row.key), None)


def received(row: Row) -> int:
    """Return how many tickets a row of the rates received: each is counted in 办结率 or left out of it."""
    rate = row.rates["completion"]
    return rate.denominator + sum(n for _, n in rate.left_out)


class Bulletins:
    """Makes bulletins."""

    def __init__(
        self,
        store: Store,
        reports: Reports,
        router: Callable[[], Router],
        gazetteer: Gazetteer,
        sources: Mapping[str, Source],
        lines: Mapping[str, str],
        rules: Rules,
        version: str,
    ) -> None:
        """`lines` are the names of the functional lines (条线) by code."""
        self._store = store
        self._reports = reports
        self._router = router
        self._gazetteer = gazetteer
        self._lines = lines
        self._rules = rules
        self.version = version
        # One at a time, and of each caller one in the queue: a bulletin is work for a second or more,
        # and whoever asks for a hundred at once waits for them alone.
        self._turn = asyncio.Lock()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        # What people read; a source that is called as its channel says it best.
        self._channels = {s.channel: s.label for s in sources.values()} | {
            s.channel: s.label for s in sources.values() if s.name == s.channel
        }

    async def written(
        self, wish: Wish, by: Actor, at: datetime, write: Callable[[Bulletin], T]
    ) -> T:
        """Return what `write` makes of the bulletin, in a thread of its own; raise as `make` does."""
        own = self._turns.setdefault(by.id, asyncio.Lock())
        async with own, self._turn:
            made = await self.make(wish, by, at)
            # Beside the loop: a large region's takes a second to write.
            return await asyncio.get_running_loop().run_in_executor(None, write, made)

    async def make(self, wish: Wish, by: Actor, at: datetime) -> Bulletin:
        """Return the bulletin, all of it from one snapshot.

        Raises Forbidden for a role that may not have it and for a region that is not the caller's,
        and BadPeriod.
        """
        check_act(by, Ask.BULLETINS)
        wish = replace(wish, region=wish.region or by.region)
        if not covers(by.region, wish.region):
            raise Forbidden(by.role, Ask.BULLETINS)
        today = day_of(at)
        problems = []
        if wish.region and self._gazetteer.find(wish.region) != wish.region:
            problems.append(FieldProblem("/region", "没有这个地区，应为区划代码"))
        if wish.month < _FIRST:
            problems.append(FieldProblem("/month", f"不能早于{_FIRST.label}"))
        if wish.month > Month.of(today):
            problems.append(FieldProblem("/month", f"{wish.month.label}尚未开始，今天是 {today}"))
        if wish.as_of and wish.as_of > today:
            problems.append(FieldProblem("/as_of", f"不能晚于今天（{today}）"))
        if wish.as_of and wish.as_of < wish.month.first:
            problems.append(FieldProblem("/as_of", f"不能早于{wish.month.label}首日"))
        if problems:
            raise BadPeriod(*problems)
        if wish.as_of == today:
            wish = replace(wish, as_of=None)
        return await self._store.read(lambda c: _Making(self, c, wish, by, at).bulletin())


class _Making:
    """One bulletin in the making, on one snapshot."""

    def __init__(
        self, of: Bulletins, connection: sa.Connection, wish: Wish, by: Actor, at: datetime
    ) -> None:
        self._of = of
        self._c = connection
        self._wish = wish
        self._by = by
        self._at = at
        month = wish.month
        self._since = begins(month.first)
        self._until = min(begins(month.last + timedelta(1)), at)
        self._stored_before = None
        if wish.as_of:
            self._stored_before = begins(wish.as_of + timedelta(1))
            self._until = min(self._until, self._stored_before)
        self._router = of._router()
        self._begun = self._first_day()

    def _first_day(self) -> date | None:
        begun = read.first_day(self._c, "")
        if begun and self._wish.month < Month.of(begun):
            raise BadPeriod(FieldProblem("/month", f"系统中的工单自 {begun} 起，此前各月没有数据"))
        return read.first_day(self._c, self._wish.region)

    def bulletin(self) -> Bulletin:
        """Return it."""
        of, wish, month = self._of, self._wish, self._wish.month
        units = self._report(month, By.UNIT)
        last = month.back(1)
        before = self._report(last, By.UNIT) if self._is_whole(last) else None
        late, late_count, red = self._late(units)
        refused = self._refused(units)
        rows = [*units.items, *self._without_cases(units, {*red, *refused})]
        praised, criticised = lists(rows, red, refused, of._rules)
        hot, frequent, compared = self._matters()
        return Bulletin(
            wish=wish,
            region_name=units.region_name or "全部地区",
            made_at=self._at,
            until=self._until,
            provisional=self._provisional(units),
            empty=not self._has(month),
            version=of.version,
            rulebook=self._router.digest,
            rules=of._rules,
            figures=self._figures(),
            units=units,
            units_before=before,
            channels=self._named(self._report(month, By.CHANNEL)),
            kinds=self._report(month, By.KIND),
            by_day=self._by_day(),
            by_month=self._by_month(),
            begun=self._begun,
            late=late,
            late_count=late_count,
            praised=praised,
            criticised=criticised,
            hot=hot,
            frequent=frequent,
            crowds=self._crowds(),
            compared=compared,
            unread=read.unread(self._c),
        )

    def _provisional(self, units: Report) -> str:
        if self._wish.as_of and self._wish.as_of < self._wish.month.last:
            return f"按 {self._wish.as_of} 终了时所知，其时本月尚未结束，为暂定数"
        return units.provisional

    def _has(self, month: Month) -> bool:
        """Whether there were tickets of the region in or before a month: else nothing is said of it."""
        return bool(self._begun) and self._begun <= month.last  # type: ignore[operator]

    def _is_whole(self, month: Month) -> bool:
        """Whether a month has data from its first day on: only such a one is compared with."""
        return bool(self._begun) and self._begun <= month.first  # type: ignore[operator]

    def _report(self, month: Month, by: By) -> Report:
        return self._told(month.first, month.last, by)

    def _told(self, first: date, last: date, by: By) -> Report:
        asked = Asked(first, last, by, self._wish.region, self._wish.as_of)
        return self._of._reports.told(self._c, asked, self._by, self._at)

    def _named(self, channels: Report) -> Report:
        names = self._of._channels
        items = [replace(row, name=names.get(row.key, row.key)) for row in channels.items]
        return replace(channels, items=items)

    # Counts

    def _count(self, month: Month, measures: Sequence[str], by: str) -> dict[str, Counter[str]]:
        known = self._wish.as_of or day_of(self._at)
        span = Span(Grain.DAY, month.first, month.last, elapsed=True)
        wanted = Wanted((span,), measures, by, self._wish.region, None, known)
        return tallies.read(self._c, wanted)

    def _figures(self) -> list[Figure]:
        month = self._wish.month
        months = (month, month.back(1), month.back(12))
        there = (self._has(month), *(self._is_whole(each) for each in months[1:]))
        columns = [
            self._column(each) if has else None for each, has in zip(months, there, strict=True)
        ]
        keys = dict.fromkeys(key for column in columns if column for key in column)
        order = {
            group: n for n, group in enumerate(("total", "state", "channel", "kind", "decision"))
        }
        return [
            Figure(
                group,
                key,
                self._name(group, key),
                *(None if column is None else column.get((group, key), 0) for column in columns),
            )
            for group, key in sorted(keys, key=lambda each: order[each[0]])
        ]

    def _column(self, month: Month) -> dict[tuple[str, str], int | None]:
        """Return the counts of a month by group and key."""
        ended = ("resolved", "closed")
        by_channel = self._count(month, (*read.RECEIVED, *ended), "channel")
        by_kind = self._count(month, read.RECEIVED, "kind")
        total: Counter[str] = Counter()
        for measures in by_channel.values():
            total.update(measures)
        end = min(month.last, day_of(self._until - timedelta(seconds=1)))
        return {
            ("total", "received"): sum(total[m] for m in read.RECEIVED),
            **{("state", m): total[m] for m in ended},
            ("state", "in_hand"): read.in_hand(self._c, self._wish.region, end),
            **{
                ("channel", key): sum(found[m] for m in read.RECEIVED)
                for key, found in sorted(by_channel.items())
                if any(found[m] for m in read.RECEIVED)
            },
            **{
                ("kind", key): sum(by_kind[key][m] for m in read.RECEIVED)
                for key in KINDS
                if key in by_kind
            },
            **{
                ("decision", decision): total[f"received_{decision}"]
                for decision in read.DECISIONS
                if total[f"received_{decision}"]
            },
        }

    def _name(self, group: str, key: str) -> str:
        names = {
            "total": {"received": "受理"},
            "state": {"resolved": "办结（次）", "closed": "结案（次）", "in_hand": "期末在办"},
            "channel": self._of._channels,
            "kind": KINDS,
            "decision": {**DECISIONS, "counted": "好评和系统默认评价", "imported": "历史导入"},
        }
        return str(names[group].get(key, key))

    def _by_day(self) -> list[tuple[date, int]]:
        month = self._wish.month
        found = {row.key: received(row) for row in self._report(month, By.DAY).items}
        last = day_of(self._until - timedelta(seconds=1))
        days = ((month.first + timedelta(n)) for n in range((last - month.first).days + 1))
        return [(day, found.get(day.isoformat(), 0)) for day in days]

    def _by_month(self) -> list[tuple[Month, int, Row]]:
        months = [self._wish.month.back(n) for n in range(_TREND_MONTHS - 1, -1, -1)]
        months = [month for month in months if self._has(month)]
        if not months:
            return []
        found = self._told(months[0].first, months[-1].last, By.MONTH)
        rows = {row.key: row for row in found.items}
        nothing = replace(
            found.total,
            rates={
                name: replace(rate, numerator=0, denominator=0, left_out=())
                for name, rate in found.total.rates.items()
            },
            score=None,
        )
        return [
            (month, received(row), row)
            for month in months
            for row in (rows.get(str(month), nothing),)
        ]

    # Late tickets and lists

    def _late(self, units: Report) -> tuple[list[LateTicket], int, Counter[str]]:
        """Return the lines of the list, how many there are, and the red cards by unit."""
        red: Counter[str] = Counter()
        found: list[tuple[int, Late, tuple[Card, ...], Stage]] = []
        keys = {code: row.key for row in units.items for code in row.codes}
        for suspect in read.late(self._c, self._wish.region, self._since, self._until):
            carded = cards(suspect.events, suspect.lead, self._since, self._until)
            for card in carded:
                if card.level is Level.RED:
                    red[keys.get(card.unit, card.unit)] += 1
            late = overdue(suspect.milestones, suspect.events, self._until)
            for each, own in with_cards(late, carded, suspect.milestones):
                stage = worst([each] if each.why is Why.OVERDUE else [], own)
                found.append((suspect.ticket, each, tuple(own), stage))
        order = list(Stage)
        far = begins(date(9999, 1, 1))
        found.sort(
            key=lambda each: (
                each[1].why is Why.CARDED,
                -order.index(each[3]),
                each[1].due_at or far,
                each[0],
            )
        )
        listed = found[:MOST_LATE]
        told = read.shown(self._c, {ticket for ticket, *_ in listed})
        lines = []
        for ticket, late_one, pressed, stage in listed:
            shown = told[ticket]
            unit = late_one.unit
            if not unit:
                unit = self._router.coordinator(shown.region, shown.coordinator).code
            lines.append(
                LateTicket(
                    shown.no,
                    shown.kind,
                    public_title(shown.title, shown.contact, confidential=shown.confidential),
                    keys.get(unit, unit),
                    self._unit_name(unit, units),
                    late_one.kind,
                    late_one.why,
                    late_one.due_at,
                    stage,
                    pressed,
                    late_one.assisting,
                )
            )
        return lines, len(found), red

    def _unit_name(self, code: str, units: Report) -> str:
        for row in units.items:
            if code in row.codes:
                return row.name
        unit = self._router.unit(code)
        return unit.name if unit else code

    def _without_cases(self, units: Report, keys: set[str]) -> list[Row]:
        """Return rows for units of which the month's rates have nothing to say."""
        there = {row.key for row in units.items}
        return [Row(key, self._unit_name(key, units)) for key in sorted(keys - there)]

    def _refused(self, units: Report) -> Counter[str]:
        keys = {code: row.key for row in units.items for code in row.codes}
        found: Counter[str] = Counter()
        for code, measures in self._count(self._wish.month, ("back_refused",), "unit").items():
            found[keys.get(code, code)] += measures["back_refused"]
        return found

    # Matters

    def _matters(self) -> tuple[list[HotMatter], list[HotMatter], int]:
        """Return what grew, the topics that were most frequent, and with how many months it was
        compared."""
        month, region = self._wish.month, self._wish.region
        months = [
            each
            for each in (month.back(n) for n in range(1, MOST_MONTHS + 1))
            if self._is_whole(each)
        ]
        within = (self._since, self._until)
        since = begins(months[-1].first) if months else self._since
        found = read.matters(self._c, region, since, within, HOT_CASES, self._stored_before)
        days = (self._until - self._since) / timedelta(1)
        grown: list[tuple[float, Matter, int, int | None, Growth]] = []
        topics: list[tuple[int, Matter, int | None, Growth | None]] = []
        for matter, counts in found.items():
            count = counts[str(month)]
            before = [(counts[str(m)], float((m.last - m.first).days + 1)) for m in months]
            last = counts[str(month.back(1))] if month.back(1) in months else None
            grew = growth(count, days, before)
            if grew and grew.is_hot:
                grown.append((-grew.score, matter, count, last, grew))
            if matter.sort == "line" and count:
                topics.append((-count, matter, last, grew))
        grown.sort(key=lambda each: each[:2])
        topics.sort(key=lambda each: each[:2])
        hot = [self._told_of(m, n, last, g) for _, m, n, last, g in grown[:MOST_HOT]]
        frequent = [self._told_of(m, -n, last, g) for n, m, last, g in topics[:MOST_HOT]]
        return hot, frequent, len(months)

    def _told_of(
        self, matter: Matter, count: int, before: int | None, grew: Growth | None
    ) -> HotMatter:
        seen = read.of_matter(
            self._c,
            self._wish.region,
            matter,
            (self._since, self._until),
            self._stored_before,
        )
        if matter.sort == "line":
            name = self._line(matter.name)
            about = common((each.spots for each in seen), 1)
        else:
            name = self._place(matter.county, matter.name)
            about = tuple(
                self._line(line) for line in common(([each.line] for each in seen if each.line), 1)
            )
        return HotMatter(
            matter.sort,
            name,
            count,
            before,
            grew,
            about[0] if about else "",
            common((each.words for each in seen), _WORDS),
            tuple(each.no for each in seen[:_EXAMPLES]),
        )

    def _crowds(self) -> list[CrowdMatter]:
        found = read.crowds(self._c, self._wish.region, (self._since, self._until), MOST_CROWDS)
        return [
            CrowdMatter(self._line(each.line), self._place(each.region, each.place), each)
            for each in found
        ]

    def _line(self, code: str) -> str:
        return self._of._lines.get(code, code)

    def _place(self, county: str, place: str) -> str:
        """Return a place with its county, unless the whole bulletin is of that county."""
        if county == self._wish.region or self._of._gazetteer.find(county) != county:
            return place
        return f"{self._of._gazetteer.name(county)} {place}"
