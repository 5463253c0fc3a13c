"""What can be published: rates of a region by unit, channel, kind, place, day or month, as they stand now or
as they stood at the end of a day, and the proof that they are what the events say."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa

from service.domain.access import Actor, Ask, Forbidden, Role, check_act
from service.domain.kpi import (
    MEASURES,
    RATES,
    STEPS,
    WORKED_S,
    Better,
    Definition,
    Grain,
    Rate,
    Row,
    Weights,
    day_of,
    ranks,
    rate,
    score,
    spans,
    stored,
    worked,
)
from service.domain.ports import FieldProblem, Gazetteer, Router
from service.domain.region import covers
from service.labels import KINDS
from service.store import Store, tallies
from service.store.engine import logger
from service.store.tallies import Found, Recount, Recounted, Wanted


class By(StrEnum):
    """What figures are told by."""

    UNIT = "unit"  # 单位
    CHANNEL = "channel"  # 渠道
    KIND = "kind"  # 诉求类型
    REGION = "region"  # 地区
    DAY = "day"  # 日
    MONTH = "month"  # 月


class BadPeriod(Exception):
    """The figures that are asked for cannot be told; carries every fault."""

    def __init__(self, *problems: FieldProblem) -> None:
        super().__init__("；".join(problem.detail for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Asked:
    """Which figures: from `since` to `until`, both counted, of a region and what lies in it ("" for
    all that the caller may see), as known at the end of `as_of`, None for now. `rate` is the one
    that is asked for, "" for all of them with working times and the 三率 score."""

    since: date
    until: date
    by: By = By.UNIT
    region: str = ""
    as_of: date | None = None
    rate: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """The figures. `provisional` says why they may still change without anybody's correction: the
    period is not over; "" if it is. Below `floor` cases a rate is shown and not ranked."""

    asked: Asked
    region_name: str
    provisional: str
    floor: int
    weights: Weights
    total: Row
    items: Sequence[Row]


# What is told by days or months is added up of nothing longer.
_LONGEST = {By.DAY: Grain.DAY, By.MONTH: Grain.MONTH}
_MOST_DAYS = 3_660
_MOST_BY_DAY = 400
FIRST = date(2001, 1, 1)  # no ticket is older
_NO_UNIT = "（未派单位）"
_WORKED = frozenset((*STEPS, WORKED_S))


def read_day(pointer: str, text: str) -> date:
    """Return a day written as 2026-10-01, or raise BadPeriod; a time of some zone is no day."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    # Python takes weeks and days without lines between them as well.
    if day is None or day.isoformat() != text:
        raise BadPeriod(FieldProblem(pointer, "应为日期，例如 2026-10-01"))
    return day


