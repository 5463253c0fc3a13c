"""Who complains of what, when, in an invented place: drawn by a seed, no person or case is real.

Shares and volumes are those that were published where there are any, else guesses
(docs/simulation.md tells which).
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta

from routing_rules.rulebook import Rulebook
from service.domain.calendar import SHANGHAI, Calendar
from service.domain.complaint import Complaint, Contact, Decision, Kind, Review, Urgency
from service.domain.region import covers

# By hour of the day, 0 to 23: people ring in office hours, and after supper.
_HOURS = (2, 1, 1, 1, 1, 2, 5, 14, 34, 42, 40, 32, 18, 20, 34, 38, 34, 28, 20, 18, 16, 12, 8, 4)
_ON_A_DAY_OFF = 0.55
_CHANNELS = {"hotline-12345": 82, "wenzheng-jiangxi": 7, "haochaping": 11}
_KINDS: Mapping[Kind, int] = {
    Kind.CONSULTATION: 20,
    Kind.HELP: 36,
    Kind.COMPLAINT: 33,
    Kind.REPORT: 5,
    Kind.SUGGESTION: 4,
    Kind.PRAISE: 2,
}
_URGENCIES: Mapping[Urgency, float] = {
    Urgency.NORMAL: 93.5,
    Urgency.URGENT: 5,
    Urgency.EMERGENCY: 1.5,
}
_GRADES = {1: 4, 2: 5, 3: 8, 4: 23, 5: 60}
_GATES = {Decision.NOT_ACCEPTED: 0.015, Decision.MANUAL: 0.01, Decision.EMERGENCY_LINE: 0.003}
_TWO_MATTERS = 0.05
_OPENINGS = ("", "", "来电人反映：", "您好，", "我要反映一个问题，", "麻烦问一下，")
_CLOSINGS = ("", "", "希望有关部门尽快处理。", "请核实后回复。", "请问这个归谁管？", "盼回复。")
_AGAIN = "再次来电反映，之前说过还没有结果："
_SPOTS = (
    "菜市场旁",
    "小学门口",
    "老街",
    "主街",
    "安置小区",
    "汽车站附近",
    "河边",
    "工业园",
    "广场",
)
_FAMILY_NAMES = "王李张刘陈杨黄赵吴周钟谢曾肖邱"
_TASKS = (
    "公司设立登记",
    "失业登记",
    "不动产首次登记",
    "异地就医备案",
    "社会保障卡申领",
    "食品经营许可",
)
_BAD = (
    "让我重复交了两次一样的材料",
    "等了一上午没人叫号",
    "窗口说法前后不一致",
    "打电话一直没人接",
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A complaint that comes in at a time. `again` says that it repeats what its sender said before."""

    at: datetime
    complaint: Complaint
    again: bool = False


