"""Noise measured from a target's own past, against what is known of simulated ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from autotuner.abtest.noise import noise_after, noise_from, past_of, settling_s
from autotuner.abtest.planning import Noise, NoisePoint
from autotuner.domain.experiment import (
    Arm,
    Design,
    Experiment,
    Guardrail,
    Pair,
    Phase,
    Plan,
    Slot,
    SlotOutcome,
)
from autotuner.domain.knobs import Settings
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Exposure, Outcome

PLAN = Plan(slot_s=40, washout_min_s=2, washout_max_s=10, cooldown_s=5)
SLO_1S = SLO(ttft_s=1.0)
LENGTH_S = 1800.0


def served(
    ttft_s: Callable[[float, int, np.random.Generator], float],
    *,
    rate_rps: float = 5.0,
    length_s: float = LENGTH_S,
    generation: int = 3,
    lanes: int = 1,
    seed: int = 7,
) -> list[Exposure]:
    """Poisson arrivals; `ttft_s` says what each waits (arrival, lane, generator)."""
    rng = np.random.default_rng(seed)
    arrivals = np.sort(rng.uniform(0, length_s, rng.poisson(rate_rps * length_s)))
    requests = []
    for number, arrival in enumerate(arrivals.tolist()):
        lane = number % lanes
        waited = ttft_s(arrival, lane, rng)
        requests.append(
            Exposure(
                seq=number, id=str(number), generation_start=generation, generation_end=generation,
                arrival=arrival, queue_s=0.0, ttft_s=waited, tpot_s=0.01, gap_max_s=0.02,
                e2el_s=waited + 0.5, prompt_tokens=100, output_tokens=20, outcome=Outcome.LENGTH,
                lane=lane,
            )
        )  # fmt: skip
    return requests


def coin(share: float) -> Callable[[float, int, np.random.Generator], float]:
    """Each request meets the SLO with that probability, whatever the others do."""
    return lambda _at, _lane, rng: 0.2 if rng.random() < share else 3.0


def noise_of(requests: list[Exposure], plan: Plan = PLAN) -> Noise:
    found = noise_from(past_of(requests, 3, 0.0, LENGTH_S), plan, SLO_1S)
    assert found is not None
    return found


def test_the_noise_of_independent_requests_is_what_theory_says() -> None:
    seen = noise_of(served(coin(0.7)))
    expected = math.sqrt(2 * 0.7 * 0.3 / (5.0 * (PLAN.slot_s - PLAN.cooldown_s)))
    assert seen.points[0].slot_s == PLAN.slot_s
    assert seen.pair_sd(PLAN.slot_s) == pytest.approx(expected, rel=0.35)
    assert seen.rate_rps == pytest.approx(5.0, rel=0.05)
    assert seen.relaxation_s == 0.0
    assert seen.suits(PLAN)


def test_longer_slots_are_measured_as_far_as_the_past_reaches() -> None:
    points = noise_of(served(coin(0.7))).points
    assert [point.slot_s for point in points] == [40, 60, 80, 120, 160]
    assert [point.pairs for point in points] == [35, 24, 19, 12, 9]
    short = [e for e in served(coin(0.7)) if e.arrival > LENGTH_S - 320]
    found = noise_from(past_of(short, 3, LENGTH_S - 320, LENGTH_S), PLAN, SLO_1S)
    assert found is not None
    assert [(p.slot_s, p.pairs) for p in found.points] == [(40, 5)]


def test_too_short_a_past_says_nothing() -> None:
    requests = served(coin(0.7), length_s=200.0)
    assert noise_from(past_of(requests, 3, 0.0, 200.0), PLAN, SLO_1S) is None
    assert noise_from(past_of([], 3, 0.0, LENGTH_S), PLAN, SLO_1S) is None


def test_slots_with_too_few_requests_are_no_data() -> None:
    gap = [e for e in served(coin(0.7)) if not 0.0 < e.arrival < 1650.0]
    assert noise_from(past_of(gap, 3, 0.0, LENGTH_S), PLAN, SLO_1S) is None


def test_only_what_the_incumbent_served_alone_is_the_past() -> None:
    mine = served(coin(1.0))
    others = served(coin(0.0), generation=2, seed=8)
    across = [replace(e, generation_start=2) for e in mine[::10]]
    past = past_of([*mine, *others, *across], 3, 600.0, 1200.0)
    assert all(e.generation_start == e.generation_end == 3 for e in past.exposures)
    assert 600.0 <= past.exposures[0].arrival <= past.exposures[-1].arrival <= 1200.0


def test_memory_of_the_target_is_noticed() -> None:
    """A slow state of ten seconds' memory decides together over neighbouring requests."""
    rng = np.random.default_rng(2)
    state = [0.0]
    for _ in range(int(LENGTH_S)):
        state.append(0.905 * state[-1] + 0.425 * float(rng.standard_normal()))
    requests = served(lambda at, _lane, _rng: 0.2 if state[int(at)] > -0.5 else 3.0)
    seen = noise_of(requests)
    assert 4.0 < seen.relaxation_s < 25.0
    assert seen.pair_sd(PLAN.slot_s) > noise_of(served(coin(0.7))).pair_sd(PLAN.slot_s)


