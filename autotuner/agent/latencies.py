"""From the steps of a simulation to latencies per request, and from those to SLO attainment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from autotuner.agent.stepmodel import Bools, Floats, Ints
from autotuner.domain.slo import SLO


@dataclass(frozen=True)
class Latencies:
    """Seconds per request: arrays [environment, request]; infinite where it never ended.

    `offered` marks the places that hold a request. One token has a gap and a TPOT of 0.
    """

    offered: Bools
    arrival_s: Floats
    ttft_s: Floats
    gap_max_s: Floats
    tpot_s: Floats
    e2el_s: Floats


@dataclass(frozen=True)
class SLOTable:
    """SLOs side by side: arrays [environment], infinite where a target is not asked for."""

    ttft_s: Floats
    gap_max_s: Floats
    tpot_s: Floats
    e2el_s: Floats

    @classmethod
    def of(cls, slos: Sequence[SLO]) -> SLOTable:
        return cls(
            *(
                np.array(
                    [np.inf if getattr(s, f.name) is None else getattr(s, f.name) for s in slos]
                )
                for f in fields(cls)
            )
        )

    def take(self, rows: Ints) -> SLOTable:
        return SLOTable(*(getattr(self, f.name)[rows] for f in fields(SLOTable)))

    def slo(self, row: int) -> SLO:
        values = (float(getattr(self, f.name)[row]) for f in fields(SLOTable))
        return SLO(*(value if np.isfinite(value) else None for value in values))


def met(latencies: Latencies, slo: SLOTable) -> Bools:
    """Which requests met every target, [environment, request]; unfinished ones never do."""
    return (
        np.isfinite(latencies.e2el_s)
        & (latencies.ttft_s <= slo.ttft_s[:, None])
        & (latencies.gap_max_s <= slo.gap_max_s[:, None])
        & (latencies.tpot_s <= slo.tpot_s[:, None])
        & (latencies.e2el_s <= slo.e2el_s[:, None])
    )


def attainment(
    latencies: Latencies, slo: SLOTable, counted_s: tuple[float, float] = (0.0, np.inf)
) -> Floats:
    """The share of requests that met their SLO among those that arrived in `counted_s`.

    NaN where none arrived.
    """
    counted = (
        latencies.offered
        & (latencies.arrival_s >= counted_s[0])
        & (latencies.arrival_s < counted_s[1])
    )
    n = counted.sum(axis=1)
    good = (met(latencies, slo) & counted).sum(axis=1)
    return np.where(n > 0, good / np.maximum(n, 1), np.nan)


def from_steps(
    arrival_s: Floats, first: Ints, output: Ints, complete: Bools, step_s: Floats, end_s: Floats
) -> Latencies:
    """Latencies of requests whose first token came in step `first` and then one each step.

    Requests are [environment, request], steps [step, environment].
    """
    inf = np.full(arrival_s.shape, np.inf)
    ttft, gap, tpot, e2el = inf.copy(), inf.copy(), inf.copy(), inf.copy()
    rows, requests = np.nonzero(complete)
    begin, tokens = first[rows, requests], output[rows, requests]
    end = begin + tokens - 1
    arrived = arrival_s[rows, requests]
    ttft[rows, requests] = end_s[begin, rows] - arrived
    e2el[rows, requests] = end_s[end, rows] - arrived
    gaps = np.maximum(tokens - 1, 1)
    tpot[rows, requests] = (end_s[end, rows] - end_s[begin, rows]) / gaps
    gap[rows, requests] = longest_step(step_s, rows, begin + 1, end + 1)
    return Latencies(np.isfinite(arrival_s), arrival_s, ttft, gap, tpot, e2el)


def longest_step(step_s: Floats, rows: Ints, start: Ints, stop: Ints) -> Floats:
    """max(step_s[start:stop, row]) per query, 0 for an empty range.

    Range maxima over blocks of 2^k steps (the sparse table), one level in memory at a time: a
    range is covered by two overlapping blocks of the largest power of two within it.
    """
    found = np.zeros(len(rows))
    length = stop - start
    level_of = np.frexp(np.maximum(length, 1))[1] - 1
    table, block = step_s, 1
    for level in range(int(level_of.max(initial=0)) + 1):
        here = np.flatnonzero((level_of == level) & (length > 0))
        left = table[start[here], rows[here]]
        right = table[stop[here] - block, rows[here]]
        found[here] = np.maximum(left, right)
        if table.shape[0] <= block:
            break
        table, block = np.maximum(table[:-block], table[block:]), 2 * block
    return found
