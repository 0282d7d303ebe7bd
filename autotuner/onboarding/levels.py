"""From what a target accepts to the levels that a policy gives its knobs. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from autotuner.domain.knobs import Value
from autotuner.domain.telemetry import Histogram, Snapshot
from autotuner.metrics.quantiles import quantile
from autotuner.targets.capabilities import Capability, IntRange

# Chosen: what the default policy tunes. The others are there to be taken in by a person, since
# they cost a rebuild, change answers, or gain little on most machines.
TUNED = ("max_num_seqs", "max_num_batched_tokens", "batch_timeout_ms", "schedule_policy")
LADDERS: Mapping[str, tuple[int, ...]] = {
    "max_num_seqs": (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256),
    "max_num_batched_tokens": (16, 32, 64, 96, 128, 192, 256, 384, 512, 1024, 2048, 4096, 8192),
    "batch_timeout_ms": (0, 2, 5, 10, 20, 50, 100),
}
LEAST_REQUESTS = 30  # chosen: fewer say little about a quantile
SHARE_MET = 0.75  # chosen: one request in four is to be served better than now


@dataclass(frozen=True)
class KnobLines:
    """One knob of the policy to be: its levels in order, and the flags that the target tells."""

    name: str
    levels: tuple[Value, ...]
    live: bool
    changes_answers: bool
    tuned: bool


def knob_lines(
    capabilities: Mapping[str, Capability], settings: Mapping[str, Value]
) -> list[KnobLines]:
    """Every knob of the target, those that are tuned first. What is live now is always a level."""
    names = [name for name in TUNED if name in capabilities]
    names += [name for name in capabilities if name not in names]
    return [
        KnobLines(
            name,
            levels_of(name, capabilities[name], settings.get(name)),
            capabilities[name].live,
            capabilities[name].changes_answers,
            name in TUNED,
        )
        for name in names
    ]


def levels_of(name: str, capability: Capability, now: Value | None) -> tuple[Value, ...]:
    """The usual levels that the target accepts, with the value that is live now among them."""
    accepted = capability.accepted
    if not isinstance(accepted, IntRange):
        return accepted.values
    usual: Iterable[int] = LADDERS.get(name) or _doubling(accepted)
    fitting = {level for level in usual if accepted.accepts(level)}
    if isinstance(now, int) and not isinstance(now, bool) and accepted.accepts(now):
        fitting.add(now)
    return tuple(sorted(fitting)) or (accepted.least,)


def _doubling(accepted: IntRange) -> list[int]:
    """Powers of two from the least to the greatest, at most eight."""
    start = max(1, accepted.least)
    return [start * 2**step for step in range(8) if start * 2**step <= accepted.greatest]


@dataclass(frozen=True)
class SloHint:
    """What to suggest as SLO, and where it comes from."""

    ttft_s: float
    gap_max_s: float
    from_traffic: bool = False


USUAL = SloHint(1.5, 0.15)  # chosen: those of policies/default.yaml


def slo_hint(seen: Snapshot | None) -> SloHint:
    """What three requests in four get now; the default policy's where there was little traffic."""
    ttft_s, gap_s = (_met(seen, name) for name in ("ttft_s", "gap_max_s"))
    if ttft_s is None or gap_s is None:
        return USUAL
    return SloHint(ttft_s, gap_s, from_traffic=True)


def _met(seen: Snapshot | None, name: str) -> float | None:
    histogram: Histogram | None = seen.histograms.get(name) if seen else None
    if histogram is None or histogram.count < LEAST_REQUESTS:
        return None
    value = quantile(histogram, SHARE_MET)
    return None if math.isnan(value.value) or value.value <= 0 else two_digits_up(value.value)


def two_digits_up(value: float) -> float:
    """The value with two significant digits, rounded up: 0.1412 is 0.15."""
    scale = 10.0 ** (math.floor(math.log10(value)) - 1)
    # The slack keeps 0.15 from becoming 0.16 by a rounding of the division.
    return float(f"{math.ceil(value / scale - 1e-9) * scale:.12g}")
