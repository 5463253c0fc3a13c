"""Where the next page of a list begins: opaque to callers, a row's key or a place of the feed to us.

A cursor says of which list it is: one of another list is refused, and not read as something else.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from service.feed import BEGINNING, Place
from service.store.lists import Due


class BadCursor(Exception):
    """A cursor that this list did not give out; `pointer` says where it stood."""

    def __init__(self, pointer: str) -> None:
        super().__init__(pointer)
        self.pointer = pointer


class List(StrEnum):
    """The lists that have pages, by the letter that their cursors begin with."""

    TICKETS = "t"
    SORTING = "s"
    HISTORY = "h"
    QUEUE = "q"
    DELIVERIES = "d"
    REJECTED = "r"
    GROUPS = "g"
    PERSON = "p"
    FEED = "f"
    PRESSING = "p"
    EXTENSIONS = "e"
    CHECKS = "c"
    HEADS = "a"


_NUMBER = "[0-9]{1,18}"
_POINTER = "/query/cursor"
_BEGAN = datetime(1970, 1, 1, tzinfo=UTC)
_MOMENT = timedelta(microseconds=1)


def cursor_of(of: List, last_id: int) -> str | None:
    """Return the cursor of the page after the row with this id, None for 0, which is the end."""
    return _written(of, last_id) if last_id else None


def read_cursor(of: List, cursor: str) -> int:
    """Return the id that a cursor stands for, 0 for none; raise BadCursor for one that is not of this
    list."""
    return int(_read(of, cursor, _NUMBER, _POINTER)[0]) if cursor else 0


def cursor_due(of: List, last: Due | None) -> str | None:
    """Return the cursor of the page after a place by time, None for the end."""
    return _written(of, (last.at - _BEGAN) // _MOMENT, last.id) if last else None


def read_due(of: List, cursor: str) -> Due | None:
    """Return the place by time that a cursor stands for, None for none; raise BadCursor."""
    if not cursor:
        return None
    micros, last_id = _read(of, cursor, rf"{_NUMBER}\.{_NUMBER}", _POINTER)
    try:
        return Due(_BEGAN + int(micros) * _MOMENT, int(last_id))
    except OverflowError:
        raise BadCursor(_POINTER) from None


def cursor_at(place: Place) -> str:
    """Return the cursor that goes on after a place of the feed."""
    return _written(List.FEED, place.position, place.mark)


def read_place(cursor: str, pointer: str) -> Place:
    """Return the place of the feed that a cursor stands for, the beginning for none; raise BadCursor,
    which names `pointer`, for one not of ours."""
    if not cursor:
        return BEGINNING
    position, mark = _read(List.FEED, cursor, rf"{_NUMBER}\.([0-9a-f]{{8}})?", pointer)
    return Place(int(position), mark)


def _written(of: List, *parts: int | str) -> str:
    text = of + ".".join(map(str, parts))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read(of: List, cursor: str, pattern: str, pointer: str) -> Sequence[str]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        raise BadCursor(pointer) from None
    if not re.fullmatch(of + pattern, text):
        raise BadCursor(pointer)
    return text[1:].split(".")
