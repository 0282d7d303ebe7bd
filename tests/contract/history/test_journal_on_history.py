"""The journal on a real history: what is taken and written together, and what a start finds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from autotuner.abtest import switchback
from autotuner.config import ExperimentConfig
from autotuner.domain.errors import HistoryError
from autotuner.domain.experiment import Arm, Conclusion, Experiment, Slot, Verdict
from autotuner.domain.explanation import Explanation
from autotuner.domain.knobs import KnobSpace, Settings
from autotuner.domain.mode import Mode
from autotuner.domain.ports import LiveSettings, Proposal, ProposalContext
from autotuner.history.records import Ask, Control
from autotuner.history.store import History
from autotuner.journal import Journal, JournalOptions
from autotuner.tuner import Action, Decision, Tuner, TunerState
from autotuner.tuner.ending import concluded
from tests.unit.tuner.world import LIVE, NEW, NOW, OLD, SPACE, decide, rules, seen, traffic

POLICY = ExperimentConfig(
    slot_s=20, washout_min_s=2, washout_max_s=10, cooldown_s=2, max_pairs=10,
    min_requests_per_slot=5,
)  # fmt: skip
RULES = rules(target="chat", confirm=True, drift_factor=2.0, drift_hold_s=0.0)


def journal_of(history: History) -> Journal:
    options = JournalOptions("d", "chat", "http://127.0.0.1:8000", 3600.0, 60.0, POLICY)
    return Journal(history, options, SPACE)


def woken(history: History, live: LiveSettings = LIVE, now: float = NOW) -> TunerState:
    return journal_of(history).wake(live, Mode.ACTIVE, now)


def ask(history: History, changes: Mapping[str, Any], plan: Mapping[str, Any] | None = None) -> int:
    wish = {"changes": changes, "plan": plan or {}}
    return history.ask("chat", Ask.EXPERIMENT, "alice", NOW, note="larger", payload=wish)


def answered(history: History, number: int) -> Control:
    control = history.control(number)
    assert control is not None
    return control


def step(history: History, state: TunerState, now: float = NOW) -> Decision:
    """One cycle up to the record."""
    journal = journal_of(history)
    decision = decide(state, seen(declared=journal.declared(now)), policy=RULES, now=now)
    journal.record(state, decision, seen(), now)
    return decision


def finished(history: History, state: TunerState, verdict: Verdict, now: float = NOW) -> Decision:
    """The running test of `state` closed so, and recorded with all that follows."""
    assert state.experiment is not None
    done = state.experiment.closed(Conclusion(verdict, "so it was", 8, 0.3, 0.1, 0.5, 0.97))
    decision = concluded(state, done, seen(), now, RULES)
    journal_of(history).record(state, decision, seen(), now)
    return decision


# ---- declared tests
def test_a_request_is_only_looked_at_until_its_test_starts(history: History) -> None:
    number = ask(history, {"seqs": 16}, {"max_pairs": 20})
    journal = journal_of(history)
    asked = journal.declared(NOW)
    assert asked == journal.declared(NOW + 1), "a daemon that ends here has lost nothing"
    assert asked is not None
    assert (asked.id, asked.who, asked.note, dict(asked.changes)) == (
        number, "alice", "larger", {"seqs": 16},
    )  # fmt: skip
    assert (asked.plan.max_pairs, asked.plan.slot_s) == (20, 20.0)
    assert answered(history, number).waits

    decision = step(history, woken(history))
    assert decision.action is Action.START
    assert decision.state.experiment is not None
    control = answered(history, number)
    assert (control.experiment_id, control.taken_at) == (decision.state.experiment.id, NOW)
    stored = history.experiment(decision.state.experiment.id)
    assert stored is not None
    assert (stored.treatment, stored.plan.max_pairs) == (OLD.with_values(seqs=16), 20)
    assert journal_of(history).declared(NOW) is None


def test_a_refusal_is_recorded_and_told_to_who_asked(history: History) -> None:
    state = woken(history)
    first, second = ask(history, {"seqs": 5}), ask(history, {"seqs": 5})
    for number in (first, second):
        decision = step(history, state)
        control = answered(history, number)
        assert control.result == decision.reason
        assert "seqs" in (control.result or "")
    reasons = [d.reason for d in history.decisions("chat")]
    assert sum("is refused" in reason for reason in reasons) == 2, "each person gets an answer"


@pytest.mark.parametrize(
    ("changes", "plan", "word"),
    [
        ({"seqs": 8}, {"slot_s": 1.0}, "cooldown_s=2.0 leaves nothing"),
        ({"seqs": 8}, {"max_pair": 20}, "max_pair: unknown key"),
        ({"seqs": 8}, {"design": "split"}, "two replicas"),
        ({"seqs": [8]}, {}, "changes.seqs"),
    ],
)
def test_what_cannot_be_understood_is_refused_and_blocks_nobody(
    history: History, changes: dict[str, Any], plan: dict[str, Any], word: str
) -> None:
    bad, good = ask(history, changes, plan), ask(history, {"seqs": 8})
    journal = journal_of(history)
    assert journal.declared(NOW) is None
    control = answered(history, bad)
    assert f"request {bad}" in (control.result or "")
    assert word in (control.result or "")
    assert history.decisions("chat")[0].reason == control.result
    following = journal.declared(NOW)
    assert following is not None
    assert following.id == good


def test_a_request_withdrawn_in_the_same_moment_starts_nothing(history: History) -> None:
    number = ask(history, {"seqs": 16})
    state, journal = woken(history), journal_of(history)
    decision = decide(state, seen(declared=journal.declared(NOW)), policy=RULES)
    history.take_control(number, NOW, result="withdrawn by alice")
    before = history.decisions("chat")
    with pytest.raises(HistoryError, match="withdrawn"):
        journal.record(state, decision, seen(), NOW)
    assert history.open_experiments("chat") == []
    assert history.decisions("chat") == before
    assert journal.record(state, decide(state, seen(traffic=None)), seen(), NOW) > 0


def test_a_declared_test_that_was_cut_off_is_closed_and_its_request_shows_it(
    history: History,
) -> None:
    number = ask(history, {"seqs": 16})
    step(history, woken(history))
    state = woken(history, now=NOW + 60)
    assert state.experiment is None
    test = history.experiment(answered(history, number).experiment_id or "")
    assert test is not None
    assert test.conclusion is not None
    assert test.conclusion.verdict is Verdict.ABORTED
    assert journal_of(history).declared(NOW) is None, "it is not run twice"


# ---- confirm runs
def accepted_once(history: History) -> tuple[TunerState, Experiment]:
    state = step(history, woken(history)).state
    decision = finished(history, state, Verdict.ACCEPTED)
    assert decision.concluded is not None
    return decision.state, decision.concluded


def test_an_accepted_first_test_leaves_the_incumbent_in_the_history(history: History) -> None:
    state, _ = accepted_once(history)
    assert state.incumbent == OLD
    incumbent = history.incumbent("chat")
    assert incumbent is not None
    assert incumbent.settings == OLD


def test_a_crash_before_the_confirm_run_takes_it_up_again(history: History) -> None:
    _, first = accepted_once(history)
    state = woken(history, now=NOW + 60)
    assert state.to_confirm is not None
    assert state.to_confirm.id == first.id
    assert (state.incumbent, state.past) == (OLD, ())
    assert (state.tests, state.accepted) == (1, 1)
    decision = step(history, state, now=NOW + 61)
    assert decision.state.experiment is not None
    assert decision.state.experiment.plan.confirms == first.id


def test_a_crash_within_the_confirm_run_ends_it_with_the_incumbent_live(history: History) -> None:
    state, first = accepted_once(history)
    decision = step(history, state, now=NOW + 5)
    assert decision.state.experiment is not None
    opened = switchback.slot_started(decision.state.experiment, LIVE)
    history.record_experiment(opened)
    candidate_live = replace(LIVE, settings=NEW, generation=9)
    woke = woken(history, candidate_live, now=NOW + 60)
    assert (woke.incumbent, woke.unsettled) == (OLD, True)
    assert woke.to_confirm is None, f"{first.id} has to be won anew"
    assert woke.past == (), "so that the candidate may be proposed again"


def test_a_confirmed_candidate_is_the_incumbent_and_evidence(history: History) -> None:
    state, _ = accepted_once(history)
    again = step(history, state, now=NOW + 5).state
    assert finished(history, again, Verdict.ACCEPTED, NOW + 9).action is Action.PROMOTE
    live = LiveSettings(NEW, 5, "boot", 0.0, 100.0)
    woke = woken(history, live, now=NOW + 60)
    assert (woke.incumbent, woke.to_confirm, woke.previous) == (NEW, None, OLD)
    assert [trial.verdict for trial in woke.past] == ["ACCEPTED", "ACCEPTED"]
    assert (woke.tests, woke.accepted) == (1, 1)


# ---- what a start finds
def test_quarantine_is_kept_with_its_end(history: History) -> None:
    state = step(history, woken(history)).state
    decision = finished(history, state, Verdict.HARMFUL)
    until = decision.state.quarantined[NEW.digest]
    assert until == NOW + RULES.quarantine_s
    assert history.quarantined("chat", until - 1) == {NEW.digest}
    assert history.quarantined("chat", until + 1) == frozenset()
    assert NEW.digest in woken(history, now=NOW + 60).banned(NOW + 60)
    assert woken(history, now=until + 1).banned(until + 1) == frozenset()


def test_the_workload_and_the_age_of_the_evidence_outlive_a_restart(history: History) -> None:
    state = step(history, woken(history)).state
    state = finished(history, state, Verdict.REJECTED).state
    assert len(woken(history, now=NOW + 1).past) == 1

    journal = journal_of(history)
    for now in (NOW + 100, NOW + 101):
        world = seen(traffic=traffic(rate_rps=9.0))
        decision = decide(replace(state, idle_until=0.0), world, policy=RULES, now=now)
        journal.record(state, decision, world, now)
        state = decision.state
    assert state.evidence_since > NOW
    woke = woken(history, now=NOW + 200)
    assert woke.past == ()
    assert woke.tuned_for == state.tuned_for
    assert woke.evidence_since == state.evidence_since


def test_aborted_and_a_a_tests_are_no_evidence(history: History) -> None:
    ask(history, {})
    state = finished(history, step(history, woken(history)).state, Verdict.INCONCLUSIVE).state
    state = replace(state, idle_until=0.0)
    finished(history, step(history, state, now=NOW + 1).state, Verdict.ABORTED, NOW + 2)
    woke = woken(history, now=NOW + 60)
    assert woke.past == ()
    assert woke.tests == 1, "the aborted one had pairs that could be looked at"


def test_a_failed_write_is_not_taken_for_a_written_one(history: History) -> None:
    """The generation that a daemon applied must be known to its successor."""
    state, journal = woken(history), journal_of(history)
    newer = seen(live=LiveSettings(OLD, 4, "boot", 50.0, 100.0))
    number = ask(history, {"seqs": 16})
    decision = decide(state, seen(declared=journal.declared(NOW)), policy=RULES)
    history.take_control(number, NOW, result="withdrawn by alice")
    with pytest.raises(HistoryError):
        journal.record(state, decision, newer, NOW)
    journal.record(state, decide(state, seen(traffic=None)), newer, NOW)
    assert history.target_info("chat")["generation"] == 4


def test_settings_of_other_knobs_are_left_out(history: History) -> None:
    live = LiveSettings(Settings({**OLD, "extra": 1}), 1, "boot", 0.0, 100.0)
    assert woken(history, live).incumbent == OLD


# ---- goals, reasons and restarts
def test_the_reason_of_a_proposal_is_kept_with_its_test(history: History) -> None:
    why = Explanation(seen={"rate_rps": 2.0}, effect=0.5, method="scripted", considered=3)

    class Explaining:
        def propose(self, context: ProposalContext) -> Proposal:
            return Proposal(NEW, "scripted", "told", 0.5, explanation=why)

    state, journal = woken(history), journal_of(history)
    decision = Tuner(RULES, Explaining()).decide(state, seen(), NOW)
    journal.record(state, decision, seen(), NOW)
    test = decision.state.experiment
    assert test is not None
    kept = history.explanation(test.id)
    assert kept is not None
    assert (kept.seen, kept.effect, kept.method) == ({"rate_rps": 2.0}, 0.5, "scripted")
    finished(history, decision.state, Verdict.REJECTED)
    assert history.explanation(test.id) is not None


def test_what_had_saved_too_much_is_quarantined_with_its_reason(history: History) -> None:
    goal = replace(RULES, confirm=False, saving=replace(RULES.plan, outcome="cost"))
    state = step(history, woken(history)).state
    assert state.experiment is not None
    done = state.experiment.closed(
        Conclusion(Verdict.ACCEPTED, "so it was", 8, 0.3, 0.1, 0.5, 0.97)
    )
    decision = concluded(state, done, seen(), NOW, goal)
    journal_of(history).record(state, decision, seen(), NOW)
    assert history.quarantined("chat", NOW + 1) == {OLD.digest}


def test_a_start_knows_past_effects_with_their_intervals(history: History) -> None:
    finished(history, step(history, woken(history)).state, Verdict.REJECTED)
    (trial,) = woken(history, now=NOW + 60).past
    (summary,) = history.experiments(target="chat")
    assert (trial.low, trial.high, trial.outcome) == (0.1, 0.5, "attainment")
    assert trial.id == summary.id


def test_a_start_knows_what_a_restart_of_engines_took(history: History) -> None:
    state = step(history, woken(history)).state
    test = state.experiment
    assert test is not None
    arms, starts = (Arm.CONTROL, Arm.TREATMENT, Arm.CONTROL), (0.0, 100.0, 190.0)
    slots = tuple(
        Slot(i, arm, i + 2, at, ended_at=at + 60)
        for i, (arm, at) in enumerate(zip(arms, starts, strict=True))
    )
    finished(history, replace(state, experiment=replace(test, slots=slots)), Verdict.REJECTED)
    assert math.isnan(woken(history, now=NOW + 60).rebuild_s)
    options = JournalOptions("d", "chat", "http://127.0.0.1:8000", 3600.0, 60.0, POLICY)
    rebuilt = KnobSpace(tuple(replace(knob, live=False) for knob in SPACE))
    woke = Journal(history, options, rebuilt).wake(LIVE, Mode.ACTIVE, NOW + 60)
    assert woke.rebuild_s == 35.0
