"""The policy's goal: what it becomes, and what is said where it can't be served."""

from __future__ import annotations

from typing import Any

import pytest

from autotuner.bootstrap import _rules
from autotuner.config import MetricsConfig, parse_policy
from autotuner.config.energy import check_declared
from autotuner.domain.errors import ConfigError
from autotuner.domain.experiment import Design, Guardrail
from autotuner.domain.goals import Goal, GoalKind

KNOBS = {
    "max_num_seqs": {"levels": [1, 2]},
    "tensor_parallel_size": {"levels": [1, 2], "live": False},
}


def policy(**fields: Any) -> dict[str, Any]:
    return {"name": "p", "slo": {"ttft_s": 1}, "knobs": KNOBS, **fields}


def goal(kind: str, experiment: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return policy(goal={"kind": kind, **fields}, experiment=experiment or {})


def test_without_a_word_it_is_goodput() -> None:
    said = parse_policy(policy())
    assert said.aim() == Goal(GoalKind.GOODPUT, 0.99)
    assert said.saving_plan() is None


def test_the_older_spelling_is_the_attainment_of_goodput() -> None:
    older = parse_policy(policy(proposer={"goal_attainment": 0.9}))
    newer = parse_policy(policy(goal={"attainment": 0.9}))
    assert older.aim() == newer.aim() == Goal(GoalKind.GOODPUT, 0.9)
    assert parse_policy(policy(proposer={"goal_attainment": 0})).aim().attainment == 0


@pytest.mark.parametrize("kind", ["cost", "energy", "devices"])
def test_a_saving_is_tested_by_its_own_measure_with_attainment_guarded(kind: str) -> None:
    tested = {"guardrails": [{"measure": "error_share", "margin": 0.02}]}
    priced = {**tested, "price_per_device_hour": 2.5}
    said = parse_policy(goal(kind, priced, attainment=0.95, margin=0.03))
    rules = _rules("t", said, 1)
    assert rules.goal == Goal(GoalKind(kind), 0.95)
    assert rules.saving is not None
    assert rules.saving.outcome == kind
    assert [rail.measure for rail in rules.saving.guardrails] == ["attainment", "error_share"]
    assert rules.saving.guardrails[0].margin == 0.03
    assert rules.plan.outcome == "attainment"
    assert (rules.plan.price_per_hour, rules.plan.priced_per_device) == (2.5, True)


def test_the_policys_own_guardrails_go_before_the_goals() -> None:
    own = {"outcome": "e2el", "guardrails": [
        {"measure": "attainment", "margin": 0.01, "prior_sd": 0.04},
        {"measure": "energy", "margin": 0.1},
    ]}  # fmt: skip
    plan = parse_policy(goal("energy", own)).saving_plan()
    assert plan is not None
    assert plan.guardrails == (Guardrail("attainment", 0.01, 0.04),)


def test_energy_per_token_is_energys_goal_tested_by_its_own_measure() -> None:
    said = parse_policy(goal("energy_per_token", attainment=0.95))
    assert said.aim() == Goal(GoalKind.ENERGY, 0.95)
    plan = said.saving_plan(2)
    assert plan is not None
    assert (plan.outcome, plan.design) == ("energy_per_token", Design.SWITCHBACK)


def test_energy_takes_turns_on_the_whole_target() -> None:
    energy, devices = (parse_policy(goal(kind)).saving_plan(2) for kind in ("energy", "devices"))
    assert energy is not None
    assert devices is not None
    assert (energy.design, devices.design) == (Design.SWITCHBACK, Design.SPLIT)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (goal("speed"), "goal.kind='speed'"),
        (goal("goodput", attainment=2), "goal.attainment=2"),
        (goal("devices", margin=0), "goal.margin=0"),
        (goal("cost"), "needs experiment.price_per_device_hour"),
        (goal("cost", {"outcome": "cost", "price_per_hour": 1}), "is the goal's own measure"),
        (goal("energy", {"design": "split"}), "can't be told apart"),
        (goal("energy_per_token", {"design": "split"}), "goal.kind='energy_per_token': the energy"),
        (
            goal("energy_per_token", {"outcome": "energy_per_token"}),
            "is the goal's own measure",
        ),
        (
            {**goal("devices"), "knobs": {"tensor_parallel_size": {"levels": [2]}}},
            "no knob changes how many are used",
        ),
        (
            {**goal("goodput", attainment=0.9), "proposer": {"goal_attainment": 0.9}},
            "give goal.attainment alone",
        ),
        ({**goal("devices"), "proposer": {"goal_attainment": 0.9}}, "give goal.attainment alone"),
        (
            goal("goodput", {"price_per_hour": 1, "price_per_device_hour": 1}),
            "give one, of the whole target or of each device",
        ),
    ],
)
def test_a_goal_that_cant_be_served_names_the_fix(data: Any, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_policy(data)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("tested", "told"),
    [
        ({"outcome": "energy_per_token"}, "plan.outcome='energy_per_token' can't be told"),
        (
            {"guardrails": [{"measure": "energy", "margin": 0.1}]},
            "plan.guardrails: energy can't pass",
        ),
    ],
)
def test_a_declared_test_by_energy_needs_a_source(tested: dict[str, Any], told: str) -> None:
    rules = parse_policy(policy(experiment=tested)).experiment
    with pytest.raises(ConfigError, match=rf"{told}: no source of energy is configured"):
        check_declared(MetricsConfig(), rules, "plan")
    for source in ({"rapl": True}, {"nvml": [0]}, {"dcgm": ["http://a:9400"]}):
        check_declared(MetricsConfig(**source), rules, "plan")
