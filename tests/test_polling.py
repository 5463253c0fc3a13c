"""Reading a list that moves under the reader: no row is missed, whatever the list does meanwhile."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.polling import (
    LONGEST_PAUSE,
    Misread,
    Page,
    Place,
    after,
    interrupted,
    is_due,
    pause,
    since,
)
from service.domain.ports import Poll
from tests.worlds import at

START = at("2026-11-18 08:00")
POLL = Poll(
    url="http://platform.example/list",
    changed="t",
    page_size=4,
    overlap=timedelta(minutes=10),
    every=timedelta(seconds=60),
)
NEWEST = replace(POLL, newest_first=True)
UNFILTERED = replace(NEWEST, since="")


@dataclass
class Platform:
    """A list as another system keeps it, and what a reader has seen of it."""

    poll: Poll
    most: int = 1000  # rows a page, whatever is asked for
    clamps: bool = False  # gives the last page again to who asks for one after it
    seconds: int = 0
    rows: dict[int, tuple[int, int]] = field(default_factory=dict)  # number: second, version
    seen: set[tuple[int, int]] = field(default_factory=set)
    place: Place = Place()  # noqa: RUF009 it is frozen
    asked: int = 0

    def put(self, number: int, second: int) -> None:
        version = self.rows.get(number, (0, 0))[1] + 1
        self.rows[number] = (max(0, second), version)

    def page(self) -> Page:
        self.asked += 1
        start = since(self.place, self.poll) if self.poll.since else None
        shown = sorted(
            (second, number, version)
            for number, (second, version) in self.rows.items()
            if start is None or _when(second) >= start
        )
        if self.poll.newest_first:
            shown.reverse()
        size = min(self.poll.page_size, self.most)
        page = self.place.page
        if self.clamps:
            page = min(page, max(1, -(-len(shown) // size)))
        found = shown[(page - 1) * size : page * size]
        new = {(number, version) for _, number, version in found} - self.seen
        self.seen |= new
        newest = max((_when(second) for second, _, _ in found), default=None)
        news = min((_when(second) for second, *row in found if tuple(row) in new), default=None)
        return Page(len(found), newest, repr(found), news)

    def read(self) -> bool:
        """Read a page; return whether the round is over."""
        page = self.page()
        try:
            self.place, over = after(self.place, page, self.poll)
        except Misread:
            # A list of just one page whose last page is given again: nobody can tell it from one that
            # turns no pages. It is told, and the mark stays where it is.
            assert self.clamps
            self.place, over = Place(mark=self.place.mark), True
        return over

    def round(self) -> int:
        """Read to the end; return how many pages that were."""
        before = self.asked
        while not self.read():
            assert self.asked - before < 300, "it never ends"
        return self.asked - before

    def missed(self) -> set[tuple[int, int]]:
        return {(number, version) for number, (_, version) in self.rows.items()} - self.seen


def _when(second: int) -> datetime:
    return START + timedelta(seconds=second)


def insert(platform: Platform, n: int) -> None:
    platform.put(len(platform.rows) + 1000 * n, platform.seconds)


def insert_many(platform: Platform, n: int) -> None:
    """Bring an import's rows, all of the same second."""
    for k in range(n % 12):
        platform.put(10_000 * n + k, platform.seconds)


def insert_late(platform: Platform, n: int) -> None:
    platform.put(len(platform.rows) + 1000 * n, platform.seconds - n % 240)


def change(platform: Platform, n: int) -> None:
    if platform.rows:
        platform.put(sorted(platform.rows)[n % len(platform.rows)], platform.seconds)


def delete(platform: Platform, n: int) -> None:
    if platform.rows:
        del platform.rows[sorted(platform.rows)[n % len(platform.rows)]]


def wait(platform: Platform, n: int) -> None:
    platform.seconds += n % 30


def read(platform: Platform, _n: int) -> None:
    platform.read()


def break_off(platform: Platform, n: int) -> None:
    """Let the reader be away for up to three hours, and rows come late meanwhile."""
    platform.seconds += n * 11
    insert_late(platform, n)
    platform.seconds += n * 2
    insert(platform, n + 1)
    platform.place = interrupted(platform.place)


