"""What to do where other settings run than were applied: repair, note or adopt."""

from __future__ import annotations

from dataclasses import replace

from autotuner.abtest import switchback
from autotuner.domain.mode import Mode
from autotuner.domain.ports import LiveSettings
from autotuner.tuner.ending import after
from autotuner.tuner.values import Action, Decision, Observation, Rules, TunerState


def settings_drift(
    state: TunerState, live: LiveSettings, seen: Observation, now: float, rules: Rules
) -> Decision | None:
    """Repairs what a restart undid, adopts what a person changed; None when all is as meant."""
    intended = state.intended
    if intended is None or (
        (live.boot_id, live.generation) == (intended.boot_id, intended.generation)
    ):
        return None
    running = rules.space.restrict(live.settings)
    if state.mode is not Mode.ACTIVE:
        moved = replace(state, incumbent=running, intended=live)
        return Decision(Action.HOLD, f"{state.mode}: {running!r} runs now, noted", moved)
    if live.boot_id != intended.boot_id:
        return None if state.experiment else _repair(state, live)
    if running in (state.unconfirmed, rules.space.restrict(intended.settings)):
        return None
    if state.unsettled and running == state.incumbent:
        return None  # it came back late
    why = f"a person changed the settings to {running!r}: adopted as the incumbent"
    adopted = replace(state, incumbent=running, intended=live, to_confirm=None, retest="")
    if state.experiment is None:
        return Decision(Action.HOLD, why, adopted, alert="SettingsDrift")
    ended = switchback.abort(state.experiment, why)
    concluded = after(adopted, ended, seen, now, rules)
    return Decision(Action.HOLD, why, concluded, concluded=ended, alert="SettingsDrift")


def _repair(state: TunerState, live: LiveSettings) -> Decision:
    """Between tests; within one the test itself drops the pair and applies its next slot."""
    why = "the target restarted and lost its settings: the incumbent is put back"
    current = replace(state, intended=live)
    return Decision(Action.ROLLBACK, why, current, apply=state.incumbent, alert="TargetRestarted")
