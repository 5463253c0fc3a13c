"""A second look at closed tickets (抽查): which of them are drawn, and what was found.

A draw can be done again by anybody: of a seed and the tickets of a period it gives the same ones. A
unit that closed tickets in that time is in it if the size allows, or nobody would look at who closes
little; beyond that each has as many as its share of what was closed. That the closed is looked at
again by telephone and on the spot is asked for by 兴国县 2021 item 7 (电话督查, 现场督查) and 南昌市
2021 item 6 (回访调查). Why it is so: ADR 0034.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256


class CheckedBy(StrEnum):
    """How a closed ticket is looked at again."""

    PHONE = "phone"  # 电话抽查
    ON_SPOT = "on_spot"  # 现场抽查


class Standing(StrEnum):
    """How far the second look at a drawn ticket has come."""

    WAITING = "waiting"  # 待查
    UNREACHED = "unreached"  # 未联系上: looked at, and nothing found out
    CHECKED = "checked"  # 已查


@dataclass(frozen=True, slots=True)
class Finding:
    """What a second look found: whether the citizen was `reached` and says that it is `solved`, and
    whether the unit's reply was `truthful` (属实); None for what could not be told."""

    way: CheckedBy
    reached: bool
    solved: bool | None = None
    truthful: bool | None = None

    @property
    def standing(self) -> Standing:
        """Return how far it leaves the ticket: what told nothing is worth another try."""
        told = self.solved is not None or self.truthful is not None
        return Standing.CHECKED if told else Standing.UNREACHED

    @property
    def is_bad(self) -> bool:
        """Whether the ticket should be done again (重办)."""
        return self.solved is False or self.truthful is False


@dataclass(frozen=True, slots=True)
class Closed:
    """A closed ticket that may be drawn, and the unit that answered for it."""

    id: int
    no: str
    region: str
    unit: str


def size_of(population: int, percent: int) -> int:
    """Return how many a share of some tickets is: rounded up, for a share of anything is one."""
    return -(-population * percent // 100)


def allotted(closed: Mapping[str, int], size: int, seed: str) -> dict[str, int]:
    """Return how many tickets of each unit to draw, of how many each closed: `size` in all, or all
    there are. Each unit has one, as far as the size goes; the rest goes by what each closed, by
    largest remainders. Where the size does not go round, the seed says which units have one."""
    units = sorted(closed, key=lambda unit: _rank(seed, unit))
    size = min(size, sum(closed.values()))
    if size <= len(units):
        return dict.fromkeys(units[:size], 1)
    spare, left = sum(closed.values()) - len(units), size - len(units)
    shares = {unit: divmod(left * (closed[unit] - 1), spare) for unit in units}
    found = {unit: 1 + whole for unit, (whole, _) in shares.items()}
    rest = sorted(units, key=lambda unit: -shares[unit][1])
    for unit in rest[: size - sum(found.values())]:
        found[unit] += 1
    return found


def drawn(population: Sequence[Closed], size: int, seed: str) -> list[Closed]:
    """Return the tickets that a seed draws, unit by unit; in whatever order the population comes."""
    of_units: dict[str, list[Closed]] = {}
    for each in population:
        of_units.setdefault(each.unit, []).append(each)
    share = allotted({unit: len(all_of_it) for unit, all_of_it in of_units.items()}, size, seed)
    return [
        each
        for unit in sorted(share)
        for each in sorted(of_units[unit], key=lambda one: _rank(seed, one.no))[: share[unit]]
    ]


def _rank(seed: str, text: str) -> str:
    return sha256(f"{seed}\n{text}".encode()).hexdigest()
