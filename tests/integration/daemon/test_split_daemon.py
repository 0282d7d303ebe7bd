"""A daemon over two simulated replicas on a virtual clock: what can go wrong with one of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from autotuner.agent.replay_system import SimulatedSystem
from autotuner.agent.stepmodel import StepModel
from autotuner.bootstrap import Ends, assemble
from autotuner.daemon import Daemon
from autotuner.domain.errors import TargetUnavailableError
from autotuner.domain.experiment import Design, Experiment, Verdict
from autotuner.domain.knobs import Settings
from autotuner.domain.ports import LiveSettings
from autotuner.forecast.service import Forecaster, ForecastSettings
from autotuner.history.records import Ask
from autotuner.history.store import History, open_history
from autotuner.instruments import Instruments
from autotuner.metrics.merged import MergedSource
from autotuner.replay import SimulatedTarget
from autotuner.targets.capabilities import Capabilities, Capability, Choices
from autotuner.targets.split import SplitTarget
from tests.integration.daemon.loop import MIX, POLICY, POOR, START

BETTER = POOR.with_values(max_num_batched_tokens=128)
SLOWER = 1.05  # the second machine's steps


class Replica(SimulatedTarget):
    """A machine of its own speed, which can lose an apply, its answer, or its memory."""

    lose: str = ""
    boots: int = 0

    def __init__(self, slower: float, seed: int) -> None:
        model = StepModel(
            t0_s=6e-3 * slower, decode_s=0.45e-3 * slower, prefill_s=0.42e-3 * slower,
            context_s=4e-6 * slower, noise=0.05,
        )  # fmt: skip
        system = SimulatedSystem(model, lambda _: 3.0, MIX, POOR, seed=seed, start_s=START)
        super().__init__(system, POLICY.space(), POOR)

    def capabilities(self) -> Capabilities:
        return {knob.name: Capability(Choices(knob.levels)) for knob in POLICY.space()}

    def apply(self, settings: Settings, live: LiveSettings, reason: str) -> LiveSettings:
        lost, self.lose = self.lose, ""
        if lost == "apply":
            raise TargetUnavailableError("no answer")
        applied = super().apply(settings, live, reason)
        if lost == "answer":
            raise TargetUnavailableError("no answer")
        return applied

    def restart(self) -> None:
        self._front.restart(POOR)
        self._system.apply(POOR)
        self._system.generation = 1

    @property
    def runs(self) -> Settings:
        return POLICY.space().restrict(self.read_settings().settings)


@dataclass
class Loop:
    """The replicas outlive the daemon; `restart` is what systemd would do."""

    folder: Path
    now: float = START
    replicas: tuple[Replica, Replica] = field(
        default_factory=lambda: (Replica(1.0, 3), Replica(SLOWER, 4))
    )
    history: History = field(init=False)
    daemon: Daemon = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.history = open_history(f"sqlite:///{self.folder / 'history.sqlite3'}")
        split = SplitTarget(self.replicas, lambda: self.now)
        ends = Ends(split, MergedSource(self.replicas), stale_s=1e9, laned=split, replicas=2)
        forecaster = Forecaster(ForecastSettings(use_prophet=False))
        self.daemon = assemble("t", "x:", POLICY, self.history, Instruments(), ends, forecaster)

    def cycle(self) -> str:
        self.now += 2.0
        for replica in self.replicas:
            replica.advance(self.now, POLICY.slo.to_domain())
        return self.daemon.run_cycle(self.now)

    def runs(self) -> list[Settings]:
        return [replica.runs for replica in self.replicas]

    def open_test(self) -> Experiment:
        """The running test, cycling until there is one with slots on both lanes."""
        for _ in range(400):
            self.cycle()
            tests = self.history.open_experiments("t")
            if tests and tests[-1].slots:
                return tests[-1]
        raise AssertionError("no test began")

    def ended(self) -> Experiment:
        for _ in range(900):
            self.cycle()
            done = [t for t in self.history.experiments(target="t") if t.verdict is not None]
            if done:
                found = self.history.experiment(done[0].id)
                assert found is not None
                return found
        raise AssertionError("no test ended")


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    return Loop(tmp_path)


def test_a_split_test_ends_with_the_winner_on_both_replicas(loop: Loop) -> None:
    test = loop.open_test()
    assert set(loop.runs()) == {test.control, test.treatment}
    test = loop.ended()
    assert test.plan.design is Design.SPLIT
    assert test.conclusion is not None
    assert test.conclusion.verdict is Verdict.ACCEPTED
    assert loop.runs() == [test.treatment] * 2
    assert {slot.lanes for slot in test.slots} == {2}


@pytest.mark.parametrize("lose", ["apply", "answer"])
@pytest.mark.parametrize("replica", [0, 1])
def test_an_apply_that_one_replica_lost_is_read_back_and_said_again(
    loop: Loop, replica: int, lose: str
) -> None:
    test = loop.open_test()
    loop.replicas[replica].lose = lose
    while loop.replicas[replica].lose:
        loop.cycle()
    loop.cycle()
    [test] = loop.history.open_experiments("t")
    assert [slot.period for slot in test.slots[-2:]] == [1, 1]
    assert loop.runs() == [test.settings_of(slot.arm) for slot in test.slots[-2:]]
    assert loop.history.unfinished_decisions("t") == []


@pytest.mark.parametrize("replica", [0, 1])
def test_a_replica_that_restarts_costs_the_pair_and_the_test_goes_on(
    loop: Loop, replica: int
) -> None:
    loop.open_test()
    for _ in range(5):
        loop.cycle()
    loop.replicas[replica].restart()
    test = loop.ended()
    assert all(slot.excluded for slot in test.slots[:4])
    own = [slot.lane for slot in test.slots[:4] if (slot.excluded or "").startswith("the target")]
    assert own == [replica]
    assert test.pairs[0].index == 1
    assert test.conclusion is not None
    assert test.conclusion.verdict is Verdict.ACCEPTED


@pytest.mark.parametrize("replica", [0, 1])
def test_between_tests_a_restarted_replica_gets_the_incumbent_back(
    loop: Loop, replica: int
) -> None:
    test = loop.ended()
    loop.cycle()
    loop.replicas[replica].restart()
    assert loop.runs()[replica] == POOR
    loop.cycle()
    assert loop.runs() == [test.treatment] * 2


@pytest.mark.parametrize("replica", [0, 1])
def test_what_a_person_changes_on_one_replica_is_adopted_on_both(loop: Loop, replica: int) -> None:
    loop.cycle()
    one = loop.replicas[replica]
    one.apply(BETTER, one.read_settings(), "a person")
    assert "a person changed" in loop.cycle()
    loop.cycle()
    assert loop.runs() == [BETTER, BETTER]
    incumbent = loop.history.incumbent("t")
    assert incumbent is not None
    assert incumbent.settings == BETTER


def test_a_start_brings_replicas_together_that_run_different_settings(loop: Loop) -> None:
    one = loop.replicas[1]
    one.apply(BETTER, one.read_settings(), "a person, before")
    loop.cycle()
    assert loop.runs() == [POOR, POOR]


def test_a_crash_in_a_split_test_puts_the_incumbent_back_on_both(loop: Loop) -> None:
    loop.open_test()
    assert len(set(loop.runs())) == 2
    loop.restart()
    loop.cycle()
    assert loop.runs() == [POOR, POOR]
    [found] = loop.history.experiments(target="t")
    assert found.verdict is Verdict.ABORTED


def test_a_stop_leaves_the_incumbent_on_both(loop: Loop) -> None:
    loop.open_test()
    loop.daemon.stop(loop.now)
    assert loop.runs() == [POOR, POOR]


def test_a_declared_aa_test_runs_one_settings_on_both_and_is_not_accepted(loop: Loop) -> None:
    loop.history.ask("t", Ask.EXPERIMENT, "ada", loop.now, payload={"changes": {}, "plan": {}})
    test = loop.open_test()
    assert test.proposer == "declared by ada"
    assert loop.runs() == [POOR, POOR]
    test = loop.ended()
    assert test.conclusion is not None
    assert test.conclusion.verdict is not Verdict.ACCEPTED
    assert loop.history.next_declared("t") is None
