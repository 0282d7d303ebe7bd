"""The arithmetic of a probe's figures."""

from __future__ import annotations

import math

import pytest

from autotuner.worker.probe.result import AnswerScore, NotFiniteError, probe_result

HALF, QUARTER = math.log(0.5), math.log(0.25)


def test_figures_are_over_all_tokens_of_all_answers() -> None:
    scores = [
        AnswerScore([1, 2, 3], [1, 2, 9], [HALF, HALF, QUARTER], [HALF, HALF, HALF]),
        AnswerScore([4], [4], [QUARTER], [QUARTER]),
    ]
    result = probe_result(scores, [True, False, True, True], seconds=1.5, generation=7)
    assert result.items == 2
    assert result.tokens == 4
    assert result.agreement == 0.75
    assert result.perplexity == pytest.approx(math.exp(-(2 * HALF + 2 * QUARTER) / 4))
    assert result.mean_log_prob_drop == pytest.approx((HALF - QUARTER) / 4)
    assert result.accuracy == 0.75
    assert (result.seconds, result.generation) == (1.5, 7)


def test_no_accuracy_without_expected_answers() -> None:
    result = probe_result([AnswerScore([1], [1], [HALF], [HALF])], [], 1.0, 1)
    assert result.accuracy is None


@pytest.mark.parametrize("value", [math.nan, -math.inf, -1e5])
def test_a_broken_model_is_no_figure(value: float) -> None:
    with pytest.raises(NotFiniteError):
        probe_result([AnswerScore([1], [1], [value], [HALF])], [], 1.0, 1)


def test_scores_of_another_length_are_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        probe_result([AnswerScore([1, 2], [1], [HALF], [HALF])], [], 1.0, 1)
