"""The whole daemon and its error budget: spent, no test starts until the window has moved on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import pytest

from autotuner.availability import read_budget
from autotuner.config import load_policy
from autotuner.config.availability import AvailabilityConfig
from autotuner.domain.error_budget import ErrorBudget
from autotuner.domain.experiment import Verdict
from autotuner.domain.telemetry import Exposure, ExposureBatch, Outcome
from autotuner.history.records import Ask
from autotuner.resources import resource_folder
from tests.integration.daemon.loop import POLICY, START, FragileTarget, Loop, make_loop

# A window of seven minutes, in which every tenth of some 1300 requests may fail.
BUDGET = AvailabilityConfig(objective=0.9, window_days=0.005, reserve=0.2)
# The daemon looks for a minute before it proposes anything: by then the budget is judged.
PATIENT = POLICY.proposer.model_copy(update={"min_requests": 150})
REFUSED = "no test starts while less than"
THRIFTY = POLICY.model_copy(update={"availability": BUDGET, "proposer": PATIENT})


@dataclass
class FailingTarget(FragileTarget):
    """Each `every`th of its requests ends with an error; with 0 none does."""

    every: int = 0

    def exposures(self, after: int) -> ExposureBatch:
        batch = super().exposures(after)
        return dataclasses.replace(batch, exposures=tuple(map(self._ended, batch.exposures)))

    def _ended(self, one: Exposure) -> Exposure:
        bad = self.every > 0 and one.seq % self.every == 0
        return dataclasses.replace(one, outcome=Outcome.ERROR) if bad else one


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    made = Loop(tmp_path, make_loop(tmp_path).target, THRIFTY)
    made.target.__class__ = FailingTarget
    return made


def fail(loop: Loop, seconds: int) -> None:
    """Every request fails for so long."""
    set_failing(loop, 1)
    for _ in range(seconds // 2):
        loop.cycle()
    set_failing(loop, 0)


def set_failing(loop: Loop, every: int) -> None:
    assert isinstance(loop.target, FailingTarget)
    loop.target.every = every


def budget(loop: Loop) -> ErrorBudget:
    """As any other process reads it."""
    return read_budget(loop.history, "t", BUDGET.to_domain(), loop.now)


def test_errors_that_spend_the_budget_stop_new_tests_until_the_window_moved_on(
    loop: Loop,
) -> None:
    fail(loop, 80)
    said = loop.cycle()
    assert said.startswith(f"{REFUSED} 20% of the error budget is left: overdrawn by")
    number = loop.history.ask(
        "t", Ask.EXPERIMENT, "alice", loop.now, payload={"changes": {}, "plan": {"max_pairs": 7}}
    )
    loop.cycle()
    asked = loop.history.control(number)
    assert asked is not None
    assert "that alice asked for" in str(asked.result)
    assert REFUSED in str(asked.result)

    for _ in range(30):  # all is well again, and yet nothing is tried
        assert REFUSED in loop.cycle()
    loop.restart()
    assert REFUSED in loop.cycle()
    assert loop.history.experiments() == []

    spent_at = loop.now
    while not loop.history.experiments():
        loop.cycle()
        assert loop.now < spent_at + 600
    assert not budget(loop).nearly_spent
    assert loop.now - spent_at > 200, "only once the failures had left the window"


def test_a_running_test_goes_on_where_the_budget_is_spent_meanwhile(tmp_path: Path) -> None:
    tight = AvailabilityConfig(objective=0.98, window_days=0.02)
    lenient = POLICY.experiment.model_copy(update={"max_error_share": 0.5})
    policy = POLICY.model_copy(update={"availability": tight, "experiment": lenient})
    loop = Loop(tmp_path, make_loop(tmp_path).target, policy)
    loop.target.__class__ = FailingTarget
    while not loop.history.open_experiments("t"):
        loop.cycle()
    set_failing(loop, 20)
    while not read_budget(loop.history, "t", tight.to_domain(), loop.now).nearly_spent:
        loop.cycle()
    [running] = loop.history.open_experiments("t")
    while loop.history.open_experiments("t"):
        assert REFUSED not in loop.cycle()
    [ended] = loop.history.experiments()
    assert (ended.id, ended.verdict) == (running.id, Verdict.ACCEPTED)
    for _ in range(60):
        said = loop.cycle()
    assert REFUSED in said, "and no other one begins"


def test_the_shipped_rules_tell_of_a_fast_burn_and_of_a_budget_nearly_spent(tmp_path: Path) -> None:
    tight = AvailabilityConfig(objective=0.98, window_days=0.02)
    shipped = load_policy("default", resource_folder("policies")).alerts
    quiet = POLICY.proposer.model_copy(update={"min_requests": 10_000})
    update = {"availability": tight, "alerts": shipped, "proposer": quiet}
    loop = Loop(tmp_path, make_loop(tmp_path).target, POLICY.model_copy(update=update))
    loop.target.__class__ = FailingTarget

    def firing() -> set[str]:
        return {alert.name for alert in loop.history.firing_alerts("t")}

    fail(loop, 40)
    assert "ErrorBudgetBurnFast" in firing()
    assert "ErrorBudgetNearlySpent" not in firing(), "too few requests to judge"
    while "ErrorBudgetNearlySpent" not in firing():
        loop.cycle()
        assert loop.now < START + 300
    while "ErrorBudgetBurnFast" in firing():
        loop.cycle()
        assert loop.now < START + 600, "the short window ends it"
    assert "ErrorBudgetNearlySpent" in firing()


def test_a_budget_that_is_not_kept_stops_nothing(tmp_path: Path) -> None:
    without = THRIFTY.model_copy(update={"availability": None})
    loop = Loop(tmp_path, make_loop(tmp_path).target, without)
    loop.target.__class__ = FailingTarget
    fail(loop, 80)
    while not loop.history.experiments():
        assert REFUSED not in loop.cycle()
    assert loop.history.series("t").count("availability_requests") == 0
