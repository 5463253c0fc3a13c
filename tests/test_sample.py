"""What is drawn for a second look (抽查): as many as asked for, of every unit, the same again."""

import random

from hypothesis import given
from hypothesis import strategies as st

from service.domain.sample import Closed, allotted, drawn, size_of

_CLOSED = st.dictionaries(st.sampled_from("abcdefghij"), st.integers(1, 60), min_size=1)


def _population(closed: dict[str, int]) -> list[Closed]:
    every = [(unit, n) for unit, count in sorted(closed.items()) for n in range(count)]
    return [Closed(i, f"{unit}-{n}", "360732", unit) for i, (unit, n) in enumerate(every)]


@given(_CLOSED, st.integers(1, 700), st.text(max_size=8))
def test_a_draw_has_its_size_and_every_unit_as_far_as_it_goes(
    closed: dict[str, int], size: int, seed: str
) -> None:
    found = allotted(closed, size, seed)
    assert sum(found.values()) == min(size, sum(closed.values()))
    assert all(1 <= n <= closed[unit] for unit, n in found.items())
    assert len(found) == min(size, len(closed))


@given(_CLOSED, st.integers(1, 700))
def test_who_closed_more_is_drawn_no_less(closed: dict[str, int], size: int) -> None:
    found = allotted(closed, size, "seed")
    if size >= len(closed):
        for one, other in zip(closed, list(closed)[1:], strict=False):
            if closed[one] > closed[other]:
                assert found[one] >= found[other]


@given(_CLOSED, st.integers(1, 100), st.randoms(use_true_random=False))
def test_a_seed_draws_the_same_in_whatever_order_they_come(
    closed: dict[str, int], size: int, chance: random.Random
) -> None:
    population = _population(closed)
    first = drawn(population, size, "7f3a")
    chance.shuffle(population)
    assert drawn(population, size, "7f3a") == first
    assert len(set(first)) == len(first)


def test_another_seed_draws_others() -> None:
    population = _population({"a": 50, "b": 50})
    draws = {tuple(each.no for each in drawn(population, 10, f"{n}")) for n in range(20)}
    assert len(draws) == 20


def test_every_ticket_of_a_unit_is_drawn_about_as_often() -> None:
    population = _population({"a": 10})
    times = dict.fromkeys((each.no for each in population), 0)
    for n in range(2_000):
        for each in drawn(population, 3, f"{n}"):
            times[each.no] += 1
    assert all(500 < count < 700 for count in times.values())


def test_a_share_is_rounded_up() -> None:
    assert [size_of(n, 5) for n in (1, 20, 21, 100)] == [1, 1, 2, 5]
