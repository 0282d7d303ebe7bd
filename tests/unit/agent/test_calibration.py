from __future__ import annotations

import math

import numpy as np
import pytest

from autotuner.agent.calibration import MIN_RECORDS, calibrate
from autotuner.agent.stepmodel import CPU_PRIOR, StepModel
from autotuner.domain.telemetry import StepRecord

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
