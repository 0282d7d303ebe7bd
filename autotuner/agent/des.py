"""A discrete-step simulator of continuous batching, many environments at once.

It plays the bundled worker's scheduler step by step: decode tokens first, the rest of the token
budget to chunks of prompts in the order of admission. All environments are played at once on
cursors (`des_cursors`); those with replicas, and those in which memory, patience or a full queue
may have bound, are played again one by one on engines (`des_rows`), with the same noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autotuner.agent.des_crowding import Crowding
from autotuner.agent.des_cursors import CursorRun
from autotuner.agent.des_noise import Noise
from autotuner.agent.des_rows import RowServer, ServedRow
from autotuner.agent.des_trace import Trace
from autotuner.agent.latencies import Latencies
from autotuner.agent.schedule import ScheduleTable
from autotuner.agent.serving import ServingTable
from autotuner.agent.stepmodel import Floats, Ints, StepTable
from autotuner.agent.traffic import Traffic

__all__ = ["Simulated", "Trace", "simulate"]


@dataclass(frozen=True)
class Simulated:
    """Latencies per request, and the steps when they were asked for."""

    latencies: Latencies
    trace: Trace | None = None


def simulate(
    traffic: Traffic,
    schedules: ScheduleTable,
    serving: ServingTable | StepTable,
    *,
    cap_s: float,
    noise_rows: Ints | None = None,
    seed: int = 0,
    trace: bool = False,
    max_waiting: float = np.inf,
    crowding: Crowding | None = None,
) -> Simulated:
    """Serve `traffic` under each environment's schedule and engines.

    A step table stands for engines without limits. Runs until every request ended or the
    environment's clock passed `cap_s`. Latencies are infinite where a request has not ended by
    then, its client lost patience, it is longer than the memory, or it found `max_waiting` others
    waiting. A request's greatest length, which careful admission keeps memory for, is the length
    that it has. Environments with the same `noise_rows` entry see the same noise step by step
    (common random numbers). Under replicas a trace holds the steps of all, in the order of ends.
    `crowding`: what steps cost beyond the step tables.
    """
    table = ServingTable.plain(serving) if isinstance(serving, StepTable) else serving
    noise = Noise(np.arange(len(table.replicas)) if noise_rows is None else noise_rows, seed)
    run = CursorRun(
        traffic,
        schedules,
        table,
        cap_s,
        noise,
        max_waiting=max_waiting,
        trace=trace,
        crowding=crowding,
    )
    run.run()
    latencies = run.latencies()
    seen = run.trace() if trace else None
    if run.broken.any():
        server = RowServer(
            traffic,
            schedules,
            table,
            cap_s,
            noise,
            max_waiting=max_waiting,
            trace=trace,
            crowding=crowding,
        )
        again = {int(row): server.serve(int(row)) for row in np.flatnonzero(run.broken)}
        _put_times(latencies, again)
        seen = None if seen is None else _with_steps(seen, again)
    return Simulated(latencies, seen)


def _put_times(latencies: Latencies, again: dict[int, ServedRow]) -> None:
    for row, served in again.items():
        columns = (latencies.ttft_s, latencies.gap_max_s, latencies.tpot_s, latencies.e2el_s)
        for column, times in zip(columns, served.times, strict=True):
            column[row] = times


def _with_steps(trace: Trace, again: dict[int, ServedRow]) -> Trace:
    """The trace with some rows' steps in place of what it held of them."""
    steps = {row: served.steps for row, served in again.items() if served.steps is not None}
    length = max(len(trace.step_s), *(s.shape[1] for s in steps.values()))

    def column(values: Floats | Ints, index: int) -> Floats:
        padded = np.zeros((length, values.shape[1]))
        padded[: len(values)] = values
        for row, found in steps.items():
            padded[:, row] = 0.0
            padded[: found.shape[1], row] = found[index]
        return padded

    made_of = (trace.decode_seqs, trace.prefill_tokens, trace.context_tokens, trace.running)
    counts = (column(values, 2 + i).astype(np.int64) for i, values in enumerate(made_of))
    return Trace(column(trace.step_s, 0), column(trace.end_s, 1), *counts)
