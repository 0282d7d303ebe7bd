"""A remembered fold is the plain fold, with fewer steps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from autotuner.abtest.folding import Folding


class Counted:
    """Sums up and counts the steps that it took."""

    def __init__(self) -> None:
        self.steps = 0
        self.fold: Folding[int, int, int] = Folding(lambda start: start, self._add)

    def _add(self, total: int, item: int) -> int:
        self.steps += 1
        return total + item


def test_one_more_item_is_one_more_step() -> None:
    counted = Counted()
    assert counted.fold(0, tuple(range(20))) == 190
    assert counted.fold(0, tuple(range(21))) == 210
    assert counted.steps == 21
    assert counted.fold(0, tuple(range(21))) == 210
    assert counted.steps == 21


def test_another_past_or_another_key_starts_anew() -> None:
    counted = Counted()
    counted.fold(0, (1, 2, 3))
    assert counted.fold(0, (1, 5, 3)) == 9
    assert counted.fold(100, (1, 2, 3)) == 106
    assert counted.steps == 9


def test_several_sequences_are_remembered_side_by_side() -> None:
    counted = Counted()
    for length in range(1, 6):
        for key in range(4):
            assert counted.fold(key, (1,) * length) == key + length
    assert counted.steps == 4 * 5


@given(st.lists(st.tuples(st.integers(0, 1), st.lists(st.integers(0, 2), max_size=5)), max_size=20))
def test_whatever_was_asked_before_the_answer_is_the_plain_one(
    asked: list[tuple[int, list[int]]],
) -> None:
    counted = Counted()
    for key, items in asked:
        assert counted.fold(key, tuple(items)) == key + sum(items)
