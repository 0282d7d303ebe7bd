"""A request's times and tokens, in numbers that can be checked by hand."""

from __future__ import annotations

import pytest

from autotuner.proxy.lengths import PromptLengths
from autotuner.proxy.life import Life
from autotuner.proxy.reading import Usage


def life() -> Life:
    return Life("a", generation=1, arrived_at=1000.0, arrived_mono=10.0)


def test_several_tokens_an_event_take_the_counts_for_the_mean_and_events_for_the_largest() -> None:
    one = life()
    one.admitted(2, 10.5)
    assert [one.content(at) for at in (11.0, 12.0, 14.0)] == [None, 1.0, 2.0]
    told = one.ended("stop", 3, 15.0, Usage(7, 10), prompt_guess=99)
    assert (told.generation_start, told.generation_end) == (2, 3)
    assert (told.queue_s, told.ttft_s, told.gap_max_s, told.e2el_s) == (0.5, 1.0, 2.0, 5.0)
    assert told.tpot_s == pytest.approx(3 / 9)
    assert (told.prompt_tokens, told.output_tokens) == (7, 10)


def test_without_counts_events_are_tokens_and_the_prompt_is_a_guess() -> None:
    one = life()
    for at in (11.0, 12.0, 13.0):
        one.content(at)
    told = one.ended("abort", 1, 14.0, None, prompt_guess=5)
    assert (told.output_tokens, told.prompt_tokens, told.tpot_s) == (3, 5, 1.0)
    one = life()
    one.prompt_tokens = 4  # came as token ids
    assert one.ended("abort", 1, 14.0, None, prompt_guess=5).prompt_tokens == 4


@pytest.mark.parametrize("tokens", [1, 8])
def test_an_answer_in_one_event_has_no_gap(tokens: int) -> None:
    one = life()
    one.content(11.0)
    told = one.ended("stop", 1, 14.0, Usage(7, tokens), prompt_guess=0)
    assert (told.ttft_s, told.tpot_s, told.gap_max_s) == (1.0, None, None)


def test_in_one_piece_the_first_token_is_the_last() -> None:
    one = life()
    one.whole(14.0)
    told = one.ended("stop", 1, 14.0, Usage(7, 8), prompt_guess=0)
    assert (told.ttft_s, told.e2el_s, told.tpot_s) == (4.0, 4.0, None)


def test_one_that_was_never_admitted_waited_all_its_life() -> None:
    told = life().ended("rejected", 1, 12.5, None, prompt_guess=0)
    assert (told.queue_s, told.ttft_s, told.output_tokens) == (2.5, None, 0)


def test_guesses_follow_what_was_counted() -> None:
    lengths = PromptLengths()
    for _ in range(200):
        lengths.learn(100, 50)
    lengths.learn(0, 7)
    assert lengths.guess(10) == 5
