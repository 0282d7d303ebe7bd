"""What is true: the attainment of every settings of the grid under one workload, by simulation.

The machine has a term that the agent's model lacks: a step grows with the square of the batch, and
prompt chunks slow the decoding beside them. No proposer sees any of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product

import numpy as np

from autotuner.agent.des import simulate
from autotuner.agent.latencies import SLOTable, attainment
from autotuner.agent.schedule import Schedule, ScheduleTable
from autotuner.agent.serving import Serving, ServingTable
from autotuner.agent.stepmodel import Floats, Ints, StepModel
from autotuner.agent.traffic import TokenMix, Traffic, poisson_row
from autotuner.domain.knobs import KnobSpace, Settings
from autotuner.domain.slo import SLO

# Chosen so that chat and code want different settings: decoding is dear, and so is a step.
MACHINE = StepModel(t0_s=14e-3, decode_s=0.6e-3, prefill_s=0.06e-3, context_s=8e-8, noise=0.05)
# Clients give up after so long, and what finds so many others waiting is turned away; chosen.
PATIENCE_S, MAX_WAITING = 60.0, 32
LENGTH_S, WARM_UP_S = 240.0, 30.0  # of one repeat; chosen


SERVING = Serving(MACHINE, patience_s=PATIENCE_S)


@dataclass(frozen=True)
class Crowded:
    """What a step costs beyond the linear model, as shares of the machine's `decode_s`."""

    quadratic: float = 0.3  # times the batch squared over 32
    interference: float = 0.5  # per sequence that decodes beside 256 prompt tokens

    def extra_s(self, decoding: Ints, tokens: Ints) -> Floats:
        beside = decoding * np.minimum(tokens / 256, 1.0)
        extra: Floats = MACHINE.decode_s * (
            self.quadratic * decoding**2 / 32 + self.interference * beside
        )
        return extra


CROWDED = Crowded()


@dataclass(frozen=True)
class Load:
    """One workload: requests per second and their lengths."""

    name: str
    rate_rps: float
    mix: TokenMix = field(repr=False)


@dataclass(frozen=True)
class Truth:
    """The attainment (0..1) of each settings under one load."""

    shares: Mapping[Settings, float]

    @cached_property
    def optimum(self) -> Settings:
        return max(self.shares, key=self.shares.__getitem__)

    @property
    def best(self) -> float:
        return self.shares[self.optimum]

    def near(self, settings: Settings) -> float:
        """Of the best attainment, the share that `settings` reach."""
        return self.shares[settings] / self.best


@dataclass(frozen=True)
class Look:
    """How closely the truth is looked at: streams of the first look and of the closer one."""

    coarse: int
    fine: int
    seed: int = 71


def coarse(space: KnobSpace) -> tuple[Settings, ...]:
    """A part of the grid: each second or so of the levels that can serve at all."""
    levels = {
        "max_num_seqs": (8, 16, 32, 64),
        "max_num_batched_tokens": (256, 384, 512, 1024, 2048),
    }
    rows = (levels.get(k.name, k.levels if k.name == "schedule_policy" else (0,)) for k in space)
    return tuple(Settings(dict(zip(space.names, values, strict=True))) for values in product(*rows))


def around(truth: Truth, space: KnobSpace, tops: int) -> set[Settings]:
    """The best settings, and all that are one level of one knob away from them."""
    best = sorted(truth.shares, key=truth.shares.__getitem__)[-tops:]
    places = {space.indices(settings) for settings in best}
    for place in list(places):
        for k, knob in enumerate(space):
            for level in (place[k] - 1, place[k] + 1):
                if 0 <= level < len(knob.levels):
                    places.add((*place[:k], level, *place[k + 1 :]))
    return {space.at(place) for place in places}


def swept(load: Load, settings: Sequence[Settings], slo: SLO, repeats: int, seed: int) -> Truth:
    """The mean over `repeats` streams, the same for all settings."""
    rng = np.random.default_rng(seed)
    rows = [poisson_row(rng, load.rate_rps, LENGTH_S, load.mix) for _ in range(repeats)]
    repeat = np.tile(np.arange(repeats), len(settings))
    schedules = ScheduleTable.of([Schedule.of(s) for s in settings for _ in range(repeats)])
    run = simulate(
        Traffic.stack(rows).take(repeat),
        schedules,
        ServingTable.of([SERVING] * len(repeat)),
        cap_s=LENGTH_S * 1.2,
        noise_rows=repeat,
        seed=seed,
        max_waiting=MAX_WAITING,
        crowding=CROWDED,
    )
    shares = attainment(run.latencies, SLOTable.of([slo] * len(repeat)), (WARM_UP_S, LENGTH_S))
    means = np.nan_to_num(shares).reshape(len(settings), repeats).mean(axis=1)
    return Truth(dict(zip(settings, means.tolist(), strict=True)))
