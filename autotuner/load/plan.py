"""The schedule: which request is sent when. Made whole beforehand; pure and seeded."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotuner.domain.errors import ConfigError
from autotuner.load.arrivals import RateCurve, arrival_times
from autotuner.load.kinds import Process
from autotuner.load.lengths import LengthModel
from autotuner.load.traces import Trace


@dataclass(frozen=True, slots=True)
class PlannedRequest:
    """One request to send `at_s` seconds after the start."""

    at_s: float
    prompt_tokens: int
    output_tokens: int


Plan = tuple[PlannedRequest, ...]


@dataclass(frozen=True)
class Clamp:
    """The longest prompt and answer that the server takes; longer ones are cut to this."""

    max_prompt_tokens: int | None = None
    max_output_tokens: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_prompt_tokens", "max_output_tokens"):
            limit = getattr(self, name)
            if limit is not None and limit < 1:
                raise ConfigError(f"{name}={limit}: give at least 1")


@dataclass(frozen=True)
class Replay:
    """How a trace is played.

    Its times are multiplied by `time_scale` (0.1 is ten times as fast), then requests are thinned
    out or multiplied at random by `rate_scale`, then cut at `duration_s` and at `limit` requests.
    """

    time_scale: float = 1.0
    rate_scale: float = 1.0
    duration_s: float | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        for name in ("time_scale", "rate_scale", "duration_s", "limit"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{name}={value}: give a number above 0")


def synthetic(
    curve: RateCurve,
    process: Process,
    lengths: LengthModel,
    seed: int,
    cv: float = 1.0,
    clamp: Clamp | None = None,
) -> Plan:
    """Drawn arrivals with drawn lengths; the lengths do not depend on how arrivals are drawn."""
    arrivals_rng, lengths_rng = np.random.default_rng(seed).spawn(2)
    times = arrival_times(curve, process, arrivals_rng, cv)
    drawn = lengths.sample(lengths_rng, len(times))
    return _planned(times, drawn[:, 0], drawn[:, 1], clamp or Clamp())


def from_trace(
    trace: Trace, replay: Replay | None = None, seed: int = 0, clamp: Clamp | None = None
) -> Plan:
    """The trace's requests as `replay` plays them."""
    replay = replay or Replay()
    at_s = trace.at_s * replay.time_scale
    rows, times = _rescaled(at_s, replay.rate_scale, np.random.default_rng(seed))
    if replay.duration_s is not None:
        rows, times = rows[times < replay.duration_s], times[times < replay.duration_s]
    rows, times = rows[: replay.limit], times[: replay.limit]
    prompts, outputs = trace.prompt_tokens[rows], trace.output_tokens[rows]
    return _planned(times, prompts, outputs, clamp or Clamp())


def rate_scale_for(trace: Trace, rate_rps: float, time_scale: float) -> float:
    """The `rate_scale` with which the whole trace has this mean rate."""
    if not rate_rps > 0:
        raise ConfigError(f"rate={rate_rps}: give a rate above 0")
    span_s = trace.span_s * time_scale
    return rate_rps * span_s / len(trace) if span_s > 0 else 1.0


def _rescaled(
    at_s: NDArray[np.float64], scale: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows and times of each row's copies: `scale` of them on average.

    A row's first copy keeps its time. Further copies are spread up to the next arrival, so that
    the rate keeps its course.
    """
    whole = math.floor(scale)
    copies = np.full(len(at_s), whole) + (rng.random(len(at_s)) < scale - whole)
    rows = np.repeat(np.arange(len(at_s)), copies)
    first = np.concatenate(([True], np.diff(rows) > 0)) if len(rows) else np.empty(0, dtype=bool)
    gaps = np.diff(at_s, append=at_s[-1:])
    spread = np.where(first, 0.0, rng.random(len(rows)) * gaps[rows])
    times = at_s[rows] + spread
    order = np.argsort(times, kind="stable")
    return rows[order], times[order]


def _planned(
    times: NDArray[np.float64],
    prompts: NDArray[np.int64],
    outputs: NDArray[np.int64],
    clamp: Clamp,
) -> Plan:
    prompts = np.clip(prompts, 1, clamp.max_prompt_tokens)
    outputs = np.clip(outputs, 1, clamp.max_output_tokens)
    rows = zip(times.tolist(), prompts.tolist(), outputs.tolist(), strict=True)
    return tuple(PlannedRequest(*row) for row in rows)
