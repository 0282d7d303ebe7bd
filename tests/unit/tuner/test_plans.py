"""Plans from the noise that was seen: waiting for it, using it, and keeping it."""

from __future__ import annotations

import random
from dataclasses import replace

from autotuner.abtest.planning import Noise, NoisePoint
from autotuner.domain.experiment import Design
from autotuner.domain.ports import LiveSettings
from autotuner.domain.telemetry import Exposure
from autotuner.tuner import Action, Observation, TunerState
from tests.unit.tuner.world import (
    LIVE,
    OLD,
    PLAN,
    Scripted,
    asked,
    decide,
    exposure,
    play,
    rules,
    seen,
    state,
    traffic,
)

FROM_NOISE = rules(plan_from_noise=True, noise_s=600.0)
SETTLED = LiveSettings(OLD, 1, "boot", 0.0, 700.0)
KNOWN = Noise("attainment", Design.SWITCHBACK, (NoisePoint(20, 0.05, 9),), 10.0, 2.0)


def past(share: float, generation: int = 1) -> tuple[Exposure, ...]:
    """Two requests a second for 700 s, of which a share meets the SLO."""
    rng = random.Random(4)
    return tuple(
        exposure(number, generation, number / 2, 0.2 if rng.random() < share else 3.0)
        for number in range(1400)
    )


def world(**changes: object) -> Observation:
    return replace(seen(live=SETTLED, recent=past(0.6)), **changes)  # type: ignore[arg-type]


def settled(**changes: object) -> TunerState:
    return state(intended=SETTLED, **changes)


def test_the_noise_is_waited_for() -> None:
    early = decide(state(), seen(), policy=FROM_NOISE)
    assert early.action is Action.HOLD
    assert "measuring the noise before a test: 100 of 600 s" in early.reason
    assert decide(state(), seen()).action is Action.START, "the policy's plan needs none"


def test_the_plan_follows_from_what_the_incumbent_served() -> None:
    decision = decide(settled(), world(), policy=FROM_NOISE)
    assert decision.action is Action.START
    experiment, noise = decision.state.experiment, decision.state.noise
    assert experiment is not None
    assert noise is not None
    assert noise.suits(PLAN)
    assert experiment.plan.prior_sd == noise.pair_sd(experiment.plan.slot_s)
    assert 0.02 < experiment.plan.prior_sd < 0.2
    assert "measured on" in decision.reason


def test_a_relaxation_that_is_known_lengthens_slots_and_washout() -> None:
    patient = replace(FROM_NOISE, plan=replace(PLAN, max_pairs=40))
    decision = decide(settled(noise=KNOWN), world(recent=()), policy=patient)
    assert decision.state.experiment is not None, decision.reason
    plan = decision.state.experiment.plan
    assert (plan.slot_s, plan.washout_min_s) == (60.0, 10.0)
    assert plan.budget_s <= patient.plan.budget_s
    hasty = decide(settled(noise=KNOWN), world(recent=()), policy=FROM_NOISE)
    assert hasty.action is Action.HOLD, "its budget of ten minutes has no room for such slots"
    assert "needs about 7 pairs" in hasty.reason


def test_where_the_past_says_nothing_the_policy_s_plan_serves() -> None:
    decision = decide(settled(), world(recent=past(0.6, generation=9)), policy=FROM_NOISE)
    assert decision.action is Action.START
    assert decision.state.experiment is not None
    assert decision.state.experiment.plan == PLAN
    assert "the policy's" in decision.reason


def test_an_effect_that_drowns_in_the_noise_is_refused_with_figures() -> None:
    decision = decide(settled(), world(), Scripted(effect=0.01), policy=FROM_NOISE)
    assert decision.action is Action.HOLD
    assert "needs about" in decision.reason
    assert decision.state.noise is not None, "what was measured is kept"


def test_a_test_leaves_its_own_noise_behind() -> None:
    played = play(better=True, policy=replace(FROM_NOISE, noise_s=50.0))
    noise = played.state.noise
    assert noise is not None
    done = played.decisions[-1].concluded
    assert done is not None
    assert noise.points[0].pairs == len(done.pairs)


def test_noise_of_another_measure_is_neither_used_nor_kept() -> None:
    other = replace(PLAN, outcome="e2el", prior_sd=0.3)
    known = settled(noise=KNOWN)
    decision = decide(known, world(recent=(), declared=asked(other, seqs=8)), policy=FROM_NOISE)
    assert decision.state.experiment is not None
    assert decision.state.experiment.plan.prior_sd == 0.3
    assert decision.state.noise == KNOWN


def test_a_target_too_slow_for_its_slots_is_not_tested() -> None:
    slow = seen(traffic=traffic(rate_rps=0.1))
    decision = decide(state(), slow)
    assert decision.action is Action.HOLD
    assert "5 are needed" in decision.reason
    assert LIVE.settings == decision.state.incumbent
