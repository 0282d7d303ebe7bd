"""What is written before and after acting, and how a daemon finds itself again after a crash."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from autotuner.domain.experiment import Experiment
from autotuner.domain.knobs import KnobSpace
from autotuner.domain.mode import Mode
from autotuner.domain.ports import LiveSettings
from autotuner.history.records import Ask, DecisionOutcome
from autotuner.history.store import History
from autotuner.tuner import Action, Decision, Observation, TunerState

_ASKED_MODES = {
    Ask.PAUSE: Mode.PAUSED,
    Ask.RESUME: Mode.ACTIVE,
    Ask.ADVISORY: Mode.ADVISORY,
}


@dataclass(frozen=True)
class Wishes:
    """What people asked since the last cycle."""

    mode: Mode | None = None
    wish: str | None = None


@dataclass(frozen=True)
class JournalOptions:
    """`daemon_id` tells several daemons apart; a harmful candidate rests `quarantine_s`.

    `pause_s`: the rest after an experiment, which outlives a restart.
    """

    daemon_id: str
    target: str
    url: str
    quarantine_s: float
    pause_s: float


class Journal:
    """One target's side of the history, in the order that makes a crash harmless."""

    def __init__(self, history: History, options: JournalOptions, space: KnobSpace) -> None:
        self._history, self._options, self._space = history, options, space
        self._last_said = ""
        self._seen_boot: tuple[str, int] | None = None

    # ---- start
    def wake(self, live: LiveSettings, mode: Mode, now: float) -> TunerState:
        """The state at start: orphans closed, the incumbent known, what a crash left undone marked.

        The incumbent is put back (`unsettled`) when a test or an apply was cut short, the target
        restarted, or nobody but a daemon can have applied what runs: its generation was seen
        before. Settings that a person changed meanwhile are adopted.
        """
        with self._history.together():
            return self._wake(live, mode, now)

    def _wake(self, live: LiveSettings, mode: Mode, now: float) -> TunerState:
        name = self._options.target
        known = self._history.target_info(name)
        self._remember_boot(live, now)
        running = self._space.restrict(live.settings)
        stored = self._history.incumbent(name)
        cut_short = self._close_what_was_open(now)
        restarted = known.get("boot_id") not in (None, live.boot_id)
        # A start that ended before it had put the incumbent back left no other trace than this.
        ours = live.generation <= known.get("generation", 0)
        keep = stored is not None and (cut_short or restarted or ours) and mode is Mode.ACTIVE
        incumbent = stored.settings if stored is not None and keep else running
        why = "found running at the first start" if stored is None else "found running at a start"
        self._history.set_incumbent(name, incumbent, at=now, why=why)
        asked = Mode(self._history.asked_mode(name))
        return TunerState(
            incumbent=incumbent,
            intended=live,
            mode=mode if asked is Mode.ACTIVE else asked,
            idle_until=self._rest_until(),
            past=tuple(self._history.trials(name)),
            quarantined=self._history.quarantined(name, now),
            unsettled=incumbent != running,
        )

    def _rest_until(self) -> float:
        """When the rest after the last experiment ends; in the past where there was none."""
        last = self._history.experiments(target=self._options.target, limit=1)
        ended_at = last[0].ended_at if last else None
        return 0.0 if ended_at is None else ended_at + self._options.pause_s

    def _close_what_was_open(self, now: float) -> bool:
        """Whether a crash left a test open or an apply whose outcome nobody knows."""
        name = self._options.target
        why = "the daemon ended in the middle of the test; the incumbent is put back"
        orphans = self._history.close_orphans(name, now, why)
        undone = self._history.unfinished_decisions(name)
        for decision in undone:
            note = "the daemon ended before it knew; settled at the next start"
            self._history.decision_done(decision.id, DecisionOutcome.FAILED, now, note=note)
        return bool(orphans or undone)

    # ---- each cycle
    def wishes(self, now: float) -> Wishes:
        """What people asked for since the last cycle; the last word counts."""
        mode, wish = None, None
        for control in self._history.take_controls(self._options.target, now):
            mode = _ASKED_MODES.get(control.what, mode)
            if control.what in (Ask.ROLLBACK, Ask.STOP):
                wish = "rollback"
        return Wishes(mode, wish)

    def record(self, before: TunerState, decision: Decision, seen: Observation, now: float) -> int:
        """Writes the decision and all that follows from it BEFORE it is acted on; returns its id.

        It is one transaction: a verdict is never kept without the incumbent that it makes. A HOLD
        or CONTINUE that says the same as the one before, figures aside, is not repeated (id 0):
        nothing is applied by it.
        """
        with self._history.together():
            return self._record(before, decision, seen, now)

    def experiment(
        self, experiment: Experiment, now: float, predicted_effect: float | None = None
    ) -> None:
        self._history.record_experiment(experiment, at=now, predicted_effect=predicted_effect)

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
    def _record(self, before: TunerState, decision: Decision, seen: Observation, now: float) -> int:
        if seen.live is not None:
            self._remember_boot(seen.live, now)
        experiment = decision.concluded or decision.state.experiment
        if experiment is not None and experiment != before.experiment:
            self.experiment(experiment, now, _predicted(decision))
        if decision.state.incumbent != before.incumbent:
            self._record_incumbent(decision, now)
        self._record_quarantine(before, decision, now)
        said = f"{decision.action} {re.sub(r'[0-9.]+', '#', decision.reason)}"
        if decision.apply is None and said == self._last_said:
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

    def _remember_boot(self, live: LiveSettings, now: float) -> None:
        seen = (live.boot_id, live.generation)
        if seen == self._seen_boot:
            return
        self._seen_boot = seen
        info = {"boot_id": live.boot_id, "generation": live.generation}
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
        ended = decision.concluded
        if ended is None or decision.state.quarantined == before.quarantined:
            return
        self._history.quarantine(
            self._options.target,
            ended.treatment,
            reason=decision.reason,
            at=now,
            until=now + self._options.quarantine_s,
        )


def _predicted(decision: Decision) -> float | None:
    effect = decision.proposal.predicted_effect if decision.proposal else None
    return effect if effect is not None and math.isfinite(effect) else None
