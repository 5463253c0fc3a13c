"""Where the next page of a list begins: opaque to callers, a row's id or a place of the feed to us."""

import base64
import binascii
import re

from service.feed import BEGINNING, Place


class BadCursor(Exception):
    """A cursor that this list did not give out; `pointer` says where it stood."""

    def __init__(self, pointer: str) -> None:
        super().__init__(pointer)
        self.pointer = pointer


def cursor_of(last_id: int) -> str:
    """Return the cursor of the page after the row with this id."""
    return _written(f"t{last_id}")


def read_cursor(cursor: str) -> int:
    """Return the id that a cursor stands for, 0 for none; raise BadCursor for one not of ours."""
    return int(_read(cursor, r"t([0-9]{1,18})", "/query/cursor")[1]) if cursor else 0


def cursor_at(place: Place) -> str:
    """Return the cursor that goes on after a place of the feed."""
    return _written(f"f{place.position}.{place.mark}")


def read_place(cursor: str, pointer: str) -> Place:
    """Return the place of the feed that a cursor stands for, the beginning for none; raise BadCursor,
    which names `pointer`, for one not of ours."""
    if not cursor:
        return BEGINNING
    found = _read(cursor, r"f([0-9]{1,18})\.([0-9a-f]{8})?", pointer)
    return Place(int(found[1]), found[2] or "")


def _written(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read(cursor: str, pattern: str, pointer: str) -> re.Match[str]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        found = re.fullmatch(pattern, text)
    except (binascii.Error, ValueError):
        found = None
    if not found:
        raise BadCursor(pointer)
    return found
