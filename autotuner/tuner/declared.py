"""A test that a person asked for. It need not be promising, but fit, and able to end."""

from __future__ import annotations

from dataclasses import replace

from autotuner.abtest.planning import described, smallest_effect
from autotuner.domain.declaration import Declaration
from autotuner.domain.knobs import Settings
from autotuner.tuner.candidates import Moment, experiment_on, started, unfit
from autotuner.tuner.plans import Prepared
from autotuner.tuner.rebuilds import too_costly
from autotuner.tuner.values import Action, Decision, TunerState
from autotuner.tuner.words import difference


def answered(moment: Moment, asked: Declaration) -> Decision:
    """The START of the test, or why it is refused; either takes the request.

    That the goal is met, that the daemon rests or that a knob moves far is no reason against it.
    """
    state = moment.state
    candidate = state.incumbent.with_values(**asked.changes)
    refusal = None if asked.is_aa else unfit(moment, candidate)
    if refusal is not None:
        return refused(state, asked, refusal)
    ready = moment.prepared(asked.plan, candidate, None)
    costly = too_costly(ready.plan, None, moment.seen.budget)
    if refusal := costly or ready.obstacle(None, moment.rate_rps):
        return refused(state, asked, refusal)
    rationale = asked.note or ("an A/A test" if asked.is_aa else "declared")
    who = f"declared by {asked.who}"
    experiment = experiment_on(moment, candidate, ready.plan, who, rationale)
    known = moment.with_noise(state, ready.noise)
    reason = _reason(asked, candidate, state.incumbent, ready)
    return replace(started(known, experiment, reason), declared=asked.id)


def refused(state: TunerState, asked: Declaration, why: str) -> Decision:
    """The answer to a request that no test follows from."""
    text = f"the test that {asked.who} asked for (request {asked.id}) is refused: {why}"
    return Decision(Action.HOLD, text, state, declared=asked.id)


def _reason(asked: Declaration, candidate: Settings, incumbent: Settings, ready: Prepared) -> str:
    note = f": {asked.note}" if asked.note else ""
    what = f"testing {difference(candidate, incumbent)}, as {asked.who} asked (request {asked.id})"
    reach = "" if asked.is_aa else f"; finds gains of {smallest_effect(ready.plan):.3g} or more"
    return f"{what}{note}; {described(ready.plan, ready.noise)}{reach}"
