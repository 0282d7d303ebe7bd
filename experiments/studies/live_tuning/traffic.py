"""The study's workloads: lengths of real requests made small enough for a CPU, and their plans."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from autotuner.agent.stepmodel import Ints
from autotuner.agent.traffic import SampleMix
from autotuner.domain.errors import ConfigError
from autotuner.load.arrivals import steady
from autotuner.load.kinds import Process
from autotuner.load.lengths import named_mix
from autotuner.load.plan import Plan, PlannedRequest, synthetic
from autotuner.load.traces import Trace, read_trace

WORKLOADS = ("long-tail", "conv", "code")
SAMPLE = 2000  # requests whose lengths stand for a workload
_LONE = PlannedRequest(0.0, 100, 20)  # where chance would send nothing at all
MODEL_LEN = 2040  # tokens that the worker takes, prompt and answer together


@dataclass(frozen=True)
class Workload:
    """Requests in the order of their arrival; `at_s` of a trace are its own times.

    `divided`: by how much the lengths of the trace were divided, so that a CPU can serve them.
    """

    name: str
    prompt_tokens: Ints
    output_tokens: Ints
    at_s: tuple[float, ...] | None = None
    divided: int = 1

    @property
    def mix(self) -> SampleMix:
        return SampleMix(self.prompt_tokens[:SAMPLE].tolist(), self.output_tokens[:SAMPLE].tolist())

    @property
    def longest(self) -> int:
        """The prompt that nearly all others are shorter than, tokens."""
        return int(np.quantile(self.prompt_tokens[:SAMPLE], 0.99))

    def plan(self, rate_rps: float, duration_s: float, seed: int) -> Plan:
        """Requests of `duration_s` at `rate_rps`: a stretch of the trace, played faster or slower.

        Which stretch follows from the seed; a drawn workload draws Poisson arrivals.
        """
        if self.at_s is None:
            curve = steady(rate_rps, duration_s)
            return synthetic(curve, Process.POISSON, named_mix(self.name), seed) or (_LONE,)
        at = np.array(self.at_s)
        count = max(1, round(rate_rps * duration_s))
        start = int(np.random.default_rng(seed).integers(0, len(at) - count - 1))
        stretch = at[start : start + count] - at[start]
        times = stretch * (duration_s / max(at[start + count] - at[start], 1e-9))
        rows = range(start, start + count)
        return tuple(
            PlannedRequest(float(t), int(self.prompt_tokens[r]), int(self.output_tokens[r]))
            for t, r in zip(times, rows, strict=True)
        )

    def load_words(self, url: str, rate_rps: float, seconds: float, folder: Path) -> list[str]:
        """`autotuner load` with this workload, from the trace's middle on."""
        words = ["load", "--url", url, "--duration-s", f"{seconds:g}", "--rate", f"{rate_rps:.3f}"]
        if self.at_s is None:
            return [*words, "--mix", self.name]
        path = folder / f"{self.name}.csv"
        scale = _write_trace(path, self, rate_rps)
        return [*words, "--trace", str(path), "--trace-format", "azure", "--time-scale", f"{scale}"]


def drawn(name: str) -> Workload:
    """One of the load generator's own mixes."""
    lengths = named_mix(name).sample(np.random.default_rng(0), SAMPLE)
    return Workload(name, lengths[:, 0].astype(np.int64), lengths[:, 1].astype(np.int64))


def recorded(name: str, path: Path, divided: int) -> Workload:
    """A recorded trace with lengths divided. Raises ConfigError where the file is absent."""
    if not path.exists():
        raise ConfigError(f"trace={str(path)!r}: this study needs the recorded traces; not there")
    trace: Trace = read_trace(path)
    prompt = np.maximum(8, trace.prompt_tokens // divided)
    output = np.maximum(2, trace.output_tokens // divided)
    output = np.minimum(output, 400)
    prompt = np.minimum(prompt, MODEL_LEN - output)
    return Workload(name, prompt, output, tuple(trace.at_s.tolist()), divided)


def _write_trace(path: Path, workload: Workload, rate_rps: float) -> float:
    """Writes the workload's second half in Azure's format; the time scale that gives the rate."""
    assert workload.at_s is not None
    half = len(workload.at_s) // 2
    begin = datetime(2023, 11, 16, tzinfo=UTC)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["TIMESTAMP", "ContextTokens", "GeneratedTokens"])
        for row in range(half, len(workload.at_s)):
            at = begin + timedelta(seconds=workload.at_s[row] - workload.at_s[half])
            stamp = at.strftime("%Y-%m-%d %H:%M:%S.%f") + "0"
            writer.writerow([stamp, workload.prompt_tokens[row], workload.output_tokens[row]])
    span_s = workload.at_s[-1] - workload.at_s[half]
    own_rps = (len(workload.at_s) - half) / span_s
    return own_rps / rate_rps


def arrays(plan: Sequence[PlannedRequest]) -> tuple[np.ndarray, Ints, Ints]:
    """Arrival (s), prompt and output tokens of a plan, as the simulator takes them."""
    return (
        np.array([r.at_s for r in plan]),
        np.array([r.prompt_tokens for r in plan], dtype=np.int64),
        np.array([r.output_tokens for r in plan], dtype=np.int64),
    )