def test_guardrails_are_measured_along() -> None:
    rails = (Guardrail("e2el", 0.1), Guardrail("energy", 0.1), Guardrail("quality", 0.02))
    seen = noise_of(
        served(lambda _at, _l, rng: float(rng.uniform(0.2, 0.8))), replace(PLAN, guardrails=rails)
    )
    assert 0.0 < seen.guardrail_sd("e2el", 40) < 0.1
    assert math.isnan(seen.guardrail_sd("energy", 40))
    assert math.isnan(seen.guardrail_sd("quality", 40))


def test_between_lanes_a_constant_difference_of_the_machines_is_no_noise() -> None:
    split = replace(PLAN, design=Design.SPLIT, outcome="e2el")
    unlike = served(lambda _at, lane, rng: (1.0 + lane) * float(rng.uniform(0.9, 1.1)), lanes=2)
    alike = served(lambda _at, _lane, rng: float(rng.uniform(0.9, 1.1)), lanes=2)
    assert noise_of(unlike, split).pair_sd(40) < 3 * noise_of(alike, split).pair_sd(40) < 0.05


def test_lanes_side_by_side_do_not_see_a_load_that_both_share() -> None:
    def swinging(at: float, _lane: int, rng: np.random.Generator) -> float:
        return (1.5 + math.sin(at / 40)) * float(rng.uniform(0.9, 1.1))

    requests = served(swinging, lanes=2)
    switchback = noise_of(requests, replace(PLAN, outcome="e2el"))
    split = noise_of(requests, replace(PLAN, outcome="e2el", design=Design.SPLIT))
    assert split.pair_sd(40) < 0.2 * switchback.pair_sd(40)


OUTCOME = SlotOutcome(100, 50, 0, 0, 35.0, 0.2, 0.02, 0.7, 1000, 2000)
OLD, NEW = Settings({"seqs": 4}), Settings({"seqs": 8})


def with_pairs(differences: list[float]) -> Experiment:
    pairs = tuple(Pair(i, d, OUTCOME, OUTCOME) for i, d in enumerate(differences))
    return Experiment("t-1", "t", OLD, NEW, PLAN, 1, 0.0, pairs=pairs)


def test_a_test_s_own_pairs_are_the_best_measure_of_its_noise() -> None:
    after = noise_after(with_pairs([0.1, 0.3, 0.1, 0.3, 0.1, 0.3]), None)
    assert after is not None
    assert after.pair_sd(40) == pytest.approx(0.1095, rel=1e-3), "the effect itself is no noise"
    before = Noise(
        "attainment", Design.SWITCHBACK, (NoisePoint(40, 0.2, 9), NoisePoint(80, 0.1, 9)), 7.0, 5.0
    )
    scaled = noise_after(with_pairs([0.1, 0.3, 0.1, 0.3, 0.1, 0.3]), before)
    assert scaled is not None
    assert scaled.pair_sd(80) == pytest.approx(0.0548, rel=1e-2)
    assert (scaled.relaxation_s, scaled.rate_rps) == (7.0, 5.0)


def test_a_short_test_leaves_what_was_known() -> None:
    before = Noise("attainment", Design.SWITCHBACK, (NoisePoint(40, 0.2, 9),))
    assert noise_after(with_pairs([0.1, 0.2]), before) is before
    assert noise_after(with_pairs([]), None) is None


def switching(tau_s: float) -> tuple[Experiment, list[Exposure]]:
    """A test of twelve slots; what the other arm left behind fades with `tau_s`."""
    slots: list[Slot] = []
    requests: list[Exposure] = []
    rng = np.random.default_rng(4)
    for index in range(12):
        arm = Arm.TREATMENT if index % 2 else Arm.CONTROL
        start = index * 50.0
        slots.append(Slot(index, arm, index + 1, start, start + 5, start + 50, OUTCOME))
        settled, left = (0.9, 0.3) if arm is Arm.TREATMENT else (0.3, 0.9)
        for arrival in np.sort(rng.uniform(start, start + 50, 500)).tolist():
            share = settled + (left - settled) * math.exp(-(arrival - start) / tau_s)
            waited = 0.2 if rng.random() < share else 3.0
            requests.append(
                Exposure(
                    len(requests), str(len(requests)), index + 1, index + 1, arrival, 0.0, waited,
                    0.01, 0.02, waited + 0.5, 100, 20, Outcome.LENGTH,
                )
            )  # fmt: skip
    test = Experiment("t-1", "t", OLD, NEW, PLAN, 1, 0.0, phase=Phase.CLOSED, slots=tuple(slots))
    return test, requests


@pytest.mark.parametrize("tau_s", [3.0, 8.0])
def test_how_a_test_settled_after_its_switches_tells_the_relaxation(tau_s: float) -> None:
    found = settling_s(*switching(tau_s), SLO_1S)
    assert tau_s / 2 < found < 2 * tau_s


def test_a_test_of_few_switches_tells_nothing_of_it() -> None:
    test, requests = switching(5.0)
    assert math.isnan(settling_s(replace(test, slots=test.slots[:4]), requests, SLO_1S))
    assert math.isnan(settling_s(test, [], SLO_1S))
