"""The brain: from what is known and what was seen to one decision. Pure: no clock, no I/O.

`decide` reads top to bottom in the order of importance: a person's word, then whether anything can
be trusted, then drift, then the running experiment, then a new one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from autotuner.domain.errors import SettingsRefusedError, TargetError
from autotuner.domain.mode import Mode
from autotuner.domain.ports import LiveSettings, Proposer
from autotuner.tuner import restarts
from autotuner.tuner.drift import settings_drift
from autotuner.tuner.faults import answered_for, refused
from autotuner.tuner.running import advanced, blind, rolled_back, stopped
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
            return rolled_back(state, seen, now, rules)
        state, urgent = self._restarts(state, seen, now)
        if urgent is not None:
            return urgent
        if state.mode is Mode.PAUSED and state.experiment is not None:
            return stopped(state, "paused by a person", seen, now, rules)
        if seen.live is None:
            return blind(state, seen, now, rules)
        state = followed(replace(state, down_since=None), seen.traffic, now, rules)
        return self._informed(state, seen.live, seen, now)

    def _restarts(
        self, state: TunerState, seen: Observation, now: float
    ) -> tuple[TunerState, Decision | None]:
        """Engines that failed, and restarts that are waited for, come before everything else."""
        rules, live = self.rules, seen.live
        if live is not None:
            state, ended = answered_for(state, live, seen, now, rules)
            if ended is not None:
                return state, ended
        if waiting := restarts.under_way(state, seen, now, rules):
            return state, waiting
        if live is None:
            return replace(state, restart=None), None
        return restarts.came_to_nothing(state, live, seen, now, rules)

    def _informed(
        self, state: TunerState, live: LiveSettings, seen: Observation, now: float
    ) -> Decision:
        """The decision where the target answers and no restart is under way."""
        rules = self.rules
        if drift := settings_drift(state, live, seen, now, rules):
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

    def failed(
        self,
        before: TunerState,
        decision: Decision,
        problem: TargetError,
        live: LiveSettings | None,
        now: float,
    ) -> TunerState:
        """What is remembered when `decision.apply` was refused or its outcome is unknown.

        A running test asks again by itself, and one whose first slot takes a restart waits for it;
        anything else leaves the incumbent to be settled. `live`: what ran when it was sent.
        """
        if isinstance(problem, SettingsRefusedError):
            return refused(before, decision, problem, live, now, self.rules)
        restart = restarts.sent(before, decision, problem, live, now, self.rules)
        if decision.opens_slot and (before.experiment is not None or restart is not None):
            return replace(decision.state, unconfirmed=decision.apply, restart=restart)
        kept = before if decision.action is Action.START else decision.state
        # While the incumbent is applied again, what may still come is what was sent before it.
        again = decision.apply == before.incumbent and before.unconfirmed is not None
        sent = before.unconfirmed if again else decision.apply
        return replace(kept, unconfirmed=sent, unsettled=True, restart=restart)
