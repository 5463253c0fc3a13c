"""What was not foreseen, kept to the work that it happened in, and told without what it says."""

import asyncio
import traceback
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from service.store import StoreUnavailable


async def outcome(work: Coroutine[Any, Any, int]) -> int | Exception:
    """Return what the work returned, or the error that it ended in, for the caller to tell of.

    Raises StoreUnavailable, which is foreseen and says that nothing else will succeed either.
    """
    found: int | BaseException = (await asyncio.gather(work, return_exceptions=True))[0]
    if isinstance(found, int):
        return found
    if isinstance(found, StoreUnavailable) or not isinstance(found, Exception):
        raise found
    return found


def findable(error: BaseException) -> dict[str, str]:
    """Return the type of an error and where it was raised; a message may quote a citizen."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "service" in Path(frame.filename).parts] or frames
    place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
    return {"error": type(error).__name__, "place": place}
