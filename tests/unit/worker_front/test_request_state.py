import pytest

from autotuner.worker.request_state import Arrival, RequestState


def arrived(prompt_tokens: int = 5) -> RequestState:
    return RequestState("cmpl-1", prompt_tokens, 2, Arrival(wall=1000.0, mono=50.0))


def test_a_whole_life() -> None:
    state = arrived()
    state.admitted(1000.25)
    gaps = [state.token(now) for now in (50.5, 50.6, 51.0, 51.1)]
    exposure = state.ended("stop", generation=3, now=51.2)
    assert gaps[0] is None
    assert gaps[1:] == pytest.approx([0.1, 0.4, 0.1])
    assert (exposure.generation_start, exposure.generation_end) == (2, 3)
    assert (exposure.arrival, exposure.outcome) == (1000.0, "stop")
    assert (exposure.prompt_tokens, exposure.output_tokens) == (5, 4)
    assert exposure.queue_s == pytest.approx(0.25)
    assert exposure.ttft_s == pytest.approx(0.5)
    assert exposure.tpot_s == pytest.approx(0.2)
    assert exposure.gap_max_s == pytest.approx(0.4)
    assert exposure.e2el_s == pytest.approx(1.2)


def test_one_token_has_no_gap() -> None:
    state = arrived()
    state.token(50.5)
    exposure = state.ended("length", 2, 50.5)
    assert (exposure.ttft_s, exposure.tpot_s, exposure.gap_max_s) == (0.5, None, None)


def test_no_token_has_no_first_one_and_waited_all_its_life() -> None:
    exposure = arrived().ended("rejected", 2, 50.5)
    assert (exposure.ttft_s, exposure.tpot_s, exposure.gap_max_s) == (None, None, None)
    assert (exposure.queue_s, exposure.e2el_s, exposure.output_tokens) == (0.5, 0.5, 0)


def test_a_clock_a_hair_behind_makes_no_negative_wait() -> None:
    state = arrived()
    state.admitted(999.9999)
    assert state.ended("stop", 2, 51.0).queue_s == 0.0
