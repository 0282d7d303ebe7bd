"""One cycle of the control loop on one page: read, decide, record, act, and say why."""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog

from autotuner.abtest import switchback
from autotuner.alerts.conditions import Builtin, Condition
from autotuner.availability import Availability
from autotuner.domain.errors import (
    HistoryUnavailableError,
    SettingsRefusedError,
    StaleGenerationError,
    TargetError,
    TargetUnavailableError,
)
from autotuner.domain.knobs import Settings
from autotuner.domain.mode import Mode
from autotuner.domain.ports import LanedTarget, LiveSettings, Target
from autotuner.instruments import Instruments
from autotuner.journal import Journal
from autotuner.learning import Learner
from autotuner.observer import Observer
from autotuner.tuner import Action, Decision, Observation, Tuner, TunerState, unapplied
from autotuner.watch import Watch

log = structlog.get_logger()

# Chosen: a slot that went on for longer than this without its history is no measurement of a slot.
AWAY_LIMIT_S = 600.0


@dataclass
class Daemon:
    """Keeps one target at its best settings. `run_cycle` is all it does; others call it on time.

    `laned`: the target once more, where its lanes can run two settings at once. `learner`: who
    watches the model that proposals come from. `availability`: who keeps the error budget.
    """

    name: str
    target: Target
    observer: Observer
    watch: Watch
    tuner: Tuner
    journal: Journal
    instruments: Instruments
    mode: Mode = Mode.ACTIVE
    state: TunerState | None = None
    laned: LanedTarget | None = None
    learner: Learner | None = None
    availability: Availability | None = None

    def run_cycle(self, now: float) -> str:
        """One turn of the loop at `now` (s since the epoch); returns what was done and why.

        Never raises for a target that is down, nor for a history that is away when the cycle
        begins: nothing may be done that is not recorded, so it holds. One that goes away in the
        middle raises, with nothing done.
        """
        try:
            wishes = self.journal.wishes(now)
        except HistoryUnavailableError as problem:
            return self._without_history(str(problem), now)
        if self.state is not None and not self.journal.holds(self.state):
            self.state = None  # as after a crash: what the history holds counts
        seen = self._seen(now)
        if self.state is None:
            if seen.live is None:
                asked = wishes.mode or self.journal.asked_mode()
                reason = seen.problem or "waiting for the target"
                return self._told(Action.HOLD, reason, now, asked or self.mode)
            # Whatever happened before, of two lanes' settings only one is told.
            self.state = self._to_be_settled(self.journal.wake(seen.live, self.mode, now))
        # At the first cycle these are all that ever were lifted, and the state knows of none.
        self.state = self.state.lifted(wishes.lifted)
        state = self._in_mode(wishes.mode or self.state.mode, self.state)
        declared = self.journal.declared(now) if state.experiment is None else None
        heard = replace(seen, wish=wishes.wish, back=wishes.back, declared=declared)
        seen = self.watch.look(heard, now)
        seen = seen if self.learner is None else self.learner.informed(seen)
        decision = self._decided(state, seen, wishes.away_s, now)
        number = self.journal.record(state, decision, seen, now)
        self.state = self._act(state, decision, seen, number, now)
        self.watch.tell(
            seen, decision, now, self._learnt(seen, testing=state.experiment is not None)
        )
        self.instruments.traffic(self.name, seen.traffic)
        self.instruments.energy.show(self.name, seen.window)
        self.instruments.experiment(self.name, self.state.experiment)
        watch = self.watch
        self.instruments.forecasts.show(
            self.name, watch.forecasts, watch.coverages, watch.nominal_coverage, now
        )
        return self._told(decision.action, decision.reason, now)

    def _decided(self, state: TunerState, seen: Observation, away_s: float, now: float) -> Decision:
        if state.experiment is None or away_s <= AWAY_LIMIT_S:
            return self.tuner.decide(state, seen, now)
        return self.tuner.stop(state, f"the history was away for {away_s:.0f} s", now)

    def _without_history(self, problem: str, now: float) -> str:
        """Nothing can be recorded, so nothing is done: what runs goes on, what is seen is kept."""
        reason = f"{problem}; nothing is done that can't be recorded"
        seen = self._seen(now)
        self.journal.held(reason, now)
        if self.state is not None:
            seen = self.watch.look(seen, now)
            holding = Decision(Action.HOLD, reason, self.state)
            self.watch.tell(seen, holding, now, (_history_away(problem),))
        self.instruments.traffic(self.name, seen.traffic)
        self.instruments.energy.show(self.name, seen.window)
        return self._told(Action.HOLD, reason, now)

    def _seen(self, now: float) -> Observation:
        """The world as it is, with what it means for the error budget."""
        seen = self.observer.observe(self.state.experiment if self.state else None)
        if self.availability is None:
            return seen
        seen = self.availability.counted(seen, now)
        self.instruments.budget.show(self.name, seen.budget)
        return seen

    def stop(self, now: float, why: str = "the daemon was stopped") -> str:
        """Ends a running test and leaves the incumbent live; the last thing a daemon does."""
        said = self._put_back(now, why)
        if self.availability is not None:
            self.availability.keep(now)
        return said

    def _put_back(self, now: float, why: str) -> str:
        if self.state is None or self.state.experiment is None:
            return "stopped; the incumbent is live"
        seen = self.observer.observe(self.state.experiment)
        decision = self.tuner.stop(self.state, why, now)
        try:
            number = self.journal.record(self.state, decision, seen, now)
        except HistoryUnavailableError as problem:
            # The next start finds the test open, and puts the incumbent back.
            return f"stopped in the middle of a test, with its settings left as they are: {problem}"
        self.state = self._act(self.state, decision, seen, number, now)
        return self._told(decision.action, decision.reason, now)

    def _learnt(self, seen: Observation, *, testing: bool) -> tuple[Condition, ...]:
        """What is known of the model's errors; the learner hears what was seen."""
        if self.learner is None:
            return (_history_away(""),)
        self.learner.look(seen, testing=testing)
        self.instruments.model(self.name, self.learner.errors)
        return (self.learner.condition, _history_away(""))

    def _act(
        self, before: TunerState, decision: Decision, seen: Observation, number: int, now: float
    ) -> TunerState:
        """Applies what was decided and recorded; what is unknown is read back in the next cycle."""
        if decision.apply is None:
            after = replace(decision.state, intended=decision.state.intended or seen.live)
            # Where a person changed one lane, what was adopted belongs on the other one too.
            return after if after.incumbent == before.incumbent else self._to_be_settled(after)
        try:
            applied = self._apply(decision, decision.apply, seen.live)
        except TargetError as problem:
            return self._failed(before, decision, seen.live, number, problem, now)
        self.journal.applied(number, now, applied.generation)
        after = replace(
            decision.state, intended=applied, unconfirmed=None, unsettled=False, restart=None
        )
        return self._opened(after, applied, now) if decision.opens_slot else after

    def _apply(
        self, decision: Decision, settings: Settings, live: LiveSettings | None
    ) -> LiveSettings:
        if live is None:
            raise TargetUnavailableError("the target does not answer")
        if decision.lanes is None:
            return self.target.apply(settings, live, decision.reason)
        assert self.laned is not None, "a split is planned for a target of two lanes only"
        return self.laned.apply_lanes(decision.lanes, live, decision.reason)

    def _in_mode(self, mode: Mode, state: TunerState) -> TunerState:
        changed = replace(state, mode=mode)
        return changed if mode is state.mode else self._to_be_settled(changed)

    def _to_be_settled(self, state: TunerState) -> TunerState:
        """The incumbent is applied to every lane in the next cycle, where there are two."""
        if self.laned is None or state.mode is not Mode.ACTIVE:
            return state
        return replace(state, unsettled=True)

    def _opened(self, state: TunerState, applied: LiveSettings, now: float) -> TunerState:
        """The slot that just began, recorded at once: a crash must find it."""
        assert state.experiment is not None, "only a running experiment opens slots"
        experiment = switchback.slot_started(state.experiment, applied)
        self.journal.slot_opened(experiment, now)
        return replace(state, experiment=experiment)

    def _failed(
        self,
        before: TunerState,
        decision: Decision,
        live: LiveSettings | None,
        number: int,
        problem: TargetError,
        now: float,
    ) -> TunerState:
        log.warning("apply.failed", target=self.name, problem=str(problem))
        known = isinstance(problem, SettingsRefusedError | StaleGenerationError)
        self.journal.not_applied(number, str(problem), known=known, now=now)
        after = self.tuner.failed(before, decision, problem, live, now)
        self.journal.barred(decision.state, after, now)
        if after.experiment is None and decision.state.experiment is not None:
            ended = decision.state.experiment
            why = unapplied(ended, decision.apply, problem)
            self.journal.slot_opened(switchback.abort(ended, why), now)
        return after

    def _told(self, action: Action, reason: str, now: float, mode: Mode | None = None) -> str:
        """`mode`: the one in force from the target's first answer on, where it has not yet come."""
        log.info("cycle", target=self.name, action=action.value, reason=reason)
        self.instruments.cycle(self.name, action.value)
        known = self.state.mode if self.state else self.mode
        self.journal.alive(reason, mode or known, now)
        backlog = self.journal.backlog
        self.instruments.history(
            self.name, away=bool(backlog.problem), waiting=backlog.waiting, dropped=backlog.dropped
        )
        return reason


def _history_away(problem: str) -> Condition:
    return Condition(Builtin.HISTORY_AWAY, bool(problem), problem)
