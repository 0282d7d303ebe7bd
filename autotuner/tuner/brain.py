"""The brain: from what is known and what was seen to one decision. Pure: no clock, no I/O.

`decide` reads top to bottom in the order of importance: a person's word, then whether anything can
be trusted, then drift, then the running experiment, then a new one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from autotuner.domain.mode import Mode
from autotuner.domain.ports import Proposer
from autotuner.tuner.drift import settings_drift
from autotuner.tuner.ending import is_aa
from autotuner.tuner.running import advanced, blind, stopped
from autotuner.tuner.starting import considered
from autotuner.tuner.values import Action, Decision, Observation, Rules, TunerState
from autotuner.tuner.workload import followed, outlived

_NOTHING_SEEN = Observation(live=None)


@dataclass(frozen=True)
class Tuner:
    """Decides; `proposer` is the only guest (it computes, and does no I/O either)."""

    rules: Rules
    proposer: Proposer

    def decide(self, state: TunerState, seen: Observation, now: float) -> Decision:
        """The one decision of a cycle at `now` (the daemon's clock, s)."""
        rules = self.rules
        if seen.wish == "rollback":
            return stopped(state, "a person asked for a rollback", seen, now, rules)
        if state.mode is Mode.PAUSED and state.experiment is not None:
            return stopped(state, "paused by a person", seen, now, rules)
        if seen.live is None:
            return blind(state, seen, now, rules)
        state = followed(replace(state, down_since=None), seen.traffic, now, rules)
        if drift := settings_drift(state, seen.live, seen, now, rules):
            return drift
        if state.mode is Mode.PAUSED:
            return Decision(Action.HOLD, "paused: observing only", state)
        if state.unsettled:
            why = "the incumbent is not confirmed live: it is applied again"
            return Decision(Action.ROLLBACK, why, state, apply=state.incumbent)
        if moves := outlived(state, seen.traffic, now, rules):
            return stopped(state, f"the workload moved ({moves})", seen, now, rules)
        if state.experiment is not None:
            return advanced(state, state.experiment, seen, now, rules)
        if seen.problem is not None:
            return Decision(Action.HOLD, seen.problem, state)
        return considered(state, seen, now, rules, self.proposer)

    def stop(self, state: TunerState, why: str, now: float) -> Decision:
        """The running test ended and the incumbent applied, because of `why`."""
        return stopped(state, why, _NOTHING_SEEN, now, self.rules)

    def failed(self, before: TunerState, decision: Decision, refused: str | None) -> TunerState:
        """What is remembered when `decision.apply` was refused (why) or its outcome is unknown.

        A running test asks again by itself; anything else leaves the incumbent to be settled.
        """
        experiment = decision.state.experiment
        if refused is not None and experiment is not None:
            held = dict(before.quarantined)
            if not is_aa(experiment):
                held[experiment.treatment.digest] = experiment.started_at + self.rules.quarantine_s
            return replace(
                before, quarantined=held, experiment=None, to_confirm=None, unsettled=True
            )
        if decision.opens_slot and before.experiment is not None:
            return replace(decision.state, unconfirmed=decision.apply)
        kept = before if decision.action is Action.START else decision.state
        # While the incumbent is applied again, what may still come is what was sent before it.
        again = decision.apply == before.incumbent and before.unconfirmed is not None
        sent = before.unconfirmed if again else decision.apply
        return replace(kept, unconfirmed=sent, unsettled=True)
