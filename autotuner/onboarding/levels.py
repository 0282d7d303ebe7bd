"""From what a target accepts to the levels that a policy gives its knobs. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from autotuner.config import KnobConfig
from autotuner.domain.knobs import Value
from autotuner.domain.telemetry import Histogram, Snapshot
from autotuner.metrics.coarse import coarse_quantile
from autotuner.metrics.per_event import itl_doubt
from autotuner.metrics.quantiles import quantile
from autotuner.targets.capabilities import Capability, Choices, IntRange

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
    max_step: int | None = None
    memory: str | None = None


def knob_lines(
    capabilities: Mapping[str, Capability],
    settings: Mapping[str, Value],
    shipped: Mapping[str, KnobConfig] | None = None,
) -> list[KnobLines]:
    """Every knob of the target, those that are tuned first. What is live now is always a level.

    `shipped`: the knobs of the policy for this kind of server; they are tuned, with their levels.
    """
    known = shipped or {}
    tuned = tuple(known) or TUNED
    names = [name for name in tuned if name in capabilities]
    names += [name for name in capabilities if name not in names]
    return [
        _lines(name, capabilities[name], settings.get(name), known.get(name), name in tuned)
        for name in names
    ]


def _lines(
    name: str, offered: Capability, now: Value | None, shipped: KnobConfig | None, tuned: bool
) -> KnobLines:
    usual = None if shipped is None else shipped.levels
    return KnobLines(
        name,
        levels_of(name, offered, now, usual),
        offered.live,
        offered.changes_answers,
        tuned,
        None if shipped is None else shipped.max_step,
        None if shipped is None else shipped.memory,
    )


def levels_of(
    name: str, capability: Capability, now: Value | None, shipped: Iterable[Value] | None = None
) -> tuple[Value, ...]:
    """The usual levels that the target accepts, with the value that is live now among them.

    `shipped`: the usual ones where a policy tells them. Of a share without usual levels only what
    is live now is known to be sound.
    """
    accepted = capability.accepted
    if isinstance(accepted, Choices):
        return accepted.values
    usual = shipped or LADDERS.get(name)
    if usual is None:
        usual = _doubling(accepted) if isinstance(accepted, IntRange) else ()
    fitting = {v for v in usual if not isinstance(v, str) and accepted.accepts(v)}
    if now is not None and not isinstance(now, str) and accepted.accepts(now):
        fitting.add(now)
    return tuple(sorted(fitting)) or (accepted.least,)


def _doubling(accepted: IntRange) -> list[int]:
    """Powers of two from the least to the greatest, at most eight."""
    start = max(1, accepted.least)
    return [start * 2**step for step in range(8) if start * 2**step <= accepted.greatest]


@dataclass(frozen=True)
class SloHint:
    """What to suggest as SLO, and where it comes from.

    `tpot_s`: in place of the largest gap, where a gap is not one token's. `doubts`: what is not
    certain of the figures, in words.
    """

    ttft_s: float
    gap_max_s: float
    from_traffic: bool = False
    tpot_s: float | None = None
    doubts: tuple[str, ...] = ()


USUAL = SloHint(1.5, 0.15)  # chosen: those of policies/default.yaml
USUAL_TPOT_S = 0.1  # chosen: that of policies/vllm.yaml


def slo_hint(seen: Snapshot | None) -> SloHint:
    """What three requests in four get now; the default policy's where there was little traffic."""
    several = itl_doubt(seen) if seen is not None else None
    told_by = frozenset[str]() if seen is None else seen.histograms.keys()
    by_mean = several is not None or ("tpot_s" in told_by and "gap_max_s" not in told_by)
    second = "tpot_s" if by_mean else "gap_max_s"
    ttft_s, per_token_s = (_met(seen, name) for name in ("ttft_s", second))
    told = () if several is None else (several,)
    if seen is None or ttft_s is None or per_token_s is None:
        return replace(USUAL, tpot_s=USUAL_TPOT_S if by_mean else None, doubts=told)
    doubts = (*told, *_too_wide(seen, ("ttft_s", second)))
    if by_mean:
        return SloHint(ttft_s, USUAL.gap_max_s, True, per_token_s, doubts)
    return SloHint(ttft_s, per_token_s, from_traffic=True, doubts=doubts)


def _too_wide(seen: Snapshot, names: Iterable[str]) -> Iterable[str]:
    for name in names:
        bucket = coarse_quantile(seen.histograms[name], SHARE_MET)
        if bucket is not None:
            yield f"{name} lies somewhere from {bucket}: the server's buckets tell no more"


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
