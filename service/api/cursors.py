"""Where the next page of a list begins: opaque to callers, a row's id to us."""

import base64
import binascii
import re

from service.api.problems import BadCursor


def cursor_of(last_id: int) -> str:
    """Return the cursor of the page after the row with this id."""
    return base64.urlsafe_b64encode(f"t{last_id}".encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> int:
    """Return the id that a cursor stands for, 0 for none; raise BadCursor for one not of ours."""
    if not cursor:
        return 0
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        found = re.fullmatch(r"t([0-9]{1,18})", text)
    except (binascii.Error, ValueError):
        found = None
    if not found:
        raise BadCursor
    return int(found[1])
