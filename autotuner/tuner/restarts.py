"""A change by restart whose outcome is not known yet: waited for, never sent again blindly."""

from __future__ import annotations

from dataclasses import replace

from autotuner.abtest import switchback
from autotuner.abtest.exclusion import is_open
from autotuner.domain.errors import TargetError, TargetUnavailableError
from autotuner.domain.experiment import Experiment
from autotuner.domain.knobs import KnobSpace, Settings
from autotuner.domain.ports import LiveSettings
from autotuner.tuner.ending import after
from autotuner.tuner.rebuilds import needs_rebuild
from autotuner.tuner.values import Action, Decision, Observation, Restart, Rules, TunerState
from autotuner.tuner.words import difference

# Chosen: what a target did not take in three tries, and one more for each further replica (they
# restart in turn), it won't take.
_TRIES = 2


def sent(
    before: TunerState,
    decision: Decision,
    problem: TargetError,
    live: LiveSettings | None,
    now: float,
    rules: Rules,
) -> Restart | None:
    """What the target may be restarting into since `decision` was applied without an answer.

    None where that takes no restart, or is known to have changed nothing.
    """
    wanted = decision.apply
    if wanted is None or live is None or not isinstance(problem, TargetUnavailableError):
        return None
    running = {rules.space.restrict(live.settings)}
    if rules.replicas > 1:  # what the other lane runs is not told: one of these
        test = before.experiment or decision.concluded
        running |= {before.incumbent} | (set() if test is None else {test.control, test.treatment})
    lanes = decision.lanes or (wanted,)
    if not any(needs_rebuild(rules.space, old, new) for old in running for new in lanes):
        return None
    return again(before, wanted, live, now)


def again(before: TunerState, wanted: Settings, live: LiveSettings, now: float) -> Restart:
    """One more try of `wanted`, counted with those just before it."""
    earlier = before.restart
    tries = 0 if earlier is None or earlier.settings != wanted else earlier.tries
    return Restart(wanted, now, live.boot_id, live.generation, tries=tries + 1)


def under_way(state: TunerState, seen: Observation, now: float, rules: Rules) -> Decision | None:
    """The HOLD while the target restarts; None where it does not, or counts as down by now."""
    restart, live = state.restart, seen.live
    waited_s = 0.0 if restart is None else now - restart.since
    if live is None:
        if restart is None or waited_s > rules.restart_max_s:
            return None
        what = difference(restart.settings, state.incumbent)
        text = f"the target is restarting ({what}): no answer yet, {waited_s:.0f} s after it began"
        return Decision(Action.HOLD, text, replace(state, down_since=None))
    if live.rebuilding is None:
        return None
    into = coming(live, rules.space)
    what = difference(into, rules.space.restrict(live.settings))
    if restart is None:
        slot = state.experiment.current_slot if state.experiment is not None else None
        if is_open(slot):
            return None  # somebody else's: the running slot goes on until that comes to act
        return Decision(Action.HOLD, f"the target is restarting by itself ({what})", state)
    known = replace(state, restart=replace(restart, seen=True, settings=_meant(state, into)))
    text = f"the target is restarting into {what}: {waited_s:.0f} s so far"
    if waited_s <= rules.restart_max_s:
        return Decision(Action.HOLD, text, known)
    late = f"{text}, longer than restart_max_s={rules.restart_max_s:.0f}"
    if state.experiment is None:
        return Decision(Action.HOLD, late, known)
    return _given_up(known, state.experiment, late, seen, now, rules)


def came_to_nothing(
    state: TunerState, live: LiveSettings, seen: Observation, now: float, rules: Rules
) -> tuple[TunerState, Decision | None]:
    """What follows where the target came back without what it was to restart into.

    It does not say why; a test ends then. An incumbent that can't be brought back in some tries
    gives way to what runs: each try would cost the service another restart.
    """
    restart = state.restart
    if restart is None:
        return state, None
    came = (live.boot_id, live.generation) != (restart.boot_id, restart.generation)
    if came and rules.replicas == 1:
        return replace(state, restart=None), None
    tried_out = restart.tries >= _TRIES + rules.replicas
    if state.experiment is not None:
        if not (tried_out or (restart.seen and not came)):
            return state, None
        what = difference(restart.settings, rules.space.restrict(live.settings))
        why = f"the target did not come to run {what}, and does not say why"
        return state, _given_up(state, state.experiment, why, seen, now, rules)
    if tried_out and restart.settings == state.incumbent and state.unsettled:
        why = f"the incumbent could not be brought back in {restart.tries} tries"
        return state, adopted(state, live, why, rules)
    return state, None


def adopted(state: TunerState, live: LiveSettings, why: str, rules: Rules) -> Decision:
    """What runs becomes the incumbent: it serves, and the incumbent can't."""
    running = rules.space.restrict(live.settings)
    known = replace(
        state,
        incumbent=running,
        intended=live,
        unsettled=False,
        unconfirmed=None,
        restart=None,
        to_confirm=None,
        retest="",
    )
    text = f"{why}: {running!r}, which runs, is adopted as the incumbent"
    return Decision(Action.HOLD, text, known, alert="TargetRestarted")


def deferred(decision: Decision, live: LiveSettings) -> Decision:
    """The decision without its apply while the target restarts; it is settled afterwards."""
    if decision.apply is None or live.rebuilding is None:
        return decision
    waiting = replace(decision.state, unsettled=True)
    return replace(decision, apply=None, lanes=None, opens_slot=False, state=waiting)


def coming(live: LiveSettings, space: KnobSpace) -> Settings:
    """The settings that engines in the making will bring; those in force where there are none."""
    return space.restrict({**live.settings, **(live.rebuilding or {})})


def _meant(state: TunerState, into: Settings) -> Settings:
    """Which of the settings that were sent is being started: of two lanes, only one is told."""
    assert state.restart is not None
    test = state.experiment
    arms = () if test is None else (test.control, test.treatment)
    return into if into in arms else state.restart.settings


def _given_up(
    state: TunerState,
    test: Experiment,
    why: str,
    seen: Observation,
    now: float,
    rules: Rules,
) -> Decision:
    """The test ended, and its candidate not tried again for a while where it was to blame."""
    held = dict(state.quarantined)
    asked = state.restart.settings if state.restart is not None else test.treatment
    if asked == test.treatment != test.control:
        held[asked.digest] = max(held.get(asked.digest, 0.0), now + rules.quarantine_s)
    ended = switchback.abort(test, why)
    known = after(replace(state, quarantined=held), ended, seen, now, rules)
    return Decision(
        Action.HOLD,
        f"{why}: the test ends, and the incumbent comes back",
        replace(known, unsettled=True, to_confirm=None),
        concluded=ended,
    )