MOVES: list[Callable[[Platform, int], None]] = [
    *(insert, insert, insert_many, insert_late, change, change),
    *(delete, wait, read, read, read, read, break_off),
]
steps = st.lists(st.tuples(st.sampled_from(MOVES), st.integers(0, 999)), min_size=1, max_size=80)


@pytest.mark.parametrize(
    "poll", [POLL, NEWEST, UNFILTERED], ids=["oldest first", "newest first", "unfiltered"]
)
@given(
    steps=steps,
    first=st.integers(0, 40),
    most=st.sampled_from([1000, 3]),
    clamps=st.booleans(),
)
def test_no_row_is_missed(
    poll: Poll,
    steps: list[tuple[Callable[[Platform, int], None], int]],
    first: int,
    most: int,
    clamps: bool,
) -> None:
    platform = Platform(poll, most=most, clamps=clamps, seconds=100_000)
    for n in range(first):
        platform.put(n, n * 70)
    for step, n in steps:
        step(platform, n)
    platform.round()
    platform.round()
    assert platform.missed() == set()


@pytest.mark.parametrize("poll", [POLL, NEWEST, UNFILTERED])
def test_a_list_at_rest_takes_two_requests_and_none_of_its_history(poll: Poll) -> None:
    platform = Platform(poll)
    for n in range(100):
        platform.put(n, n * 70)
    assert platform.round() >= 25
    # Nine rows lie in the overlap: the last page is short, or the one after it too old.
    assert platform.round() <= 5
    assert platform.place.mark == _when(99 * 70)


def test_what_is_at_the_same_second_is_read_by_pages() -> None:
    platform = Platform(POLL)
    for n in range(23):
        platform.put(n, 500)
    platform.round()
    assert platform.missed() == set()


def test_rows_of_the_future_hold_nothing_up_and_move_nothing_on() -> None:
    # The caller tells no time of a row that cannot be true yet.
    place, over = after(Place(), Page(1, START, "a", news=START), POLL)
    assert not over
    place, over = after(place, Page(1, None, "b", news=None), POLL)
    assert over or place.page == 2
    while not over:
        place, over = after(place, Page(0, None, "", news=None), POLL)
    assert place.mark == START


@pytest.mark.parametrize(
    ("poll", "pages", "word"),
    [
        (POLL, [Page(4, None, "a", news=START), Page(0, None, "", news=None)], "poll.changed"),
        (NEWEST, [Page(4, START, "a", news=START)] * 4, "页码参数"),
    ],
    ids=["no times", "no pages"],
)
def test_a_list_that_is_not_as_configured_is_told(poll: Poll, pages: list[Page], word: str) -> None:
    place = Place()
    for page in pages[:-1]:
        place, _ = after(place, page, poll)
    with pytest.raises(Misread, match=word):
        after(place, pages[-1], poll)


def test_a_platform_that_filters_nothing_is_told() -> None:
    place = Place(mark=START + timedelta(days=9))
    with pytest.raises(Misread, match="since"):
        after(place, Page(4, START, "a", news=None), POLL)


@pytest.mark.parametrize("poll", [POLL, NEWEST])
def test_the_last_page_given_again_is_the_end(poll: Poll) -> None:
    platform = Platform(poll, clamps=True)
    for n in range(10):
        platform.put(n, 500 if poll is POLL else n)
    platform.round()
    assert platform.missed() == set()


def test_pauses_double_up_to_an_hour_and_end_with_success() -> None:
    waits = [pause(n, POLL).total_seconds() for n in range(8)]
    assert waits == [60, 60, 120, 240, 480, 960, 1920, 3600]
    assert pause(1, POLL, timedelta(minutes=7)) == timedelta(minutes=7)
    assert pause(1, POLL, timedelta(days=7)) == LONGEST_PAUSE
    daily = replace(POLL, every=timedelta(days=1))
    assert pause(3, daily) == timedelta(days=1)


def test_a_clock_that_was_set_back_keeps_no_source_waiting() -> None:
    assert is_due(None, START, POLL)
    assert is_due(START, START, POLL)
    assert not is_due(START + timedelta(minutes=30), START, POLL)
    assert is_due(START + timedelta(hours=2), START, POLL)
