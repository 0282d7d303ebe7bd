"""The traffic that is planned for, and what its requests ask: rate, lengths, SLO."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autotuner.agent.systems import Mix, points_of_sample
from autotuner.domain.errors import ConfigError
from autotuner.domain.slo import SLO
from autotuner.load.traces import Trace

# Chosen, where means alone are told: seven points as far apart as ordinary chats are, with means 1.
_PROMPT_SPREAD = np.array([0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75])
_OUTPUT_SPREAD = np.array([0.75, 1.5, 0.5, 1.25, 1.0, 1.75, 0.25])
_PEAK_S = 60.0


@dataclass(frozen=True)
class Demand:
    """`peak_rps`: what is sized for. `mean_rps`: what tokens are counted by.

    `attainment`: the share of requests that shall meet the whole SLO. `mix`: one row.
    """

    peak_rps: float
    mean_rps: float
    mix: Mix
    slo: SLO
    attainment: float = 0.95

    @property
    def mean_prompt_tokens(self) -> float:
        return float((self.mix.prompt_tokens * self.mix.weight).sum())

    @property
    def mean_output_tokens(self) -> float:
        return float((self.mix.output_tokens * self.mix.weight).sum())

    @property
    def longest_tokens(self) -> int:
        return int(np.ceil((self.mix.prompt_tokens + self.mix.output_tokens).max()))


def steady_demand(
    rate_rps: float, prompt_tokens: float, output_tokens: float, slo: SLO, attainment: float
) -> Demand:
    """A constant rate, lengths spread around their means."""
    for name, value in (("rate", rate_rps), ("prompt", prompt_tokens), ("output", output_tokens)):
        if not 0 < value < np.inf:
            raise ConfigError(f"{name}={value}: give a number above 0")
    mix = Mix(
        np.maximum(prompt_tokens * _PROMPT_SPREAD, 1)[None, :],
        np.maximum(output_tokens * _OUTPUT_SPREAD, 1)[None, :],
        np.full((1, len(_PROMPT_SPREAD)), 1 / len(_PROMPT_SPREAD)),
    )
    return Demand(rate_rps, rate_rps, mix, slo, attainment)


def trace_demand(trace: Trace, slo: SLO, attainment: float, rate_rps: float | None) -> Demand:
    """A trace's lengths, sized for its busiest minute; or its lengths at the given rate."""
    prompts = np.maximum(trace.prompt_tokens, 1).astype(np.float64)
    outputs = np.maximum(trace.output_tokens, 1).astype(np.float64)
    mix = points_of_sample(prompts, outputs)
    if rate_rps is not None:
        if not 0 < rate_rps < np.inf:
            raise ConfigError(f"rate={rate_rps}: give a number above 0")
        return Demand(rate_rps, rate_rps, mix, slo, attainment)
    if trace.span_s <= 0:
        raise ConfigError("trace: all its requests come at once: give --rate as well")
    mean = len(trace) / trace.span_s
    minutes = np.bincount((trace.at_s // _PEAK_S).astype(np.int64))
    peak = float(minutes.max()) / _PEAK_S if trace.span_s >= _PEAK_S else mean
    return Demand(max(peak, mean), mean, mix, slo, attainment)
