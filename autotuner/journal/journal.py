"""What is written before and after acting, in the order that makes a crash harmless."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from autotuner.domain.declaration import Declaration
from autotuner.domain.errors import ConfigError, HistoryUnavailableError
from autotuner.domain.experiment import Experiment
from autotuner.domain.feasibility import Infeasible
from autotuner.domain.knobs import KnobSpace
from autotuner.domain.mode import Mode
from autotuner.domain.ports import LiveSettings, Proposal
from autotuner.history.backlog import Backlog
from autotuner.history.records import Ask, Control, DecisionOutcome
from autotuner.history.store import History
from autotuner.journal.facts import facts_of
from autotuner.journal.infeasible import reason_of
from autotuner.journal.options import JournalOptions, Wishes
from autotuner.journal.requests import declaration_of, refusal_of, values_of
from autotuner.journal.waking import Waking
from autotuner.tuner import Action, Decision, Observation, TunerState

_ASKED_MODES = {
    Ask.PAUSE: Mode.PAUSED,
    Ask.RESUME: Mode.ACTIVE,
    Ask.ADVISORY: Mode.ADVISORY,
}


class Journal:
    """One target's side of the history, in the order that makes a crash harmless.

    What has to be known before anything is done raises HistoryUnavailableError while the database
    is away; what says how it went waits in the `backlog`, in order.
    """

    def __init__(
        self,
        history: History,
        options: JournalOptions,
        space: KnobSpace,
        backlog: Backlog | None = None,
    ) -> None:
        self._history, self._options, self._space = history, options, space
        self.backlog = Backlog() if backlog is None else backlog
        self._asked = Wishes()  # taken from the history, and not yet followed
        self._lifted: frozenset[tuple[str, float]] = frozenset()  # as last read
        self._in_doubt = False  # the database went away in the middle of a record
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

        Tests that they declared are not among them: those wait until nothing runs. What waited for
        the database is written before it. Raises HistoryUnavailableError while that is away.
        """
        away_s, mode, wish = self.backlog.away_s(now), self._asked.mode, self._asked.wish
        back = dict(self._asked.back)
        name = self._options.target
        with self.backlog.returning(now):
            if away_s > 0:  # a pause that the database took and then went away with
                mode = self.asked_mode() or mode
            for control in self._history.take_controls(name, now):
                mode = _ASKED_MODES.get(control.what, mode)
                if control.what in (Ask.ROLLBACK, Ask.STOP):
                    wish = "rollback"
                    back |= values_of(control, self._space)
            known, self._lifted = self._lifted, self._history.lifted(name)
        lifted = self._asked.lifted | {digest for digest, _ in self._lifted - known}
        self._asked = Wishes(mode, wish, lifted=lifted, back=back)
        return replace(self._asked, away_s=away_s)

    def asked_mode(self) -> Mode | None:
        """The mode that people asked for last, also before this start; None for the usual one."""
        asked = self._history.asked_mode(self._options.target)
        return None if asked is Mode.ACTIVE else asked

    def holds(self, state: TunerState) -> bool:
        """Whether the history is where `state` is.

        It is not where the database went away as a decision was kept, and kept it after all: then
        nobody acted on what it holds, as after a crash.
        """
        if not self._in_doubt:
            return True
        name = self._options.target
        running = {state.experiment.id} if state.experiment is not None else set()
        stored = self._history.incumbent(name)
        same = (
            {test.id for test in self._history.open_experiments(name)} == running
            and not self._history.unfinished_decisions(name)
            and stored is not None
            and stored.settings == state.incumbent
        )
        self._in_doubt = False
        return same

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
        try:
            with self._whole():
                number = self._record(before, decision, seen, now)
        except HistoryUnavailableError:
            self._in_doubt = True
            raise
        self._asked = Wishes()
        return number

    def held(self, reason: str, now: float) -> None:
        """That nothing was done, where the database is away: written when it is back."""
        said = f"{Action.HOLD} {re.sub(r'[0-9.]+', '#', reason)}"
        if said != self._last_said:
            self._last_said = said
            name, action = self._options.target, Action.HOLD.value
            self.backlog.write(
                "decision", lambda: self._history.record_decision(name, action, reason, at=now)
            )

    def slot_opened(self, experiment: Experiment, now: float) -> None:
        """The experiment with the slot that was just applied; waits while the database is away."""
        self.backlog.write("experiment", lambda: self.experiment(experiment, now), needed=True)

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
        self._done(number, DecisionOutcome.APPLIED, now, generation=generation)

    def not_applied(self, number: int, problem: str, *, known: bool, now: float) -> None:
        """`known`: the target said no; else whether it was applied is read back next cycle.

        An unknown outcome is closed here as FAILED with its note once it is certain that the
        state carries it on; the row must not stay open, or the next start would take it for a
        crash.
        """
        prefix = "refused" if known else "outcome unknown, read back in the next cycle"
        self._done(number, DecisionOutcome.FAILED, now, note=f"{prefix}: {problem}")

    def barred(self, before: TunerState, after: TunerState, now: float) -> None:
        """Settings whose engine turned out to fail as they were applied; waits as outcomes do."""
        for bad in after.infeasible:
            if bad not in before.infeasible:
                self.backlog.write("quarantine", partial(self._bar, bad, now), needed=True)

    def alive(self, sentence: str, mode: Mode, now: float) -> None:
        """The daemon's heartbeat; one that can't be written is of no use later."""
        options = self._options
        self.backlog.ask(
            lambda: self._history.heartbeat(
                options.daemon_id, options.target, at=now, sentence=sentence, mode=mode.value
            ),
            None,
        )

    # ---- parts
    def _done(self, number: int, outcome: DecisionOutcome, now: float, **more: Any) -> None:
        """What was done is done: where it can't be told now, it is told later."""
        self.backlog.write(
            "outcome",
            lambda: self._history.decision_done(number, outcome, now, **more),
            needed=True,
        )

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
            options.target, kind=live.server or "worker", url=options.url, at=now, info=info
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

    def _bar(self, bad: Infeasible, now: float) -> None:
        name, reason = self._options.target, reason_of(bad)
        self._history.quarantine(name, bad.settings, reason=reason, at=now)

    def _record_quarantine(self, before: TunerState, decision: Decision, now: float) -> None:
        """Settings of the test that ended here which are not to be tried for a while.

        And whatever turned out to be infeasible, for good.
        """
        ended, barred = decision.concluded, {bad.settings for bad in decision.state.infeasible}
        for bad in decision.state.infeasible:
            if bad not in before.infeasible:
                self._bar(bad, now)
        for settings in (ended.control, ended.treatment) if ended is not None else ():
            if settings in barred:
                continue
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
