"""The brain: each cycle's decision from a scripted world."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import pytest

from autotuner.abtest import switchback
from autotuner.domain.experiment import Arm, Plan, Verdict
from autotuner.domain.knobs import Knob, KnobSpace, Settings
from autotuner.domain.mode import Mode
from autotuner.domain.ports import LiveSettings, Proposal, ProposalContext, Workload
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Exposure, ExposureBatch, Outcome
from autotuner.tuner import (
    Action,
    Decision,
    Observation,
    Rules,
    Traffic,
    Tuner,
    TunerState,
)

SPACE = KnobSpace((Knob("seqs", (4, 8, 16, 32), max_step=2), Knob("tokens", (64, 128, 256))))
OLD = Settings({"seqs": 4, "tokens": 256})
NEW = Settings({"seqs": 8, "tokens": 128})
FAR = Settings({"seqs": 32, "tokens": 128})
PLAN = Plan(
    slot_s=20, washout_min_s=2, washout_max_s=10, cooldown_s=2, max_pairs=10,
    min_requests_per_slot=5,
)  # fmt: skip
RULES = Rules("t", SPACE, SLO(ttft_s=1.0), PLAN, min_requests=10, pause_s=60, retry_s=300)
LIVE = LiveSettings(OLD, 1, "boot", 0.0, 100.0)


@dataclass
class Scripted:
    """Offers what it was given, and remembers what it was shown."""

    offer: Settings | None = NEW
    shown: list[ProposalContext] = field(default_factory=list)

    def propose(self, context: ProposalContext) -> Proposal | None:
        self.shown.append(context)
        if self.offer is None:
            return None
        return Proposal(self.offer, "scripted", "it was told to", predicted_effect=0.5)


def traffic(attainment: float = 0.4, requests: int = 100) -> Traffic:
    return Traffic(requests, attainment, Workload(2.0, (100,), (20,)))


def seen(live: LiveSettings | None = LIVE, **changes: object) -> Observation:
    base = Observation(live=live, batch=batch(live), traffic=traffic())
    return replace(base, **changes)  # type: ignore[arg-type]


def batch(live: LiveSettings | None, *exposures: Exposure) -> ExposureBatch | None:
    if live is None:
        return None
    return ExposureBatch(live.boot_id, live.now, 0, False, {}, exposures)


def state(**changes: object) -> TunerState:
    return replace(TunerState(incumbent=OLD, intended=LIVE), **changes)  # type: ignore[arg-type]


def decide(known: TunerState, world: Observation, proposer: Scripted | None = None) -> Decision:
    return Tuner(RULES, proposer or Scripted()).decide(known, world, now=1000.0)


def test_a_candidate_is_put_to_the_test() -> None:
    decision = decide(state(), seen())
    assert decision.action is Action.START
    assert decision.opens_slot
    assert decision.apply in (OLD, NEW)
    assert decision.state.experiment is not None
    assert decision.state.experiment.treatment == NEW
    assert "seqs 4→8" in decision.reason
    assert "tokens 256→128" in decision.reason


@pytest.mark.parametrize(
    ("world", "word"),
    [
        (seen(traffic=None), "too little traffic"),
        (seen(traffic=traffic(requests=9)), "9 of 10"),
        (seen(traffic=traffic(attainment=0.995)), "meets the goal"),
        (seen(problem="metrics are stale"), "stale"),
        (seen(live=None, batch=None, traffic=None, problem="it is gone"), "gone"),
    ],
)
def test_nothing_starts_without_reason(world: Observation, word: str) -> None:
    decision = decide(state(), world)
    assert decision.action is Action.HOLD
    assert decision.apply is None
    assert word in decision.reason


def test_an_outage_raises_an_alert() -> None:
    decision = decide(state(), seen(live=None, batch=None))
    assert decision.alert == "TargetDown"


def test_unknown_attainment_is_no_reason_against_a_test() -> None:
    assert decide(state(), seen(traffic=traffic(math.nan))).action is Action.START


def test_it_rests_after_a_test_and_after_nothing_was_found() -> None:
    resting = decide(state(idle_until=1500.0), seen())
    assert resting.action is Action.HOLD
    assert "500 s" in resting.reason
    nothing = decide(state(), seen(), Scripted(offer=None))
    assert nothing.state.idle_until == 1300.0


@pytest.mark.parametrize(
    ("offer", "known", "word"),
    [
        (OLD, state(), "already runs"),
        (FAR, state(), "further than one step"),
        (NEW, state(quarantined=frozenset({NEW.digest})), "quarantined"),
    ],
)
def test_an_unfit_proposal_is_refused_whoever_made_it(
    offer: Settings, known: TunerState, word: str
) -> None:
    decision = decide(known, seen(), Scripted(offer))
    assert decision.action is Action.HOLD
    assert word in decision.reason


def test_advisory_decides_but_applies_nothing() -> None:
    decision = decide(state(mode=Mode.ADVISORY), seen())
    assert decision.action is Action.HOLD
    assert decision.apply is None
    assert decision.proposal is not None
    assert "advisory: would test" in decision.reason


def test_paused_only_observes_and_ends_a_running_test() -> None:
    proposer = Scripted()
    assert decide(state(mode=Mode.PAUSED), seen(), proposer).reason == "paused: observing only"
    assert proposer.shown == []
    running = started()
    decision = decide(replace(running, mode=Mode.PAUSED), seen())
    assert decision.action is Action.ROLLBACK
    assert decision.apply == OLD
    assert decision.concluded is not None
    assert decision.concluded.conclusion is not None
    assert decision.concluded.conclusion.verdict is Verdict.ABORTED


def test_a_rollback_is_obeyed_before_anything_else() -> None:
    decision = decide(state(), seen(wish="rollback"))
    assert (decision.action, decision.apply) == (Action.ROLLBACK, OLD)
    blind = decide(started(), seen(live=None, batch=None, wish="rollback"))
    assert blind.apply == OLD
    assert blind.state.experiment is None


def test_a_restart_between_tests_puts_the_incumbent_back() -> None:
    reborn = LiveSettings(Settings({"seqs": 32, "tokens": 64}), 1, "other", 0.0, 5.0)
    decision = decide(state(), seen(live=reborn))
    assert (decision.action, decision.apply) == (Action.ROLLBACK, OLD)
    assert decision.alert == "TargetRestarted"


def test_a_restart_within_a_test_spoils_the_pair_but_not_the_test() -> None:
    reborn = LiveSettings(OLD, 1, "other", 0.0, 5.0)
    decision = decide(started(), seen(live=reborn))
    assert decision.action is Action.CONTINUE
    assert decision.alert == "TargetRestarted"
    experiment = decision.state.experiment
    assert experiment is not None
    assert "restarted" in (experiment.slots[0].excluded or "")


def test_what_a_person_changed_is_adopted() -> None:
    theirs = LiveSettings(Settings({"seqs": 16, "tokens": 64}), 2, "boot", 90.0, 100.0)
    decision = decide(state(), seen(live=theirs))
    assert decision.apply is None
    assert decision.state.incumbent == theirs.settings
    assert decision.alert == "SettingsDrift"
    during = decide(started(), seen(live=theirs))
    assert during.state.experiment is None
    assert during.concluded is not None
    assert during.state.incumbent == theirs.settings


def test_settings_sent_with_unknown_outcome_are_not_taken_for_a_person() -> None:
    ours = LiveSettings(NEW, 2, "boot", 90.0, 100.0)
    known = state(unconfirmed=NEW, unsettled=True)
    decision = decide(known, seen(live=ours))
    assert (decision.action, decision.apply) == (Action.ROLLBACK, OLD)
    assert "not confirmed" in decision.reason


def test_a_refused_candidate_is_quarantined_and_the_incumbent_settled() -> None:
    tuner = Tuner(RULES, Scripted())
    before = state()
    decision = tuner.decide(before, seen(), 1000.0)
    after = tuner.failed(before, decision, refused="seqs=8: too many")
    assert NEW.digest in after.quarantined
    assert after.experiment is None
    assert after.unsettled


def test_an_unknown_start_is_forgotten_and_the_incumbent_settled() -> None:
    tuner = Tuner(RULES, Scripted())
    before = state()
    decision = tuner.decide(before, seen(), 1000.0)
    after = tuner.failed(before, decision, refused=None)
    assert after.experiment is None
    assert after.unsettled
    assert after.unconfirmed == decision.apply


def test_a_test_survives_a_slot_that_could_not_be_applied() -> None:
    tuner, running = Tuner(RULES, Scripted()), started()
    assert running.experiment is not None
    decision = Decision(Action.CONTINUE, "next slot", running, apply=NEW, opens_slot=True)
    after = tuner.failed(running, decision, refused=None)
    assert after.experiment == running.experiment
    assert after.unconfirmed == NEW


def started() -> TunerState:
    """The state with the first slot of a test open under generation 1."""
    decision = decide(state(), seen())
    assert decision.state.experiment is not None
    experiment = switchback.slot_started(decision.state.experiment, LIVE)
    return replace(decision.state, experiment=experiment, intended=LIVE)


def exposure(number: int, generation: int, arrival: float, ttft_s: float) -> Exposure:
    return Exposure(
        seq=number, id=str(number), generation_start=generation, generation_end=generation,
        arrival=arrival, queue_s=0.0, ttft_s=ttft_s, tpot_s=0.01, gap_max_s=0.02,
        e2el_s=ttft_s + 0.5, prompt_tokens=100, output_tokens=20, outcome=Outcome.LENGTH,
    )  # fmt: skip


def play(better: bool, cycles: int = 3000) -> tuple[list[Decision], TunerState]:
    """A scripted target that serves 2 requests a second; the treatment is fast or slow."""
    tuner, known = Tuner(RULES, Scripted()), state()
    live = LIVE
    finished: list[Exposure] = []
    decisions: list[Decision] = []
    for cycle in range(cycles):
        clock = 100.0 + cycle
        live = replace(live, now=clock)
        fast = (live.settings == NEW) is better
        for half in (0.0, 0.5):
            number = len(finished)
            slow_one = number % 7 == 0
            took = 0.2 if fast and not slow_one else 3.0
            finished.append(exposure(number, live.generation, clock - 1 + half, took))
        world = replace(seen(live=live), batch=batch(live, *finished))
        decision = tuner.decide(known, world, 1000.0 + cycle)
        decisions.append(decision)
        known = decision.state
        if decision.apply is not None:
            live = LiveSettings(decision.apply, live.generation + 1, "boot", clock, clock)
            known = replace(known, intended=live)
        if decision.opens_slot:
            assert known.experiment is not None
            known = replace(known, experiment=switchback.slot_started(known.experiment, live))
        if decision.concluded is not None:
            break
    return decisions, known


def test_a_better_candidate_is_promoted_with_what_a_reader_needs() -> None:
    decisions, after = play(better=True)
    assert decisions[-1].action is Action.PROMOTE
    assert after.incumbent == NEW
    ended = decisions[-1].concluded
    assert ended is not None
    assert ended.conclusion is not None
    assert ended.conclusion.verdict is Verdict.ACCEPTED
    assert ended.conclusion.confidence >= 0.95
    assert ended.conclusion.pairs == len(ended.pairs) <= 8
    assert after.past[-1].verdict == "ACCEPTED"
    arms = [slot.arm for slot in ended.slots[: 2 * len(ended.pairs)]]
    assert all({a, b} == set(Arm) for a, b in zip(arms[::2], arms[1::2], strict=True))


def test_a_harmful_candidate_is_rolled_back_and_quarantined() -> None:
    decisions, after = play(better=False)
    assert decisions[-1].action is Action.ROLLBACK
    assert decisions[-1].apply == OLD
    assert after.incumbent == OLD
    assert NEW.digest in after.quarantined
    assert decisions[-1].alert == "ExperimentHarmful"