class Place:
    """One region of the place: what comes in there, day by day. The same seed says the same."""

    def __init__(self, book: Rulebook, calendar: Calendar, region: str, seed: int) -> None:
        self._calendar = calendar
        self._region = region
        self._rng = random.Random(f"{seed}:{region}:arrivals")  # noqa: S311 a story, not a secret
        gazetteer = book.gazetteer
        self._places = [gazetteer.name(code) for code in gazetteer.children(region)] or [
            gazetteer.name(region)
        ]
        self._said = [
            text
            for rule in book.rules
            if not rule.region or covers(rule.region, region)
            for text in rule.examples
        ]
        self._gates = {
            decision: [t for gate in book.gates if gate.decision is decision for t in gate.examples]
            for decision in _GATES
        }
        self._reviewed = [unit.name for unit in book.units(region) if unit.region == region]
        self._number = 0
        self._recent: list[Complaint] = []

    def days(self, first: date, count: int, per_day: float, repeats: float) -> Iterator[Arrival]:
        """Return what comes in on so many days in order of time, `per_day` on the average of them; so
        large a share of what comes by telephone is said again by who said it before."""
        days = [first + timedelta(n) for n in range(count)]
        weights = [1.0 if self._calendar.is_working(day) else _ON_A_DAY_OFF for day in days]
        usual = per_day * count / sum(weights)
        for day, weight in zip(days, weights, strict=True):
            mean = usual * weight * self._rng.uniform(0.85, 1.15)
            moments = sorted(self._moment(day) for _ in range(int(mean + self._rng.random())))
            for at in moments:
                yield self._arrival(at, repeats)

    def _moment(self, day: date) -> datetime:
        hour = self._rng.choices(range(24), _HOURS)[0]
        midnight = datetime.combine(day, time(), SHANGHAI)
        return midnight + timedelta(hours=hour, seconds=self._rng.randrange(3600))

    def _arrival(self, at: datetime, repeats: float) -> Arrival:
        rng = self._rng
        self._number += 1
        channel = rng.choices([*_CHANNELS], [*_CHANNELS.values()])[0]
        number = f"M{self._region}-{at:%Y%m%d}-{self._number:07}"
        if channel == "haochaping":
            return Arrival(at, self._review(at, number))
        if channel == "hotline-12345" and self._recent and rng.random() < repeats:
            before = rng.choice(self._recent)
            again = replace(
                before,
                source_no=number,
                content=f"{_AGAIN}{before.content}",
                accepted_at=at,
                sender_due_at=None,
            )
            return Arrival(at, again, again=True)
        complaint = self._told(at, number, channel)
        if channel == "hotline-12345" and complaint.contact.phone:
            self._recent = [*self._recent[-39:], complaint]
        return Arrival(at, complaint)

    def _told(self, at: datetime, number: str, channel: str) -> Complaint:
        rng = self._rng
        said = self._matter()
        where = rng.choice(self._places)
        spot = f"{where}{rng.choice(_SPOTS)}" if rng.random() < 0.7 else ""
        named = rng.random() < 0.9
        posted = channel == "wenzheng-jiangxi"
        before = timedelta(hours=rng.uniform(2, 20)) if posted else timedelta()
        urgency = rng.choices([*_URGENCIES], [*_URGENCIES.values()])[0]
        limited = rng.random() < 0.35 and urgency is Urgency.NORMAL
        days = rng.choice((5, 5, 7, 10))
        due_on = self._calendar.nth_working_day(at.date(), days) if limited else None
        return Complaint(
            source=channel,
            source_no=number,
            channel=channel,
            region=self._region,
            kind=rng.choices([*_KINDS], [*_KINDS.values()])[0],
            urgency=Urgency.NORMAL if posted else urgency,
            title=said.split("，")[0][:20],
            content=f"{rng.choice(_OPENINGS)}{spot and f'{spot}，'}{said}{rng.choice(_CLOSINGS)}",
            accepted_at=at - before,
            place=spot,
            clock_from=at if posted else None,
            sender_due_at=datetime.combine(due_on, time(17, 30), SHANGHAI) if due_on else None,
            contact=self._contact() if named else Contact(),
            anonymous=not named,
            confidential=rng.random() < 0.06,
            coordinator="wuxing_office" if posted else "",
        )

    def _matter(self) -> str:
        rng = self._rng
        drawn = rng.random()
        for decision, share in _GATES.items():
            if drawn < share and self._gates[decision]:
                return rng.choice(self._gates[decision])
            drawn -= share
        said = rng.choice(self._said)
        return f"{said}；还有，{rng.choice(self._said)}" if rng.random() < _TWO_MATTERS else said

    def _review(self, at: datetime, number: str) -> Complaint:
        rng = self._rng
        rating = rng.choices([*_GRADES], [*_GRADES.values()])[0]
        task = rng.choice(_TASKS)
        default = rating == 5 and rng.random() < 0.35
        review = Review(rating, rng.choice(self._reviewed), task_name=task, system_default=default)
        title = f"{'差评' if review.is_bad else '评价'}：{task}"
        return Complaint(
            source="haochaping",
            source_no=number,
            channel="haochaping",
            region=self._region,
            kind=Kind.COMPLAINT if review.is_bad else Kind.PRAISE,
            urgency=Urgency.NORMAL,
            title=title,
            content=rng.choice(_BAD) if review.is_bad else title,
            accepted_at=at,
            contact=self._contact(),
            review=review,
        )

    def _contact(self) -> Contact:
        rng = self._rng
        return Contact(f"{rng.choice(_FAMILY_NAMES)}某", f"138000{rng.randrange(100_000):05}")


def shares(book: Rulebook, region: str, seed: int) -> Sequence[tuple[str, float]]:
    """Return the regions that complaints come from, with what share: a county alone, or a city with
    its counties, the largest first. Counties differ in size as the seed has it."""
    counties = [code for code in book.gazetteer.children(region) if len(code) == len(region)]
    if not counties:
        return [(region, 1.0)]
    sizes = {
        code: random.Random(f"{seed}:{code}:size").uniform(0.5, 1.5)  # noqa: S311 a story
        for code in counties
    }
    # The city's own offices get what names no county.
    sizes[region] = 0.06 * sum(sizes.values())
    whole = sum(sizes.values())
    found = [(code, size / whole) for code, size in sizes.items()]
    return sorted(found, key=lambda each: (-each[1], each[0]))