class Reports:
    """Answers what the rates are, and keeps the tallies that they are made of."""

    def __init__(
        self,
        store: Store,
        router: Callable[[], Router],
        gazetteer: Gazetteer,
        weights: Weights,
        floor: int,
    ) -> None:
        """`floor` is how many cases a rate needs to be ranked."""
        self._store = store
        self._router = router
        self._gazetteer = gazetteer
        self._weights = weights
        self._floor = floor

    async def kpis(self, asked: Asked, by: Actor, at: datetime) -> Report:
        """Return the figures as the caller may see them: a handler those of its units.

        Raises Forbidden for a source and for a region that is not the caller's, and BadPeriod.
        """
        return await self._store.read(lambda connection: self.told(connection, asked, by, at))

    def told(self, connection: sa.Connection, asked: Asked, by: Actor, at: datetime) -> Report:
        """Return the figures from a snapshot, for whoever tells more than one thing of it; raises as
        `kpis`."""
        check_act(by, Ask.KPIS)
        asked = replace(asked, region=asked.region or by.region)
        if not covers(by.region, asked.region):
            raise Forbidden(by.role, Ask.KPIS)
        today = day_of(at)
        self._check(asked, today)
        if asked.as_of == today:
            asked = replace(asked, as_of=None)
        # Of a day that is not over nobody can say what will be late at its end.
        elapsed = asked.as_of or today - timedelta(1)
        definitions = [RATES[asked.rate]] if asked.rate else list(RATES.values())
        wanted = Wanted(
            spans(asked.since, asked.until, elapsed, _LONGEST.get(asked.by, Grain.YEAR)),
            stored(m for each in definitions for m in each.measures) if asked.rate else MEASURES,
            asked.by,
            asked.region,
            by.units if by.role is Role.HANDLER else None,
            asked.as_of,
        )

        known = tallies.known_since(connection) if asked.as_of else None
        if known and asked.as_of and asked.as_of < known:
            raise BadPeriod(
                FieldProblem("/as_of", f"统计自 {known} 起逐日留存，此前各日当时的数无法再现")
            )
        found = tallies.read(connection, wanted)
        named = tallies.names(connection, found.keys()) if asked.by is By.UNIT else {}
        rows = (
            self._units(asked, found, named)
            if asked.by is By.UNIT
            else self._keyed(asked.by, found)
        )
        total: Counter[str] = Counter()
        for measures in found.values():
            total.update(measures)
        items = [self._row(row, measures, definitions, asked) for row, measures in rows]
        # Among its own units alone a handler would always be the first.
        if asked.by is By.UNIT and wanted.units is None:
            items = self._ranked(items, definitions)
        return Report(
            asked,
            self._gazetteer.name(asked.region) if asked.region else "",
            _provisional(asked, elapsed),
            self._floor,
            self._weights,
            self._row(Row("", "合计"), total, definitions, asked),
            items,
        )

    def _check(self, asked: Asked, today: date) -> None:
        days = (asked.until - asked.since).days + 1
        problems = []
        if asked.region and self._gazetteer.find(asked.region) != asked.region:
            problems.append(FieldProblem("/region", "没有这个地区，应为区划代码"))
        if asked.since < FIRST:
            problems.append(FieldProblem("/from", f"开始日期不能早于 {FIRST}"))
        if asked.since > today:
            problems.append(FieldProblem("/from", f"期间尚未开始，今天是 {today}"))
        if days < 1:
            problems.append(FieldProblem("/to", "结束日期不能早于开始日期"))
        elif days > (most := _MOST_BY_DAY if asked.by is By.DAY else _MOST_DAYS):
            problems.append(FieldProblem("/to", f"一次最多 {most} 天，此处为 {days} 天"))
        if asked.as_of and asked.as_of > today:
            problems.append(FieldProblem("/as_of", f"不能晚于今天（{today}）"))
        if asked.as_of and asked.as_of < asked.since:
            problems.append(FieldProblem("/as_of", "不能早于开始日期"))
        if asked.rate and asked.rate not in RATES:
            problems.append(FieldProblem("/rate", f"没有这个指标，可用的有 {'、'.join(RATES)}"))
        if problems:
            raise BadPeriod(*problems)

    def _units(
        self, asked: Asked, found: Found, named: Mapping[str, Sequence[tuple[str, date]]]
    ) -> list[tuple[Row, Counter[str]]]:
        """Return a row for each unit of today, with what it was called before and what was counted
        for a unit that became part of it."""
        router = self._router()
        merged: dict[str, Counter[str]] = {}
        current: dict[str, str] = {}
        called: dict[str, list[str]] = {}
        codes: dict[str, list[str]] = {}
        for code, measures in found.items():
            names = named.get(code, ())
            before = [each for each in names if each[1] <= asked.until]
            unit = router.unit(code)
            if unit is None and not before:
                # What came in later, by an import say, has its name from the day on which it came.
                before = list(names[:1])
            if unit is None and before:
                name, on = before[-1]
                region = code.partition("-")[0]
                known = self._gazetteer.find(region) == region
                unit = router.named(name, region if known else asked.region, on)
            key = unit.code if unit else code
            merged.setdefault(key, Counter()).update(measures)
            last = before[-1][0] if before else code
            current[key] = unit.name if unit else (last if code else _NO_UNIT)
            called.setdefault(key, []).extend(name for name, _ in before)
            codes.setdefault(key, []).append(code)
        return [
            (
                Row(
                    key,
                    current[key],
                    tuple(dict.fromkeys(n for n in called[key] if n != current[key])),
                    codes=tuple(codes[key]),
                ),
                measures,
            )
            for key, measures in sorted(merged.items())
        ]

    def _keyed(self, by: By, found: Found) -> list[tuple[Row, Counter[str]]]:
        def name(key: str) -> str:
            if by is By.REGION:
                return self._gazetteer.name(key) if self._gazetteer.find(key) == key else key
            return KINDS.get(key, key) if by is By.KIND else key

        return [(Row(key, name(key)), measures) for key, measures in sorted(found.items())]

    def _row(
        self, row: Row, found: Counter[str], definitions: Sequence[Definition], asked: Asked
    ) -> Row:
        rates = {each.id: rate(each, found) for each in definitions}
        if asked.rate:
            return Row(row.key, row.name, row.names, rates, codes=row.codes)
        more = (worked(found), score(found, self._weights))
        return Row(row.key, row.name, row.names, rates, *more, codes=row.codes)

    def _ranked(self, items: Sequence[Row], definitions: Sequence[Definition]) -> list[Row]:
        """Return the rows with their ranks; too few cases are shown and not ranked."""

        def enough(found: Rate) -> bool:
            return found.denominator >= self._floor

        places: dict[str, list[int | None]] = {}
        for each in definitions:
            values = [
                row.rates[each.id].value if row.key and enough(row.rates[each.id]) else None
                for row in items
            ]
            places[each.id] = ranks(values, each.better)
        scored = ranks(
            [
                row.score
                if row.key
                and all(
                    enough(row.rates[r])
                    for r in ("contact", "satisfied", "solved")
                    if r in row.rates
                )
                else None
                for row in items
            ],
            Better.HIGH,
        )
        return [
            replace(
                row,
                rates={name: found.ranked(places[name][n]) for name, found in row.rates.items()},
                score_rank=scored[n],
            )
            for n, row in enumerate(items)
        ]

    # Keeping the tallies

    async def fold(self) -> bool:
        """Add some of what was counted to the sums; return whether there is likely more."""
        # Looking takes no writer's place.
        if not await self._store.read(tallies.waiting):
            return False
        return await self._store.run(tallies.fold) == tallies.FOLDED_AT_ONCE

    async def recount(self, at: datetime, *, apply: bool = False) -> Recount:
        """Count from scratch and return where the tallies differ; applied, what is missing is
        written as known today. Raises tallies.Recounted if somebody else did so meanwhile."""
        found = await self._store.read(tallies.recount)
        if apply and not found.agrees:
            await self._store.run(lambda connection: tallies.correct(connection, found, at))
        return found


async def begin(store: Store, at: datetime) -> bool:
    """Count what was there before anything was counted; return whether there was any.

    All of it is one snapshot, and what is found is written at once: of two who count one writes, and
    a count that is cut off leaves nothing. The store's terms must give it minutes for a million tickets.
    """
    if not await store.read(tallies.is_blank):
        return False
    logger().info("tallies.first_count")
    found = await store.read(tallies.recount)
    try:
        await store.run(lambda connection: tallies.correct(connection, found, at))
    except Recounted:
        return False  # another replica did
    logger().info("tallies.first_counted", tickets=found.tickets)
    return True


def _provisional(asked: Asked, elapsed: date) -> str:
    if asked.until <= elapsed:
        return ""
    return f"期间到 {asked.until} 结束，本表只到 {elapsed} 为止可定，为暂定数"
