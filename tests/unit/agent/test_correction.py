from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from autotuner.agent.correction import Beliefs, Readings, Scales, _choices, _log_prior, gains
from autotuner.agent.stepmodel import Floats

N = 21
AXES = np.linspace(0, 1, N)[:, None]


def beliefs(spread: float = 0.1, worlds: int = 24) -> Beliefs:
    """A model that promises 0.5 at the far end; the worlds disagree about how much."""
    slope = 0.5 + spread * np.random.default_rng(0).standard_normal(worlds)
    values = 0.2 + slope[:, None] * AXES[:, 0]
    return Beliefs(AXES, 0.2 + 0.5 * AXES[:, 0], values)


def reading(row: int, value: float, deviation: float = 0.01) -> Readings:
    return Readings(np.array([row]), np.array([value]), np.array([deviation]))


def mean_world(known: Beliefs) -> Floats:
    means = known.worlds.mean(axis=0)
    return np.asarray(means - means[0])


def test_without_evidence_it_is_what_the_worlds_say_and_doubt_grows_with_distance() -> None:
    told = gains(beliefs(), Readings(), Readings(), None)
    assert told.mean == pytest.approx(mean_world(beliefs()))
    assert told.deviation[0] < 1e-3
    assert told.deviation[-1] > told.deviation[N // 2] > 0.02


def test_a_measurement_is_believed_where_it_was_made_and_in_part_nearby() -> None:
    told = gains(beliefs(), reading(20, 0.2), Readings(), None)
    before = mean_world(beliefs())
    assert told.mean[20] == pytest.approx(0.2, abs=0.02)
    assert told.deviation[20] == pytest.approx(0.01, abs=0.005)
    assert told.mean[15] < before[15] - 0.05
    assert told.mean[0] == pytest.approx(0.0)


def test_a_vague_measurement_moves_little() -> None:
    sharp = gains(beliefs(), reading(20, 0.2, 0.01), Readings(), None)
    vague = gains(beliefs(), reading(20, 0.2, 0.5), Readings(), None)
    before = mean_world(beliefs())[20]
    assert abs(vague.mean[20] - before) < 0.3 * abs(sharp.mean[20] - before)


def test_a_measurement_counts_more_than_a_simulation() -> None:
    both = gains(beliefs(), reading(20, 0.2), reading(20, 0.6), None)
    assert both.mean[20] == pytest.approx(0.2, abs=0.03)


def test_a_simulation_corrects_the_formulas_but_leaves_the_doubt_of_the_figures() -> None:
    simulated = gains(beliefs(), Readings(), reading(20, 0.3), None)
    measured = gains(beliefs(), reading(20, 0.3), Readings(), None)
    assert simulated.mean[20] < mean_world(beliefs())[20] - 0.1
    assert simulated.deviation[20] > 3 * measured.deviation[20]


def test_the_incumbents_own_attainment_tells_the_worlds_apart() -> None:
    level = np.linspace(-0.3, 0.3, 31)
    # Where the incumbent does badly, there is more to gain.
    values = 0.5 + level[:, None] * np.where(AXES[:, 0] == 0, 1.0, 0.0)
    known = Beliefs(AXES, values[15], values)
    low = gains(known, Readings(), Readings(), (0.25, 0.02)).mean[-1]
    high = gains(known, Readings(), Readings(), (0.75, 0.02)).mean[-1]
    assert low > 0.15
    assert high < -0.15


def test_many_surprises_widen_what_is_not_known() -> None:
    rows = np.array([4, 8, 12, 16])
    expected = mean_world(beliefs(0.01))[rows]
    calm = Readings(rows, expected, np.full(4, 0.01))
    odd = Readings(rows, expected + 0.2 * np.array([1, -1, 1, -1]), np.full(4, 0.01))
    quiet = gains(beliefs(0.01), calm, Readings(), None)
    loud = gains(beliefs(0.01), odd, Readings(), None)
    assert loud.deviation[20] > 1.5 * quiet.deviation[20]
    assert loud.scales.structure > quiet.scales.structure


def test_noise_that_readings_share_moves_them_together_and_not_apart() -> None:
    rows, values = np.array([10, 20]), np.array([0.1, 0.3])
    deviations, common = np.array([0.15, 0.3]), np.array([[0.149], [0.299]])
    alone = gains(beliefs(), Readings(), Readings(rows, values, deviations), None)
    together = Readings(rows, values, np.array([0.01, 0.01]), common)
    told = gains(beliefs(), Readings(), together, None)
    assert together.noise[0, 0] == pytest.approx(0.15**2, rel=0.02)
    # Half as far, a third of the gain: only who knows the common noise can tell that it bends.
    assert told.mean[20] / told.mean[10] > alone.mean[20] / alone.mean[10] + 0.1


def test_the_scales_are_those_under_which_the_evidence_is_likeliest() -> None:
    """Against the joint normal of all readings, written out for each choice of scales."""
    known, rng = beliefs(), np.random.default_rng(2)
    measured = Readings(np.array([20, 9]), np.array([0.1, 0.4]), np.array([0.02, 0.03]))
    shared = 0.02 * rng.standard_normal((3, 4))
    simulated = Readings(np.array([4, 12, 20]), np.array([0.3, 0.2, 0.1]), np.full(3, 0.02), shared)
    rows = np.array([20, 9, 4, 12, 20])
    mean = mean_world(known)
    surprise = np.concatenate([measured.values, simulated.values]) - np.where(
        np.arange(5) < 2, mean[rows], known.nominal[rows] - known.nominal[0]
    )

    def log_posterior(scales: Scales) -> float:
        def smooth(a: int, b: int) -> float:
            return float(np.exp(-((AXES[a, 0] - AXES[b, 0]) ** 2) / (2 * scales.length**2)))

        def of_gains(part: Callable[[int, int], float], a: int, b: int) -> float:
            return part(a, b) - part(a, 0) - part(0, b) + part(0, 0)

        def worlds(a: int, b: int) -> float:
            return scales.worlds**2 * float(np.cov(known.worlds[:, a], known.worlds[:, b])[0, 1])

        covariance = 1e-8 * np.eye(5)
        for i, a in enumerate(rows):
            for j, b in enumerate(rows):
                covariance[i, j] += scales.formula**2 * of_gains(smooth, a, b)
                if i < 2 and j < 2:
                    covariance[i, j] += scales.structure**2 * of_gains(smooth, a, b)
                    covariance[i, j] += of_gains(worlds, a, b)
        covariance[:2, :2] += measured.noise
        covariance[2:, 2:] += simulated.noise
        return float(multivariate_normal.logpdf(surprise, cov=covariance)) + _log_prior(scales)

    told = gains(known, measured, simulated, None).scales
    assert told == max(_choices(), key=log_posterior)
    assert told != next(_choices())
