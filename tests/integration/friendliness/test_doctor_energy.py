"""What `autotuner doctor` says of energy: who measures it, why nobody does, and who needs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autotuner.config import parse_config, parse_policy
from autotuner.doctoring.energy import energy_finding
from autotuner.doctoring.finding import Finding, Level
from autotuner.domain.energy import Meter, Metering
from tests.contract.metrics.powercap import two_sockets

POLICY: dict[str, Any] = {"name": "p", "slo": {"ttft_s": 1}, "knobs": {"a": {"levels": [1, 2]}}}
GOAL = {"goal": {"kind": "energy_per_token", "attainment": 0.9}}
RAIL = {"experiment": {"guardrails": [{"measure": "energy", "margin": 0.1}]}}
COUNTED: Metering = {"rapl": Meter({"package-1": 1.0, "package-0": 2.0})}


def found(
    metering: Metering, policy: dict[str, Any], cycle_s: float = 5.0, **metrics: Any
) -> Finding:
    config = parse_config({"targets": [{"name": "a", "url": "http://a:1", "metrics": metrics}]})
    return energy_finding(config.targets[0], parse_policy({**POLICY, **policy}), metering, cycle_s)


def test_the_source_that_was_found_is_named_with_its_devices(tmp_path: Path) -> None:
    two_sockets(tmp_path)
    both = {**COUNTED, "dcgm": Meter(power_w={"GPU-7": 300.0})}
    seen = found(both, GOAL, rapl=str(tmp_path))
    assert seen == Finding(
        "energy a", Level.OK,
        "rapl: hardware counters of package-0, package-1; dcgm: power, integrated of GPU-7",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "level", "told"),
    [
        (GOAL, Level.FAIL, "goal.kind='energy_per_token' can't be decided: no source of energy"),
        (RAIL, Level.WARN, "guardrail energy can't pass, so that no change is accepted: no source"),
        ({}, Level.OK, "not measured, nor asked for by the policy"),
    ],
)
def test_without_a_source_it_depends_on_who_needs_it(
    policy: dict[str, Any], level: Level, told: str
) -> None:
    seen = found({}, policy)
    assert seen.level is level
    assert told in seen.told


def test_cycles_so_rare_that_a_counter_may_wrap_unseen(tmp_path: Path) -> None:
    two_sockets(tmp_path)
    seen = found(COUNTED, GOAL, cycle_s=120.0, rapl=str(tmp_path))
    assert seen.level is Level.FAIL
    assert "cycle_s=120: RAPL's counters could go around unseen" in seen.told
    assert "give less than 66" in seen.told


def test_why_the_counters_of_this_machine_can_not_be_read(tmp_path: Path) -> None:
    seen = found({"cpu": None}, {}, rapl=str(tmp_path / "none"))
    assert seen.level is Level.WARN
    assert "has no package domain" in seen.told


def test_a_source_that_tells_no_energy_is_named() -> None:
    seen = found({"dcgm": None}, GOAL, dcgm=["http://a:9400"])
    assert seen.level is Level.FAIL
    assert "dcgm: tells none" in seen.told
