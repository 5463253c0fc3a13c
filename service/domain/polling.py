"""Reading a list that another system offers, page by page, so that no row of it is missed.

Pure: what to ask for next follows from where the reading stands, and where it stands from what came.
All times are the platform's own, of its rows: its clock may be wrong by hours and nothing is lost. A
round reads from the overlap before the mark to the end of the list. What makes a list shift under the
reader (new rows, changed ones that move, ties, pages that come shorter than asked for) costs repeats,
never a row: see docs/adr/0019.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from service.domain.ports import Poll

# Below the second a platform's filter may not see, and whether it includes its bound nobody says.
_GRAIN = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the reading of a list stands. `mark` is the time up to which every row is here, the rest
    belongs to the round that is under way: the time it has come to, its page there, the newest time
    it saw, the earliest time at which it was interrupted, whether this pass brought something new,
    how many rows the longest page had, a digest of the last page, and where the list seemed to end."""

    mark: datetime | None = None
    seek: datetime | None = None
    page: int = 1
    high: datetime | None = None
    back: datetime | None = None
    fresh: bool = False
    widest: int = 0
    seen: str = ""
    ended: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """What a page held: its rows, the newest time of a row that can be true (None if no row has
    one), a digest of it, and the earliest time of a row that was new to us (None if none was)."""

    count: int
    newest: datetime | None
    digest: str
    news: datetime | None


class Misread(Exception):
    """The list does not behave as its configuration says; the reading would go wrong or never end.
    Says what to look at, in Chinese."""


def since(place: Place, poll: Poll) -> datetime | None:
    """Return from which time on to ask for rows, None for all there are."""
    start = place.seek or _start(place, poll)
    if start is None:
        return None
    return start.replace(microsecond=0) - _GRAIN


def interrupted(place: Place) -> Place:
    """Return the place as it is taken up after a break. Rows may have come late meanwhile, behind
    what was read: the round after this one begins where the break was."""
    if place.seek is None:
        return place
    return replace(place, back=_earlier(place.back, place.seek))


def after(place: Place, page: Page, poll: Poll) -> tuple[Place, bool]:
    """Return where the reading stands after a page, and whether the round is over.

    Raises Misread.
    """
    here = replace(place, widest=max(place.widest, page.count), seen=page.digest)
    full = page.count >= min(poll.page_size, here.widest) > 0
    same = place.page > 1 and page.digest == place.seen
    if same:
        # The last page, given again to who asks for one after it; or a page that was read and moved
        # down by as many new rows as a page has. The second time it is the former.
        end = f"{place.page}:{page.digest}"
        if place.ended != end:
            return replace(here, page=1, seen="", widest=0, fresh=False, ended=end), False
        if place.page == 2 and page.count >= poll.page_size:
            msg = f"第 2 页与第 1 页完全相同，请核对页码参数“{poll.page}”"
            raise Misread(msg)
    if poll.newest_first:
        return _newest_first(here, page, poll, end=page.count == 0 or same)
    here = replace(here, high=_later(here.high, page.newest))
    at = place.seek or _start(place, poll)
    if page.newest is not None and (at is None or page.newest > at):
        # On from the last row's time rather than to the next page: a row that was changed goes to
        # the end of the list, and all behind it move up by one.
        return replace(here, seek=page.newest, page=1, seen=""), False
    if full and at is not None and page.newest is not None and page.newest < at - 2 * _GRAIN:
        msg = f"平台没有按“{poll.since}”筛选，请核对参数名，或改用 order: newest_first"
        raise Misread(msg)
    if full and not same:
        return replace(here, page=here.page + 1), False
    return _over(here, poll), True


def _newest_first(here: Place, page: Page, poll: Poll, *, end: bool) -> tuple[Place, bool]:
    edge = _start(here, poll)
    past = edge is not None and page.newest is not None and page.newest < edge
    # What comes after the first page was read is newer than this, and the next round's.
    here = replace(here, high=here.high or page.newest)
    new = page.news is not None and here.high is not None and page.news <= here.high
    here = replace(here, fresh=here.fresh or new)
    if not (end or past):
        return replace(here, page=here.page + 1), False
    if here.fresh:
        # A row that was taken off the list moves all behind it up by one, over the edge of a page
        # that was read. So the pages are read until they bring nothing new but what came meanwhile.
        return Place(mark=here.mark, high=here.high, ended=here.ended), False
    return _over(here, poll), True


def _over(here: Place, poll: Poll) -> Place:
    if here.widest and here.mark is None and here.high is None:
        msg = f"列表各条的“{poll.changed}”都不是可用的时间，请核对 poll.changed"
        raise Misread(msg)
    reached = here.high if here.back is None else _earlier(here.back, here.high)
    return Place(mark=_later(here.mark, reached))


def pause(failures: int, poll: Poll, asked: timedelta | None = None) -> timedelta:
    """Return how long to wait before the next try: as long as configured, after each further failure
    twice as long up to an hour, and not less than the platform asked for."""
    # A source that is asked twice a day is not asked more often because it failed.
    longest = max(LONGEST_PAUSE, poll.every)
    waited: timedelta = min(poll.every * int(2 ** min(max(failures - 1, 0), 20)), longest)
    return max(waited, min(asked, longest)) if asked else waited


def is_due(next_at: datetime | None, now: datetime, poll: Poll) -> bool:
    """Whether it is time to ask. A time further ahead than any pause is of a clock that was set back
    since."""
    return next_at is None or now >= next_at or next_at - now > max(LONGEST_PAUSE, poll.every)


def _start(place: Place, poll: Poll) -> datetime | None:
    return poll.start if place.mark is None else place.mark - poll.overlap


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max(one, other) if one and other else one or other


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min(one, other) if one and other else one or other
