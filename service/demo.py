"""Living tickets to play with."""

from service.wiring import Wiring


async def prepare(parts: Wiring, address: str) -> None:
    """Prepare."""
