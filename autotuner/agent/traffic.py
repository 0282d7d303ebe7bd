"""Requests to be served: when they arrive and how long they are."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
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
class MixSchedule:
    """Mixes one after the other: each from its start (s) on, the first one before it as well.

    Raises ValueError unless there is a mix per start and the starts ascend.
    """

    starts_s: tuple[float, ...]
    mixes: tuple[TokenMix, ...]

    def __post_init__(self) -> None:
        if not self.mixes or len(self.mixes) != len(self.starts_s):
            raise ValueError(f"{len(self.mixes)} mixes for {len(self.starts_s)} starts")
        if list(self.starts_s) != sorted(set(self.starts_s)):
            raise ValueError(f"starts_s={self.starts_s}: not ascending")

    def at(self, at_s: float) -> TokenMix:
        """The mix of requests that arrive at `at_s`."""
        return self.mixes[max(bisect_right(self.starts_s, at_s) - 1, 0)]


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
    """An endless stream of requests under a rate and a mix that may change over time.

    A Poisson process whose rate is held constant within each second (the rate at its middle), and
    multiplied by a Gamma draw of mean 1 and coefficient of variation `burst` where that is above 0.
    Lengths are of the mix at the middle of the second, too.
    """

    BLOCK_S = 60

    def __init__(
        self,
        rate: RateFunction,
        mix: TokenMix | MixSchedule,
        seed: int,
        start_s: float = 0.0,
        burst: float = 0.0,
    ) -> None:
        self._rate, self._burst = rate, burst
        self._mix = mix if isinstance(mix, MixSchedule) else MixSchedule((start_s,), (mix,))
        self._rng = np.random.default_rng(seed)
        self._drawn_until_s = start_s

    def next_block(self) -> tuple[list[tuple[float, int, int]], float]:
        """The next minute's (arrival, prompt tokens, output tokens), and where the minute ends."""
        start = self._drawn_until_s
        middles = [start + i + 0.5 for i in range(self.BLOCK_S)]
        rates = np.array([max(0.0, self._rate(at)) for at in middles])
        if self._burst > 0:
            shape = 1 / self._burst**2
            rates = rates * self._rng.gamma(shape, 1 / shape, self.BLOCK_S)
        counts = self._rng.poisson(rates)
        seconds = np.repeat(np.arange(self.BLOCK_S), counts)
        arrivals = np.sort(start + seconds + self._rng.random(len(seconds)))
        prompts, outputs = self._lengths(middles, counts)
        self._drawn_until_s = start + self.BLOCK_S
        rows = zip(arrivals.tolist(), prompts.tolist(), outputs.tolist(), strict=True)
        return list(rows), self._drawn_until_s

    def _lengths(self, middles: Sequence[float], counts: Ints) -> tuple[Ints, Ints]:
        """Prompts and outputs of `counts` requests in the seconds with these middles, in order.

        One draw for each run of seconds under one mix: a mix that stays draws once.
        """
        seconds = zip(map(self._mix.at, middles), counts.tolist(), strict=True)
        runs = groupby(seconds, key=lambda second: id(second[0]))
        drawn = []
        for _, same in runs:
            many = list(same)
            drawn.append(many[0][0].draw(self._rng, sum(n for _, n in many)))
        return np.concatenate([p for p, _ in drawn]), np.concatenate([o for _, o in drawn])
