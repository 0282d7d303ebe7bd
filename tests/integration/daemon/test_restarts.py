"""The daemon on a target that restarts for a knob: waits, measures, learns what can't run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pytest

from autotuner.agent.replay_system import SimulatedSystem
from autotuner.agent.stepmodel import StepModel
from autotuner.bootstrap import Ends, assemble
from autotuner.config import parse_policy
from autotuner.daemon import Daemon
from autotuner.domain.experiment import Verdict
from autotuner.domain.feasibility import Fault
from autotuner.domain.knobs import Settings
from autotuner.forecast.service import Forecaster, ForecastSettings
from autotuner.history.records import ExperimentSummary
from autotuner.history.store import History, open_history
from autotuner.instruments import Instruments
from tests.integration.daemon.loop import MIX, POOR, START
from tests.integration.daemon.restarting import RestartingTarget

GOOD = POOR.with_values(max_num_batched_tokens=128)
POLICY = parse_policy(
    {
        "name": "test",
        "slo": {"ttft_s": 1.5, "gap_max_s": 0.12},
        "knobs": {
            "max_num_seqs": {"levels": [32], "memory": "working"},
            "max_num_batched_tokens": {"levels": [128, 2048], "live": False, "memory": "working"},
        },
        "experiment": {
            "slot_s": 40, "washout_min_s": 2, "washout_max_s": 20, "cooldown_s": 5,
            "max_pairs": 60, "min_requests_per_slot": 10, "restart_max_s": 120,
        },
        "proposer": {
            "kind": "hill-climb", "observe_s": 60, "min_requests": 30, "pause_s": 30,
            "retry_s": 30,
        },
    }
)  # fmt: skip


@dataclass
class Loop:
    """The target and the history outlive the daemon."""

    target: RestartingTarget
    history: History
    daemon: Daemon
    now: float = START

    def cycle(self) -> str:
        self.now += 5.0
        self.target.advance(self.now, POLICY.slo.to_domain())
        return self.daemon.run_cycle(self.now)

    def until(self, words: str, cycles: int = 3000) -> str:
        for _ in range(cycles):
            if words in (said := self.cycle()):
                return said
        raise AssertionError(f"never said: {words}; but: {said}")

    def reborn(self) -> None:
        self.daemon = daemon_of(self.target, self.history)

    @property
    def tests(self) -> list[ExperimentSummary]:
        return self.history.experiments(target="t")


def daemon_of(target: RestartingTarget, history: History) -> Daemon:
    forecaster = Forecaster(ForecastSettings(use_prophet=False))
    ends = Ends(target, target, stale_s=1e9)
    return assemble("t", "simulated:", POLICY, history, Instruments(), ends, forecaster)


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    model = StepModel(t0_s=6e-3, decode_s=0.45e-3, prefill_s=0.42e-3, context_s=4e-6, noise=0.05)
    system = SimulatedSystem(model, lambda _: 3.0, MIX, POOR, seed=3, start_s=START)
    target = RestartingTarget(system, POLICY.space(), POOR)
    history = open_history(f"sqlite:///{tmp_path / 'history.sqlite3'}")
    return Loop(target, history, daemon_of(target, history))


@pytest.mark.parametrize("tells", [True, False], ids=["tells all", "tells nothing new"])
def test_a_knob_that_takes_a_restart_is_tested_to_its_verdict(loop: Loop, tells: bool) -> None:
    loop.target.tells = tells
    loop.until("ACCEPTED")
    while loop.target.running != GOOD:
        loop.cycle()
    (test,) = loop.tests
    assert (test.verdict, test.treatment) == (Verdict.ACCEPTED, GOOD)
    if tells:  # one restart per change of arms, and none is sent twice
        kept = loop.history.experiment(test.id)
        assert kept is not None
        changes = sum(a.arm is not b.arm for a, b in zip(kept.slots, kept.slots[1:], strict=False))
        assert len(loop.target.sent) <= changes + 2
        assert all(not slot.excluded for slot in kept.slots[:14])


def test_a_restart_is_waited_for_and_told(loop: Loop) -> None:
    said = loop.until("is restarting into")
    assert "max_num_batched_tokens" in said
    sent = list(loop.target.sent)
    for _ in range(3):
        loop.cycle()
    assert loop.target.sent == sent
    assert loop.history.firing_alerts("t") == []


def test_a_silent_restart_is_no_outage_until_its_bound(loop: Loop) -> None:
    loop.target.silent, loop.target.restart_s = True, 600.0
    loop.until("no answer yet")
    for _ in range(120 // 5 - 2):
        loop.cycle()
    assert loop.history.firing_alerts("t") == []
    for _ in range(20):
        loop.cycle()
    assert [alert.name for alert in loop.history.firing_alerts("t")] == ["TargetDown"]


@pytest.mark.parametrize("fault", [Fault.START_KV, Fault.REFUSED, Fault.HUNG])
def test_a_candidate_that_does_not_start_is_never_tried_again(loop: Loop, fault: Fault) -> None:
    loop.target.failing[GOOD] = fault
    loop.until("did not start")
    (test,) = loop.tests
    assert test.verdict is Verdict.ABORTED
    assert loop.history.quarantines("t", START + 1e9) == {GOOD.digest: math.inf}
    sent = len(loop.target.sent)
    for reborn in (False, True):
        if reborn:
            loop.reborn()
        for _ in range(60):
            loop.cycle()
        assert (len(loop.target.sent), loop.target.running) == (sent, POOR)
    assert loop.daemon.state is not None
    (bad,) = loop.daemon.state.infeasible
    assert (bad.settings, bad.fault) == (GOOD, fault)


def test_a_target_that_does_not_say_why_is_not_asked_for_ever(loop: Loop) -> None:
    loop.target.failing[GOOD], loop.target.tells = Fault.START_KV, False
    loop.until("does not say why")
    assert loop.target.running == POOR
    assert len(loop.target.sent) <= 3
    assert GOOD.digest in loop.history.quarantined("t", loop.now + 60)


def test_an_engine_that_dies_under_the_candidate_ends_the_test_at_once(loop: Loop) -> None:
    while loop.target.running != GOOD:
        loop.cycle()
    loop.until("counted")
    loop.target.die(Fault.RUN_MEMORY, loop.now, back=POOR)
    said = loop.cycle()
    assert said.startswith("HARMFUL")
    assert "run-memory, out of memory after its start: the log says so" in said
    assert loop.target.running == POOR
    assert loop.history.quarantines("t", START + 1e9) == {GOOD.digest: math.inf}
    assert [alert.name for alert in loop.history.firing_alerts("t")] == ["ExperimentHarmful"]


def test_an_engine_that_dies_under_the_control_says_nothing_of_the_candidate(loop: Loop) -> None:
    while "(control): counted" not in loop.cycle():
        pass
    loop.target.die(Fault.RUN_MEMORY, loop.now, back=POOR)
    assert loop.cycle().startswith("ABORTED")
    assert loop.history.quarantines("t", START + 1e9) == {}


def test_a_daemon_that_ends_in_a_restart_undoes_it(loop: Loop) -> None:
    while loop.target.pending is None or loop.target.pending.settings != GOOD:
        loop.cycle()
    loop.reborn()
    assert "is restarting into" in loop.until("restarting")
    while loop.target.running != GOOD:
        loop.cycle()
    incumbent = loop.history.incumbent("t")
    assert incumbent is not None
    assert incumbent.settings == POOR
    loop.until("applied again")
    while loop.target.running != POOR:
        loop.cycle()
    assert [test.verdict for test in loop.tests] == [Verdict.ABORTED]


def test_a_daemon_that_is_stopped_in_a_restart_does_not_adopt_its_end(loop: Loop) -> None:
    while loop.target.pending is None or loop.target.pending.settings != GOOD:
        loop.cycle()
    loop.daemon.stop(loop.now)
    while loop.target.running != GOOD:
        loop.now += 5.0
        loop.target.advance(loop.now, POLICY.slo.to_domain())
    loop.reborn()
    loop.cycle()
    incumbent = loop.history.incumbent("t")
    assert incumbent is not None
    assert incumbent.settings == POOR
    while loop.target.running != POOR:
        loop.cycle()


def test_a_candidate_that_failed_while_no_daemon_looked_is_barred(loop: Loop) -> None:
    while loop.target.running != GOOD:
        loop.cycle()
    loop.cycle()
    loop.target.die(Fault.KILLED, loop.now + 1, back=POOR)
    loop.reborn()
    loop.cycle()
    assert loop.history.quarantines("t", START + 1e9) == {GOOD.digest: math.inf}


def test_the_history_says_what_kind_of_server_it_is(loop: Loop) -> None:
    loop.cycle()
    assert loop.history.target_info("t")["server"] == "vllm"


def test_settings_of_no_known_knobs_do_not_stop_the_daemon(loop: Loop) -> None:
    loop.cycle()
    loop.target.fail(Settings({"other": 1}), Fault.CRASHED, loop.now)
    assert "other" not in loop.cycle()
    assert loop.history.quarantines("t", START + 1e9) == {}
