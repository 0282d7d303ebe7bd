from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from autotuner.agent.calibration import MIN_RECORDS, calibrate, calibrate_target
from autotuner.agent.figures import Past, arrivals
from autotuner.agent.stepmodel import CPU_PRIOR, StepModel
from autotuner.domain.telemetry import Exposure, Outcome, StepRecord

TRUE = StepModel(8e-3, 0.5e-3, 0.3e-3, 5e-6, pair_s=0.4e-6)
NAMES = ("t0_s", "decode_s", "prefill_s", "context_s", "pair_s")


def records(n: int, noise: float = 0.0, prefill: bool = True, seed: int = 0) -> list[StepRecord]:
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        decode = int(rng.integers(0, 20))
        tokens = int(rng.integers(0, 400)) if prefill and rng.random() < 0.4 else 0
        before = int(rng.integers(0, 1500)) if tokens else 0
        context = decode * int(rng.integers(50, 600)) + before + tokens
        pairs = tokens * before + tokens * (tokens + 1) // 2
        true_s = TRUE.step_s(decode, tokens, context, pairs)
        step_s = true_s * math.exp(noise * rng.standard_normal())
        found.append(StepRecord(float(i), step_s, decode, tokens, context, pairs))
    return found


def test_exact_records_give_the_exact_model() -> None:
    fitted = calibrate(records(100))
    assert fitted.fitted
    for name in NAMES:
        assert getattr(fitted.model, name) == pytest.approx(getattr(TRUE, name), rel=1e-6)


def test_noisy_records_give_it_within_their_standard_errors() -> None:
    fitted = calibrate(records(800, noise=0.1))
    for i, name in enumerate(NAMES):
        off = abs(getattr(fitted.model, name) - getattr(TRUE, name))
        assert off < 4 * fitted.standard_errors[i] + 0.02 * getattr(TRUE, name)
    assert fitted.model.noise == pytest.approx(0.1, rel=0.3)
    assert fitted.residual_s > 0
    assert (fitted.relative_errors < 0.2).all()


def test_disturbed_steps_are_left_out() -> None:
    disturbed = [
        StepRecord(r.at, r.step_s * 20 if i % 25 == 0 else r.step_s, *_counts(r))
        for i, r in enumerate(records(400, noise=0.02))
    ]
    fitted = calibrate(disturbed)
    assert fitted.model.prefill_s == pytest.approx(TRUE.prefill_s, rel=0.1)
    assert "disturbed" in fitted.note


def _counts(r: StepRecord) -> tuple[int, int, int, int]:
    return r.decode_seqs, r.prefill_tokens, r.context_tokens, r.prefill_pairs


def test_what_never_varied_keeps_the_prior() -> None:
    fitted = calibrate(records(200, prefill=False))
    assert fitted.model.prefill_s == CPU_PRIOR.prefill_s
    assert fitted.standard_errors[2] == 0
    assert fitted.model.decode_s == pytest.approx(TRUE.decode_s, rel=1e-3)


@pytest.mark.parametrize(
    "given",
    [
        [],
        records(MIN_RECORDS - 1),
        [StepRecord(0.0, 0.02, 4, 0, 400)] * 200,
        [StepRecord(0.0, math.nan, 4, 0, 400)] * 200,
        [StepRecord(0.0, 0.0, i, 0, 400) for i in range(200)],
    ],
    ids=["none", "few", "alike", "nan", "zero"],
)
def test_too_little_gives_the_prior(given: list[StepRecord]) -> None:
    fitted = calibrate(given)
    assert fitted.model == CPU_PRIOR
    assert not fitted.fitted
    assert "prior" in fitted.note


def test_coefficients_are_never_negative() -> None:
    rng = np.random.default_rng(1)
    falling = [
        StepRecord(0.0, 0.1 / (1 + d) + 0.01 * rng.random(), d, 0, d * 100)
        for d in rng.integers(1, 30, 200).tolist()
    ]
    model = calibrate(falling).model
    assert min(model.t0_s, model.decode_s, model.prefill_s, model.context_s) >= 0


def test_the_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    held = dict.fromkeys(NAMES, 0)
    seeds = range(60)
    for seed in seeds:
        fitted = calibrate(records(300, noise=0.1, seed=seed))
        for i, name in enumerate(NAMES):
            off = abs(getattr(fitted.model, name) - getattr(TRUE, name))
            held[name] += off <= 1.96 * fitted.standard_errors[i]
    assert all(count / len(seeds) >= 0.85 for count in held.values()), held


def test_outliers_and_noise_together_leave_the_coefficients() -> None:
    odd = [
        StepRecord(r.at, r.step_s * (8 if i % 10 == 0 else 1), *_counts(r))
        for i, r in enumerate(records(600, noise=0.08, seed=3))
    ]
    fitted = calibrate(odd)
    for name, within in zip(NAMES, (0.1, 0.1, 0.15, 0.1, 0.2), strict=True):
        assert getattr(fitted.model, name) == pytest.approx(getattr(TRUE, name), rel=within)


def test_a_bend_is_told_only_where_there_is_one() -> None:
    straight = records(600, noise=0.05, prefill=False, seed=4)
    assert not calibrate(straight).bend_s.known
    bent = [replace(r, step_s=r.step_s + 4e-5 * r.decode_seqs**2) for r in straight]
    found = calibrate(bent)
    assert found.bend_s.known
    assert found.bend_s.value > 0
    assert "faster than in proportion" in found.note


def exposure(i: int, arrival: float, prompt: int = 100, output: int = 20) -> Exposure:
    return Exposure(
        i, f"r{i}", 1, 1, arrival, 0.0, 0.1, 0.02, 0.03, 0.5, prompt, output, Outcome.LENGTH
    )


def test_memory_prefix_lengths_and_arrivals_come_with_the_steps() -> None:
    rng = np.random.default_rng(5)
    steps = tuple(records(600, noise=0.05, seed=5))
    usage = tuple(
        (s.at, min(1.0, s.context_tokens / 20_000 * math.exp(0.1 * rng.standard_normal())))
        for s in steps[::20]
        if s.context_tokens > 1_000
    )
    near = tuple(replace(s, at=10.0 * s.at) for s in steps)  # one step at each scrape
    prefix = tuple((float(i), 1_000.0, float(rng.binomial(1_000, 0.4))) for i in range(30))
    gaps = rng.gamma(1 / 4, 4 / 2.0, 4_000)  # 2 a second, with a CV of 2
    requests = tuple(
        exposure(i, float(at), int(rng.integers(50, 150))) for i, at in enumerate(np.cumsum(gaps))
    )
    past = Past(near, requests, tuple((10.0 * at, used) for at, used in usage), prefix)
    found = calibrate_target(past).figures
    for estimate, truth in (
        (found.kv_tokens, 20_000.0),
        (found.prefix_share, 0.4),
        (found.prompt_tokens, 99.5),
        (found.rate_rps, 2.0),
        (found.burst, 2.0),
    ):
        assert estimate.known
        assert abs(estimate.value - truth) < 3.5 * estimate.error
        assert estimate.error < 0.1 * truth


def test_a_poisson_stream_has_a_burst_of_one_with_an_interval_that_covers() -> None:
    covered = 0
    for seed in range(100):
        gaps = np.random.default_rng(seed).exponential(0.5, 300)
        low, high = arrivals(np.cumsum(gaps))[1].interval
        covered += low <= 1.0 <= high
    assert covered >= 85


def test_what_nobody_told_stays_unknown() -> None:
    found = calibrate_target(Past(tuple(records(100)))).figures
    assert not any(estimate.known for estimate in vars(found).values())
