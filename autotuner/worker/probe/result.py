"""From scores of golden answers to the figures of a probe: arithmetic alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


class NotFiniteError(ArithmeticError):
    """The model gives no usable probabilities under these settings."""


@dataclass(frozen=True)
class AnswerScore:
    """One golden answer under the live settings, beside the float32 model's log-probabilities.

    All four have one entry a token of the answer.
    """

    answer: Sequence[int]
    most_likely: Sequence[int]
    log_probs: Sequence[float]
    reference_log_probs: Sequence[float]


@dataclass(frozen=True)
class ProbeResult:
    """`agreement` is the share of answer tokens that are the model's most likely ones,
    `perplexity` that of the answers, `mean_log_prob_drop` how much less likely in the mean a
    token is than for the float32 model (nats), `accuracy` the share of generated answers that
    contain what was expected, None where nothing is.

    Asked were `items` of the `of` items of the golden set named `golden`, from number `first` on;
    `golden_problem` tells why a newer golden file is not in use.
    """

    items: int
    tokens: int
    agreement: float
    perplexity: float
    mean_log_prob_drop: float
    accuracy: float | None
    seconds: float
    generation: int
    first: int = 0
    of: int = 0
    golden: str = ""
    golden_problem: str | None = None


def probe_result(
    scores: Sequence[AnswerScore], right: Sequence[bool], seconds: float, generation: int
) -> ProbeResult:
    """The figures over all tokens of all answers; raises NotFiniteError.

    `right` says of each item with an expected text whether the generated answer had it.
    """
    log_probs = [value for score in scores for value in score.log_probs]
    reference = [value for score in scores for value in score.reference_log_probs]
    agreed = sum(
        chosen == token
        for score in scores
        for chosen, token in zip(score.most_likely, score.answer, strict=True)
    )
    mean = math.fsum(log_probs) / len(log_probs)
    drop = math.fsum(reference) / len(reference) - mean
    perplexity = _exp(-mean)
    if not (math.isfinite(drop) and math.isfinite(perplexity)):
        raise NotFiniteError(f"mean log-probability {mean}: the model is broken as it is set")
    return ProbeResult(
        items=len(scores),
        tokens=len(log_probs),
        agreement=agreed / len(log_probs),
        perplexity=perplexity,
        mean_log_prob_drop=drop,
        accuracy=sum(right) / len(right) if right else None,
        seconds=seconds,
        generation=generation,
    )


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf
