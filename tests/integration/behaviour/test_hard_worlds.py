"""How the daemon behaves where tuning can't help, has no reason to, or is a trap."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from autotuner.agent.des_faults import Faults
from autotuner.domain.experiment import Arm, Verdict
from autotuner.domain.goals import GoalKind
from autotuner.domain.knobs import Settings
from tests.integration.behaviour.worlds import (
    FEW,
    MANY,
    PAIRED,
    SAVING,
    START,
    Lived,
    Wishing,
    live,
)

HOURS = 1.0


def test_where_nothing_helps_it_rests_and_says_so(tmp_path: Path) -> None:
    """Ten times the load that any settings can serve."""
    lived = live(tmp_path, 20.0, 0.5, Wishing([]))
    assert lived.live == FEW
    assert lived.history.experiments() == []
    assert any("no candidate promises a gain" in said for said in lived.said)
    assert any("resting for another" in said for said in lived.said)
    assert lived.proposer is not None
    assert len(lived.proposer.shown) <= 7  # every 300 s, not every cycle
    assert lived.proposer.shown[-1].attainment < 0.2


def test_without_traffic_nothing_is_tried(tmp_path: Path) -> None:
    lived = live(tmp_path, 0.01, 1.0, Wishing([MANY]))
    assert lived.live == FEW
    assert lived.history.experiments() == []
    assert lived.proposer is not None
    assert lived.proposer.shown == []
    assert "too little traffic to judge" in lived.said[-1]


def test_where_the_goal_is_met_nothing_is_tried(tmp_path: Path) -> None:
    lived = live(tmp_path, 0.5, 0.5, Wishing([MANY]))
    assert lived.proposer is not None
    assert lived.proposer.shown == []
    assert "meets the goal" in lived.said[-1]


def test_a_trap_is_left_and_never_proposed_again(tmp_path: Path) -> None:
    """The candidate serves well until a burst tips it over; then it doesn't recover by itself."""
    trap = FEW.with_values(max_num_seqs=4)
    cliff = Faults(cliff_waiting=4, cliff_factor=1.6)
    lived = live(tmp_path, 1.9, HOURS, Wishing([trap]), cliff)
    left_behind(lived, trap)
    (test,) = lived.history.experiments()
    first = lived.history.experiment(test.id)
    assert first is not None
    served = [s.outcome for s in first.slots if s.arm is Arm.TREATMENT and s.outcome is not None]
    assert max(outcome.attainment for outcome in served) > 0.9
    assert min(outcome.attainment for outcome in served) < 0.5


def test_settings_that_run_out_of_memory_are_left_behind(tmp_path: Path) -> None:
    """They are better for pair after pair, until many requests run at a time."""
    lived = live(tmp_path, 2.6, HOURS, Wishing([MANY]), Faults(oom_seqs=13, restart_s=20.0))
    left_behind(lived, MANY)
    (test,) = lived.history.experiments()
    assert test.pairs >= 2
    assert test.effect > 0
    assert "requests failed under the treatment" in test.reason


def test_a_device_that_nobody_needs_is_given_back(tmp_path: Path) -> None:
    single = PAIRED.with_values(data_parallel_size=1)
    wishing = Wishing([single])
    lived = live(tmp_path, 1.2, HOURS, wishing, start=PAIRED, policy_data=SAVING)
    (test,) = lived.history.experiments()
    assert (test.verdict, test.outcome) == (Verdict.ACCEPTED, "devices")
    assert test.effect == pytest.approx(math.log(2))
    assert "guardrails kept: attainment" in test.reason
    assert lived.live == single
    assert wishing.shown[0].goal.kind is GoalKind.DEVICES
    assert any("no candidate promises a use of fewer devices" in said for said in lived.said)


def test_a_device_that_the_slo_needs_is_kept(tmp_path: Path) -> None:
    wishing = Wishing([PAIRED.with_values(data_parallel_size=1)])
    lived = live(tmp_path, 4.2, HOURS, wishing, start=PAIRED, policy_data=SAVING)
    (test,) = lived.history.experiments()
    assert test.verdict is Verdict.HARMFUL
    assert lived.live == PAIRED


def left_behind(lived: Lived, candidate: Settings) -> None:
    """One harmful test, the incumbent live and well again, the candidate out of reach for long."""
    end = START + HOURS * 3600
    assert [test.verdict for test in lived.history.experiments()] == [Verdict.HARMFUL]
    assert lived.live == FEW
    assert lived.history.quarantines("t", end)[candidate.digest] > START + 24 * 3600
    assert lived.proposer is not None
    assert len(lived.proposer.shown) > 2
    assert candidate.digest in lived.proposer.shown[-1].quarantined
    assert any("no candidate promises a gain" in said for said in lived.said)
    late = [met for arrival, met in lived.target.seen if arrival > end - 900]
    assert sum(late) / len(late) > 0.9
