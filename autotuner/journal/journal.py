"""What is written before and after acting, in the order that makes a crash harmless."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from autotuner.domain.declaration import Declaration
from autotuner.domain.errors import ConfigError
from autotuner.domain.experiment import Experiment
from autotuner.domain.knobs import KnobSpace
from autotuner.domain.mode import Mode
from autotuner.domain.ports import LiveSettings, Proposal
from autotuner.history.records import Ask, Control, DecisionOutcome
from autotuner.history.store import History
from autotuner.journal.facts import facts_of
from autotuner.journal.options import JournalOptions, Wishes
from autotuner.journal.requests import declaration_of, refusal_of
from autotuner.journal.waking import Waking
from autotuner.tuner import Action, Decision, Observation, TunerState

_ASKED_MODES = {
    Ask.PAUSE: Mode.PAUSED,
    Ask.RESUME: Mode.ACTIVE,
    Ask.ADVISORY: Mode.ADVISORY,
}


class Journal:
    """One target's side of the history, in the order that makes a crash harmless."""

    def __init__(self, history: History, options: JournalOptions, space: KnobSpace) -> None:
        self._history, self._options, self._space = history, options, space
        self._last_said = ""
        self._kept: dict[str, Any] = {}  # of the target, as the history has it

    # ---- start
    def wake(self, live: LiveSettings, mode: Mode, now: float) -> TunerState:
        """The state at start: orphans closed, the incumbent known, what a crash left undone marked.

        The incumbent is put back (`unsettled`) when a test or an apply was cut short, the target
        restarted, or nobody but a daemon can have applied what runs: its generation was seen
        before. Settings that a person changed meanwhile are adopted. An accepted test whose
        confirm run had not begun is taken up again; a confirm run that was cut short is not: its
        candidate has to win a first test anew.
        """
        with self._whole():
            state = Waking(self._history, self._options, self._space).woken(live, mode, now)
            self._keep(live, state, now)
        return state

    # ---- each cycle
    def wishes(self, now: float) -> Wishes:
        """What people asked for since the last cycle; the last word counts.

        Tests that they declared are not among them: those wait until nothing runs.
        """
        mode, wish = None, None
        for control in self._history.take_controls(self._options.target, now):
            mode = _ASKED_MODES.get(control.what, mode)
            if control.what in (Ask.ROLLBACK, Ask.STOP):
                wish = "rollback"
        return Wishes(mode, wish)

    def declared(self, now: float) -> Declaration | None:
        """The oldest test that a person asked for, left waiting: `record` takes it with its answer.

        One that can't be understood is refused here, so that it does not block those behind it.
        """
        control = self._history.next_declared(self._options.target)
        if control is None:
            return None
        try:
            return declaration_of(control, self._options)
        except ConfigError as problem:
            self._refuse(control, str(problem), now)
            return None

    def record(self, before: TunerState, decision: Decision, seen: Observation, now: float) -> int:
        """Writes the decision and all that follows from it BEFORE it is acted on; returns its id.

        It is one transaction: a verdict is never kept without the incumbent that it makes, nor a
        request taken without the test (or the refusal) that answers it. A HOLD or CONTINUE that
        says the same as the one before, figures aside, is not repeated (id 0): nothing is applied
        by it. Raises HistoryError, with nothing kept, when the request was withdrawn meanwhile.
        """
        with self._whole():
            return self._record(before, decision, seen, now)

    def experiment(
        self, experiment: Experiment, now: float, proposal: Proposal | None = None
    ) -> None:
        """The experiment as it is now; with the reason of the `proposal` that it tests."""
        self._history.record_experiment(
            experiment,
            at=now,
            predicted_effect=_predicted(proposal),
            explanation=proposal.explanation if proposal else None,
        )

    def applied(self, number: int, now: float, generation: int) -> None:
        self._history.decision_done(number, DecisionOutcome.APPLIED, now, generation=generation)

    def not_applied(self, number: int, problem: str, *, known: bool, now: float) -> None:
        """`known`: the target said no; else whether it was applied is read back next cycle.

        An unknown outcome is closed here as FAILED with its note once it is certain that the
        state carries it on; the row must not stay open, or the next start would take it for a
        crash.
        """
        prefix = "refused" if known else "outcome unknown, read back in the next cycle"
        self._history.decision_done(
            number, DecisionOutcome.FAILED, now, note=f"{prefix}: {problem}"
        )

    def alive(self, sentence: str, mode: Mode, now: float) -> None:
        options = self._options
        self._history.heartbeat(
            options.daemon_id, options.target, at=now, sentence=sentence, mode=mode.value
        )

    # ---- parts
    @contextmanager
    def _whole(self) -> Iterator[None]:
        """One transaction; where it is undone, nothing is taken for written."""
        try:
            with self._history.together():
                yield
        except BaseException:
            self._kept, self._last_said = {}, ""
            raise

    def _refuse(self, control: Control, problem: str, now: float) -> None:
        why = refusal_of(control, problem)
        with self._whole():
            self._history.record_decision(self._options.target, Action.HOLD.value, why, at=now)
            self._history.take_control(control.id, now, result=why)

    def _record(self, before: TunerState, decision: Decision, seen: Observation, now: float) -> int:
        if seen.live is not None:
            self._keep(seen.live, decision.state, now)
        experiment = decision.concluded or decision.state.experiment
        if experiment is not None and experiment != before.experiment:
            self.experiment(experiment, now, decision.proposal)
        if decision.state.incumbent != before.incumbent:
            self._record_incumbent(decision, now)
        self._record_quarantine(before, decision, now)
        self._answer(decision, experiment, now)
        said = f"{decision.action} {re.sub(r'[0-9.]+', '#', decision.reason)}"
        silent = decision.apply is None and decision.declared is None
        if silent and said == self._last_said:
            return 0
        self._last_said = said
        return self._history.record_decision(
            self._options.target,
            decision.action.value,
            decision.reason,
            at=now,
            generation=seen.live.generation if seen.live else None,
            settings=decision.apply,
            experiment_id=experiment.id if experiment else None,
            advisory=decision.state.mode is Mode.ADVISORY and decision.apply is None,
        )

    def _answer(self, decision: Decision, experiment: Experiment | None, now: float) -> None:
        """The request that the decision takes: the person finds the test, or why there is none."""
        if decision.declared is None:
            return
        if decision.action is Action.START and experiment is not None:
            self._history.take_control(decision.declared, now, experiment_id=experiment.id)
        else:
            self._history.take_control(decision.declared, now, result=decision.reason)

    def _keep(self, live: LiveSettings, state: TunerState, now: float) -> None:
        """What the next start must know of the target, written where it changed."""
        info = facts_of(live, state)
        if info == self._kept:
            return
        self._kept = info
        options = self._options
        self._history.record_target(
            options.target, kind="worker", url=options.url, at=now, info=info
        )

    def _record_incumbent(self, decision: Decision, now: float) -> None:
        ended = decision.concluded
        self._history.set_incumbent(
            self._options.target,
            decision.state.incumbent,
            at=now,
            why=decision.reason,
            experiment_id=ended.id if ended and decision.action is Action.PROMOTE else None,
        )

    def _record_quarantine(self, before: TunerState, decision: Decision, now: float) -> None:
        """Settings of the test that ended here which are not to be tried for a while."""
        ended = decision.concluded
        for settings in (ended.control, ended.treatment) if ended is not None else ():
            until = decision.state.quarantined.get(settings.digest)
            if until is None or until == before.quarantined.get(settings.digest):
                continue
            undone = ended is not None and settings == ended.control
            why = "it had saved more than the goal's attainment allows; " if undone else ""
            self._history.quarantine(
                self._options.target,
                settings,
                reason=f"{why}{decision.reason}",
                at=now,
                until=until if math.isfinite(until) else None,
            )


def _predicted(proposal: Proposal | None) -> float | None:
    effect = proposal.predicted_effect if proposal else None
    return effect if effect is not None and math.isfinite(effect) else None
