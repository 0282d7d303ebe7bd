"""One cycle of a running test, with and without an answer of the target."""

from __future__ import annotations

from dataclasses import replace

from autotuner.abtest import switchback
from autotuner.abtest.view import View, lanes_restarted
from autotuner.domain.experiment import Experiment
from autotuner.domain.ports import LiveSettings
from autotuner.tuner.ending import concluded
from autotuner.tuner.values import Action, Decision, Observation, Rules, TunerState
from autotuner.tuner.words import difference


def advanced(
    state: TunerState, experiment: Experiment, seen: Observation, now: float, rules: Rules
) -> Decision:
    """The test's next step, or its end."""
    view = view_of(seen, state.intended)
    step = switchback.advance(experiment, view, now, rules.slo)
    if not step.experiment.running:
        return concluded(state, step.experiment, seen, now, rules)
    return Decision(
        Action.CONTINUE,
        step.reason,
        replace(state, experiment=step.experiment, intended=seen.live),
        apply=step.apply,
        opens_slot=step.apply is not None,
        alert="TargetRestarted" if view.boot_changed else None,
        lanes=step.lanes,
    )


def blind(state: TunerState, seen: Observation, now: float, rules: Rules) -> Decision:
    """Nothing is known of the target: hold, and end a test that has waited for too long."""
    why = seen.problem or "the target does not answer"
    if state.experiment is None:
        return Decision(Action.HOLD, why, state, alert="TargetDown")
    since = state.down_since if state.down_since is not None else now
    view = View(live=None, unreachable_s=now - since)
    step = switchback.advance(state.experiment, view, now, rules.slo)
    if not step.experiment.running:
        return concluded(state, step.experiment, seen, now, rules)
    held = replace(state, experiment=step.experiment, down_since=since)
    return Decision(Action.HOLD, f"{why}; {step.reason}", held, alert="TargetDown")


def stopped(state: TunerState, why: str, seen: Observation, now: float, rules: Rules) -> Decision:
    """The running test ended and the incumbent applied, because of `why`; no confirm run waits."""
    state = replace(state, to_confirm=None)
    if state.experiment is None:
        text = f"{why}: the incumbent is applied"
        return Decision(Action.ROLLBACK, text, state, apply=state.incumbent)
    return concluded(state, switchback.abort(state.experiment, why), seen, now, rules)


def rolled_back(state: TunerState, seen: Observation, now: float, rules: Rules) -> Decision:
    """As a person asked: a running test ended, and the incumbent applied, some knobs as before."""
    why = "a person asked for a rollback"
    if not seen.back:
        return stopped(state, why, seen, now, rules)
    earlier = state.incumbent.with_values(**seen.back)
    what = difference(earlier, state.incumbent) if earlier != state.incumbent else "what is live"
    return stopped(replace(state, incumbent=earlier), f"{why} to {what}", seen, now, rules)


def view_of(seen: Observation, intended: LiveSettings | None) -> View:
    """What the running test is shown of this cycle."""
    batch, live = seen.batch, seen.live
    rebooted = False
    where: tuple[int, ...] = ()
    if live is not None and intended is not None:
        rebooted = live.boot_id != intended.boot_id
        where = lanes_restarted(intended.boot_id, live.boot_id)
    return View(
        live=live,
        exposures=batch.exposures if batch else (),
        in_flight=batch.in_flight if batch else {},
        overrun=batch.overrun if batch else False,
        boot_changed=rebooted,
        restarted_lanes=where,
        lanes_in_flight=batch.lanes_in_flight if batch else (),
        probes=seen.probes,
        feedback=seen.feedback,
        readings=seen.readings,
    )
