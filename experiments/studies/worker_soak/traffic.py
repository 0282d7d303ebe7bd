"""The soak's traffic: a recorded hour of bursty requests, squeezed, or drawn bursts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autotuner.load.arrivals import bursty
from autotuner.load.kinds import Process
from autotuner.load.lengths import PRESETS
from autotuner.load.plan import (
    Clamp,
    Plan,
    Replay,
    from_trace,
    rate_scale_for,
    synthetic,
)
from autotuner.load.traces import Trace, read_trace

ROOT = Path(__file__).resolve().parents[3]
TRACE = "azure_llm_2023_code.csv"  # the burstiest of the recorded hours: 0 to 632 requests a minute
TRACE_PATH = ROOT.parent / "shared" / "data" / "traces" / TRACE
CLAMP = Clamp(max_prompt_tokens=1024, max_output_tokens=64)
MIX = "long-tail"


@dataclass(frozen=True)
class Traffic:
    """Where the requests come from; `trace` None draws them."""

    trace: Trace | None
    seed: int

    @property
    def source(self) -> str:
        if self.trace is None:
            return f"drawn: bursty arrivals, mix {MIX} (the recorded trace is not there)"
        return f"{TRACE}, prompts cut to 1,024 tokens and answers to 64"

    def plan(self, rate_rps: float, duration_s: float) -> Plan:
        """Requests of `duration_s` at this mean rate, bursts and all."""
        if self.trace is None:
            curve = bursty(rate_rps, duration_s, np.random.default_rng((self.seed, 1)))
            mix = PRESETS[MIX]
            return synthetic(curve, Process.POISSON, mix, self.seed, clamp=CLAMP)
        time_scale = duration_s / self.trace.span_s
        scale = rate_scale_for(self.trace, rate_rps, time_scale)
        return from_trace(self.trace, Replay(time_scale, scale), self.seed, CLAMP)

    def backlog(self, count: int) -> Plan:
        """`count` requests of the same lengths, all due at once."""
        plan = self.plan(rate_rps=count / 100, duration_s=200.0)
        order = np.random.default_rng(self.seed).permutation(len(plan))[:count]
        return tuple(replace(plan[index], at_s=0.0) for index in order)


def traffic(seed: int) -> Traffic:
    """The recorded trace where it lies beside the checkout, else drawn traffic."""
    return Traffic(read_trace(TRACE_PATH) if TRACE_PATH.is_file() else None, seed)
