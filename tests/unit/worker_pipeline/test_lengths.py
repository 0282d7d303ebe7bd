import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.worker.pipeline.lengths import (
    grouped_padding_ratio,
    length_group,
    padding_ratio,
)
from autotuner.worker.pipeline.waiting import WaitingPrompts
from autotuner.worker.request_state import Arrival, RequestState

LENGTHS = st.lists(st.integers(1, 100_000), min_size=1, max_size=30)


def test_groups_are_powers_of_two() -> None:
    assert [length_group(n) for n in (1, 2, 3, 4, 7, 8, 1023, 1024)] == [1, 2, 2, 3, 3, 4, 10, 11]


def test_what_a_mixed_batch_would_pay() -> None:
    assert padding_ratio([100, 100]) == 1.0
    assert padding_ratio([10, 30]) == 1.5
    mixed = [8, 12, 1000, 1024]
    assert padding_ratio(mixed) == pytest.approx(4 * 1024 / 2044)
    assert grouped_padding_ratio(mixed) == pytest.approx((24 + 1000 + 1024) / 2044)


@given(LENGTHS)
def test_grouping_never_pads_more_and_never_doubles(lengths: list[int]) -> None:
    assert 1.0 <= grouped_padding_ratio(lengths) <= padding_ratio(lengths)
    assert grouped_padding_ratio(lengths) < 2.0


def state(name: str, prompt_tokens: int) -> RequestState:
    return RequestState(name, prompt_tokens, 1, Arrival(0.0, 0.0))


def test_a_prompt_waits_until_its_first_token_or_its_end() -> None:
    waiting = WaitingPrompts()
    first, second, third = state("a", 10), state("b", 20), state("c", 30)
    for one in (first, second, third):
        waiting.enter(one)
    assert waiting.lengths() == [10, 20, 30]
    first.token(1.0)
    assert waiting.lengths() == [20, 30]
    waiting.leave(second)
    waiting.leave(first)
    assert waiting.lengths() == [30]
