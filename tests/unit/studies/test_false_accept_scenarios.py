"""The worlds in which nothing changes are what the study says, and real noise may be missing."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from experiments.studies._adjusting import adjusted
from experiments.studies.aa_false_accepts import real_noise
from experiments.studies.aa_false_accepts.scenarios import Size, World, worlds

SIZE = Size(tests=60, pairs=10, requests_per_slot=20, batch=25)


BENCHMARKS = [list(np.random.default_rng(8).standard_normal((3, 900)))] * 2


@pytest.fixture(scope="module")
def found() -> list[World]:
    return list(worlds(1, SIZE, BENCHMARKS))


def test_every_scenario_of_the_claim_is_there(found: list[World]) -> None:
    claimed = {world.scenario for world in found if world.claimed}
    assert claimed == {
        "lognormal, autocorrelation 0",
        "lognormal, autocorrelation 0.9",
        "lognormal, autocorrelation 0.99",
        "load drift",
        "t(2) noise",
        "Cauchy noise",
        "real machines' noise",
        "two machines, one 2% slower",
        "two machines, one 5% slower",
        "two real machines",
    }
    assert not any(world.claimed for world in found if world.design == "plain split")


def test_every_test_has_its_pairs_all_finite(found: list[World]) -> None:
    for world in found:
        assert world.pairs.differences.shape == (60, 10)
        assert np.isfinite(world.pairs.differences).all()


def test_no_two_tests_are_the_same(found: list[World]) -> None:
    for world in found:
        if world.outcome != "attainment":  # short slots are often all within the SLO
            assert len({tuple(row) for row in world.pairs.control.tolist()}) == 60


def test_the_load_drift_is_explained_by_the_load_that_is_seen(found: list[World]) -> None:
    world = next(w for w in found if w.scenario == "load drift" and w.outcome == "log latency")
    assert world.covariates is not None
    assert world.covariates.shape == (60, 10, 1)
    together = np.corrcoef(world.pairs.differences.ravel(), world.covariates.ravel())[0, 1]
    assert together < -0.2


def test_swapping_the_labels_turns_an_adjusted_difference_into_its_negative() -> None:
    rng = np.random.default_rng(5)
    covariates = rng.standard_normal((4, 30, 1))
    differences = 2 * covariates[..., 0] + rng.standard_normal((4, 30))
    straight = adjusted(differences, covariates)
    swapped = adjusted(
        np.concatenate([differences[:, :-1], -differences[:, -1:]], axis=1),
        np.concatenate([covariates[:, :-1], -covariates[:, -1:]], axis=1),
    )
    assert swapped[:, -1] == pytest.approx(-straight[:, -1])
    assert straight[:, 10:].std() < 0.7 * differences[:, 10:].std()


def test_without_the_data_the_real_scenarios_are_left_out(tmp_path: Path) -> None:
    assert real_noise.read(tmp_path) == []
    assert not any("real" in world.scenario for world in worlds(1, SIZE, []))


def test_a_benchmark_is_read_by_machine_in_the_order_of_time(tmp_path: Path) -> None:
    lines = ["value,runtime,starttime,VM_id", "4,1,2023-09-02,a", "2,1,2023-09-01,a", "8,1,2023,b"]
    for name in real_noise.HIGHER_IS_BETTER:
        (tmp_path / f"{name}.csv").write_text("\n".join(lines), encoding="utf-8")
    latency, rate, _ = real_noise.read(tmp_path)
    assert [series.tolist() for series in latency] == [
        pytest.approx([-np.log(2), -np.log(4)]),
        pytest.approx([-np.log(8)]),
    ]
    assert rate[0].tolist() == pytest.approx([np.log(2), np.log(4)])


def test_a_stretch_is_uncut_and_two_machines_are_two() -> None:
    rng = np.random.default_rng(6)
    benchmarks = [[np.arange(50.0), np.arange(100.0, 140.0)]]
    for stretch in real_noise.stretches(rng, benchmarks, 20, 12):
        assert all(b - a == 1 for a, b in itertools.pairwise(stretch.tolist()))
    first, second = real_noise.two_machines(rng, benchmarks, 20, 12)
    assert ((first >= 100) != (second >= 100)).all()
