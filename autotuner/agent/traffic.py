"""Requests to be served: when they arrive and how long they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from autotuner.agent.stepmodel import Floats, Ints

RateFunction = Callable[[float], float]


class TokenMix(Protocol):
    """Draws the lengths of requests."""

    def draw(self, rng: np.random.Generator, n: int) -> tuple[Ints, Ints]:
        """`n` prompt lengths and `n` output lengths, in tokens, at least 1 each."""
        ...


@dataclass(frozen=True)
class TokenClass:
    """A kind of request: its share, and ranges (inclusive) drawn uniformly."""

    share: float
    prompt_tokens: tuple[int, int]
    output_tokens: tuple[int, int]


@dataclass(frozen=True)
class ClassMix:
    """A mix of kinds; shares need not add up to 1."""

    classes: tuple[TokenClass, ...]

    def draw(self, rng: np.random.Generator, n: int) -> tuple[Ints, Ints]:
        shares = np.array([c.share for c in self.classes])
        kind = rng.choice(len(self.classes), size=n, p=shares / shares.sum())
        prompt = np.array([c.prompt_tokens for c in self.classes])[kind]
        output = np.array([c.output_tokens for c in self.classes])[kind]
        return (
            rng.integers(prompt[:, 0], prompt[:, 1] + 1),
            rng.integers(output[:, 0], output[:, 1] + 1),
        )


@dataclass(frozen=True)
class SampleMix:
    """Draws rows of a sample of real requests; `weights` (optional) need not add up to 1."""

    prompt_tokens: Sequence[int]
    output_tokens: Sequence[int]
    weights: Sequence[float] | None = None

    def draw(self, rng: np.random.Generator, n: int) -> tuple[Ints, Ints]:
        shares = None
        if self.weights is not None:
            shares = np.asarray(self.weights) / np.sum(self.weights)
        rows = rng.choice(len(self.prompt_tokens), size=n, p=shares)
        return (
            np.asarray(self.prompt_tokens, dtype=np.int64)[rows],
            np.asarray(self.output_tokens, dtype=np.int64)[rows],
        )


@dataclass(frozen=True)
class Traffic:
    """Requests per environment, in the order of arrival: arrays [environment, request].

    Rows shorter than the longest end in arrivals at infinity, which never come.
    """

    arrival_s: Floats
    prompt_tokens: Ints
    output_tokens: Ints

    def take(self, rows: Ints) -> Traffic:
        """The given rows; a row may be taken many times (common random numbers)."""
        return Traffic(self.arrival_s[rows], self.prompt_tokens[rows], self.output_tokens[rows])

    @classmethod
    def stack(cls, rows: Sequence[tuple[Floats, Ints, Ints]]) -> Traffic:
        """One row per (arrivals, prompts, outputs), padded to the longest."""
        width = max((len(row[0]) for row in rows), default=0)
        arrival = np.full((len(rows), width), np.inf)
        prompt = np.ones((len(rows), width), dtype=np.int64)
        output = np.ones((len(rows), width), dtype=np.int64)
        for i, (a, p, o) in enumerate(rows):
            arrival[i, : len(a)], prompt[i, : len(a)], output[i, : len(a)] = a, p, o
        return cls(arrival, prompt, output)


def poisson_row(
    rng: np.random.Generator, rate_rps: float, length_s: float, mix: TokenMix
) -> tuple[Floats, Ints, Ints]:
    """Arrivals of a Poisson stream over [0, length_s) with their lengths."""
    n = int(rng.poisson(rate_rps * length_s))
    arrival = np.sort(rng.uniform(0.0, length_s, n))
    return (arrival, *mix.draw(rng, n))


class ArrivalStream:
    """An endless stream of requests under a rate that changes over time.

    A Poisson process whose rate is held constant within each second (the rate at its middle), and
    multiplied by a Gamma draw of mean 1 and coefficient of variation `burst` where that is above 0.
    """

    BLOCK_S = 60

    def __init__(
        self, rate: RateFunction, mix: TokenMix, seed: int, start_s: float = 0.0, burst: float = 0.0
    ) -> None:
        self._rate, self._mix, self._burst = rate, mix, burst
        self._rng = np.random.default_rng(seed)
        self._drawn_until_s = start_s

    def next_block(self) -> tuple[list[tuple[float, int, int]], float]:
        """The next minute's (arrival, prompt tokens, output tokens), and where the minute ends."""
        start = self._drawn_until_s
        rates = np.array([max(0.0, self._rate(start + i + 0.5)) for i in range(self.BLOCK_S)])
        if self._burst > 0:
            shape = 1 / self._burst**2
            rates = rates * self._rng.gamma(shape, 1 / shape, self.BLOCK_S)
        counts = self._rng.poisson(rates)
        seconds = np.repeat(np.arange(self.BLOCK_S), counts)
        arrivals = np.sort(start + seconds + self._rng.random(len(seconds)))
        prompts, outputs = self._mix.draw(self._rng, len(arrivals))
        self._drawn_until_s = start + self.BLOCK_S
        rows = zip(arrivals.tolist(), prompts.tolist(), outputs.tolist(), strict=True)
        return list(rows), self._drawn_until_s
