"""The study's arithmetic, and that its workers speak what the daemon reads."""

from __future__ import annotations

import math

import pytest

from autotuner.metrics.canonical import recognise
from autotuner.metrics.samples import parse_page
from autotuner.targets.bodies import ExposuresBody, FeedbackBody, SettingsBody, StepsBody
from experiments.studies.control_plane_scale.running import quantile
from experiments.studies.control_plane_scale.study import checks, exponent
from experiments.studies.control_plane_scale.workers import RATE_RPS, Worker


def row(targets: int, cores: float) -> dict[str, float]:
    return {
        "targets": targets, "cpu_cores": cores, "cycle_p99_s": 0.4, "misfires": 0.0,
        "memory_mib": 700.0,
    }  # fmt: skip


def test_quantiles_are_linear_inside_a_bucket() -> None:
    counts = {0.1: 50.0, 0.2: 100.0, math.inf: 100.0}
    assert quantile(counts, 0.5) == pytest.approx(0.1)
    assert quantile(counts, 0.75) == pytest.approx(0.15)
    assert quantile({0.1: 0.0, math.inf: 10.0}, 0.99) == 0.1, "beyond the last bound"


def test_twice_as_much_for_twice_as_many_is_an_exponent_of_one() -> None:
    assert exponent([row(1, 5.0), row(50, 1.0), row(100, 2.0)]) == pytest.approx(1.0)


def test_what_is_missed_stays_missed() -> None:
    held = [c["holds"] for c in checks([row(30, 0.1), row(100, 1.0)])]
    assert held == [True, True, True, False]


def test_the_workers_speak_the_contract() -> None:
    worker = Worker("boot-1")
    worker.began -= 100.0
    live = SettingsBody.model_validate_json(worker.get("/admin/settings", {}))
    assert live.live().generation == 1
    first = ExposuresBody.model_validate_json(worker.get("/admin/exposures", {})).to_domain()
    assert len(first.exposures) == 100 * RATE_RPS
    again = worker.get("/admin/exposures", {"after": [str(first.next)]})
    assert ExposuresBody.model_validate_json(again).next >= first.next
    assert StepsBody.model_validate_json(worker.get("/admin/steps", {})).to_domain()
    assert FeedbackBody.model_validate_json(worker.get("/admin/feedback", {})).next == 0
    assert recognise(parse_page(worker.get("/metrics", {}).decode())).family == "worker"


def test_a_push_raises_the_generation_and_a_stale_one_changes_nothing() -> None:
    worker = Worker("boot-1")
    assert worker.put({"generation": 1, "settings": {"max_num_seqs": 16}})[0] == 200
    assert worker.put({"generation": 1, "settings": {"max_num_seqs": 32}})[0] == 409
    assert (worker.generation, worker.settings["max_num_seqs"]) == (2, 16)
