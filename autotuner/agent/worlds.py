"""The calibrated model under other figures that it may as well have: worlds beside the nominal one.

Where they agree a prediction can be trusted; where they part, an experiment has something to say.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from autotuner.agent.fluid import Prediction, predict
from autotuner.agent.latencies import SLOTable
from autotuner.agent.reach import Reach
from autotuner.agent.stepmodel import Floats, Ints
from autotuner.agent.systems import Systems


@dataclass(frozen=True)
class Doubt:
    """Relative deviations of what the model is made of; all chosen.

    `targets` widens each SLO target on its own: a latency of one kind that the model has wrong.
    """

    step: float = 0.05  # of each coefficient of a step, at least
    most_step: float = 0.4
    rate: float = 0.03
    targets: float = 0.04
    memory: float = 0.1

    @classmethod
    def of_sample(cls, prompt_tokens: Floats) -> Doubt:
        """Of a load that is known from these requests: their number and lengths vary by chance.

        The work that n requests bring has a relative deviation of √((1 + cv²) / n).
        """
        spread = float(prompt_tokens.std() / prompt_tokens.mean())
        return cls(rate=max(cls.rate, ((1 + spread**2) / len(prompt_tokens)) ** 0.5))


def draw_worlds(
    system: Systems, errors: Floats, n: int, rng: np.random.Generator, doubt: Doubt | None = None
) -> Systems:
    """`n` environments around the one of `system`, the first of them as it is.

    `errors` [5]: the relative errors of the step model's coefficients.
    """
    doubt = Doubt() if doubt is None else doubt
    many = system.take(np.zeros(n, dtype=np.int64))

    def factors(width: int, deviation: Floats | float) -> Floats:
        drawn = rng.standard_normal((n, width)) * deviation
        drawn[0] = 0.0
        return np.exp(drawn)

    of_steps = factors(len(errors), np.clip(errors, doubt.step, doubt.most_step))
    targets = factors(len(fields(SLOTable)), doubt.targets)
    slo = SLOTable(
        *(getattr(many.slo, f.name) * targets[:, k] for k, f in enumerate(fields(SLOTable)))
    )
    kv_tokens = many.machines.kv_tokens * factors(1, doubt.memory)[:, 0]
    machines = replace(many.machines, steps=many.steps.scaled(of_steps), kv_tokens=kv_tokens)
    rate = many.rate_rps * factors(1, doubt.rate)[:, 0]
    return replace(many, machines=machines, slo=slo, rate_rps=rate)


def predicted(system: Systems, reach: Reach, places: Ints) -> Prediction:
    """What the one environment of `system` would give at each place, [place]."""
    rows = np.zeros(len(places), dtype=np.int64)
    return predict(system.take(rows), reach.schedules(places), reach.engines(places))


def attainments(worlds: Systems, reach: Reach, places: Ints) -> Floats:
    """Attainment [world, place]."""
    worlds_of = np.repeat(np.arange(len(worlds)), len(places))
    places_of = np.tile(np.arange(len(places)), len(worlds))
    schedules = reach.schedules(places).take(places_of)
    engines = reach.engines(places).take(places_of)
    found = predict(worlds.take(worlds_of), schedules, engines).attainment
    return found.reshape(len(worlds), len(places))


BEHAVIOURS = 5  # axes of `behaviour`


def behaviour(prediction: Prediction) -> Floats:
    """How settings make the server behave, on axes like those of level positions, [place, axis].

    Settings that behave alike in the model have alike errors, however far apart their knobs are.
    A factor of two is 0.2.
    """
    figures = (
        prediction.full_step_s,
        prediction.tpot_s,
        prediction.ttft_short_s,
        prediction.ttft_long_s,
        prediction.decoding + 1,
    )
    return np.stack([0.2 * np.log2(np.maximum(figure, 1e-6)) for figure in figures], axis=1)
