"""What follows when an engine failed: who is to blame, and what is never tried again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from autotuner.abtest import switchback
from autotuner.domain.errors import SettingsRefusedError, TargetError
from autotuner.domain.experiment import Arm, Experiment
from autotuner.domain.feasibility import EngineFault, Fault, Infeasible, fault_of
from autotuner.domain.knobs import KnobSpace, Settings
from autotuner.domain.mode import Mode
from autotuner.domain.ports import LiveSettings
from autotuner.tuner.ending import concluded, is_aa
from autotuner.tuner.restarts import adopted, again, deferred
from autotuner.tuner.values import Action, Decision, Observation, Rules, TunerState

_AT_START = (Fault.START_MEMORY, Fault.START_KV, Fault.REFUSED)


def answered_for(
    state: TunerState, live: LiveSettings, seen: Observation, now: float, rules: Rules
) -> tuple[TunerState, Decision | None]:
    """The state with the target's new failures looked at, and what they call for at once."""
    told = frozenset(fault.id for fault in live.faults)
    fresh = [f for f in live.faults if f.id not in state.faults and f.fault.of_the_settings]
    test = state.experiment
    if test is None and live.rebuilding is not None:
        return state, None  # what it comes back with decides; looked at then
    known = replace(state, faults=told)
    if not fresh:
        return known, None
    if test is not None:
        return _in_a_test(known, test, fresh, live, seen, now, rules)
    return _between_tests(known, fresh, live, rules)


def refused(
    before: TunerState,
    decision: Decision,
    refusal: SettingsRefusedError,
    live: LiveSettings | None,
    now: float,
    rules: Rules,
) -> TunerState:
    """What is remembered when the target refused what `decision` applied.

    A candidate whose engine failed is not tried again for good, one that is only refused for a
    while. An incumbent is tried again some times.
    """
    test = decision.state.experiment
    asked = Settings(refusal.settings) if refusal.settings else decision.apply
    kept = replace(before, experiment=None, to_confirm=None, unsettled=True)
    if test is not None and refusal.fault is None:
        held = dict(before.quarantined)
        if not is_aa(test):
            held[test.treatment.digest] = test.started_at + rules.quarantine_s
        return replace(kept, quarantined=held)
    if test is not None and asked == test.treatment and not is_aa(test):
        bad = Infeasible(test.treatment, fault_of(refusal.fault or ""), str(refusal))
        return kept.without(bad)
    if asked is None or live is None or refusal.fault is None:
        sent = before.unconfirmed or decision.apply
        return replace(decision.state, unconfirmed=sent, unsettled=True)
    counted = kept if test is not None else replace(decision.state, unsettled=True)
    return replace(counted, restart=again(before, asked, live, now))


def unapplied(test: Experiment, sent: Settings | None, problem: TargetError) -> str:
    """Why a test ended whose settings `sent` were not applied, for people."""
    if not isinstance(problem, SettingsRefusedError) or problem.fault is None:
        return f"its settings could not be applied: {problem}"
    asked = Settings(problem.settings) if problem.settings else sent
    whose = "candidate" if asked == test.treatment else "incumbent"
    told = Infeasible(test.treatment, fault_of(problem.fault), str(problem))
    return f"the {whose}'s engine did not start ({told})"


def blamed(test: Experiment, fault: EngineFault) -> Arm | None:
    """The arm whose engine failed; None where it was neither's, or can't be told.

    Where all that is told fits both (they differ in knobs that the engine does not have), it is
    the arm whose slot ran at that time.
    """
    arms = [arm for arm in Arm if fault.concerns(test.settings_of(arm))]
    if len(arms) == 1:
        return arms[0]
    if not arms or test.plan.design.lanes > 1:
        return None
    ran = [s for s in test.slots if s.generation > 0 and s.started_at <= fault.at]
    return ran[-1].arm if ran else None


def _in_a_test(
    state: TunerState,
    test: Experiment,
    fresh: Sequence[EngineFault],
    live: LiveSettings,
    seen: Observation,
    now: float,
    rules: Rules,
) -> tuple[TunerState, Decision | None]:
    blame = [(blamed(test, fault), fault) for fault in fresh]
    for arm, fault in blame:
        if arm is Arm.TREATMENT and not is_aa(test):
            known = state.without(Infeasible(test.treatment, fault.fault, fault.message))
            starting = fault.fault in _AT_START or _was_starting(state, test.treatment)
            ended = _ended_by(test, fault, starting=starting)
            decision = concluded(replace(known, restart=None), ended, seen, now, rules)
            return known, deferred(decision, live)
    own = [fault for arm, fault in blame if arm is not None]
    if not own:
        return state, None
    why = f"the engine failed under the incumbent ({own[0]}), which says nothing of the candidate"
    decision = concluded(state, switchback.abort(test, why), seen, now, rules)
    return state, deferred(replace(decision, alert="TargetRestarted"), live)


def _ended_by(test: Experiment, fault: EngineFault, *, starting: bool) -> Experiment:
    """Who did not get to start did no harm: nobody was served by it."""
    if starting:
        return switchback.abort(test, f"the candidate's engine did not start ({fault})")
    return switchback.harmed(test, f"hard limit: the candidate's engine failed ({fault})")


def _was_starting(state: TunerState, settings: Settings) -> bool:
    return state.restart is not None and state.restart.settings == settings


def _between_tests(
    state: TunerState, fresh: Sequence[EngineFault], live: LiveSettings, rules: Rules
) -> tuple[TunerState, Decision | None]:
    """The incumbent's failure is told, and it comes back unless the target went back to others."""
    running = rules.space.restrict(live.settings)
    for fault in fresh:
        asked = _settings_of(state, fault, rules.space)
        if asked is not None and asked not in (state.incumbent, running):
            state = state.without(Infeasible(asked, fault.fault, fault.message))
    own = [fault for fault in fresh if fault.concerns(state.incumbent)]
    if not own or state.mode is not Mode.ACTIVE or _was_starting(state, state.incumbent):
        return state, None
    why = f"the engine failed under the incumbent ({own[-1]})"
    if running == state.incumbent:
        text = f"{why} and came back: the incumbent is applied again"
        again_ = replace(state, intended=live)
        put = Decision(Action.ROLLBACK, text, again_, apply=running, alert="TargetRestarted")
        return state, put
    if own[-1].concerns(running):
        return state, None
    known = state.without(Infeasible(state.incumbent, own[-1].fault, own[-1].message))
    return known, adopted(known, live, f"{why}, and the target went back by itself", rules)


def _settings_of(state: TunerState, fault: EngineFault, space: KnobSpace) -> Settings | None:
    """The settings that failed, where enough is told of them."""
    if set(space.names) <= set(fault.settings):
        return space.restrict(fault.settings)
    sent = state.restart.settings if state.restart is not None else None
    return sent if sent is not None and fault.concerns(sent) else None
