"""How a daemon finds itself again: from the history and what runs now to a state of the brain."""

from __future__ import annotations

import math
from dataclasses import dataclass

from autotuner.abtest.noise import noise_after
from autotuner.domain.experiment import Experiment, Verdict
from autotuner.domain.knobs import KnobSpace, Settings
from autotuner.domain.mode import Mode
from autotuner.domain.ports import LiveSettings, PastTrial
from autotuner.history.records import DecisionOutcome, ExperimentSummary
from autotuner.history.store import History
from autotuner.journal.facts import evidence_since, workload_of
from autotuner.journal.options import JournalOptions
from autotuner.tuner import TunerState, needs_rebuild, rebuild_s

_MAX_PAST = 200  # chosen: tests, and incumbents, that a start looks back at
_CUT_SHORT = "the daemon ended in the middle of the test; the incumbent is put back"


@dataclass(frozen=True)
class Waking:
    """One start on one target; `woken` is to be called inside one transaction."""

    history: History
    options: JournalOptions
    space: KnobSpace

    def woken(self, live: LiveSettings, mode: Mode, now: float) -> TunerState:
        """The state at start, with orphans closed and the incumbent recorded."""
        name = self.options.target
        facts = self.history.target_info(name)
        running = self.space.restrict(live.settings)
        cut_short, late = self._close_what_was_open(now)
        incumbent = self._incumbent(live, running, mode, now, cut_short=cut_short)
        asked = Mode(self.history.asked_mode(name))
        tests, accepted = self.history.count_tests(name)
        last = self._last_test()
        return TunerState(
            incumbent=incumbent,
            intended=live,
            mode=mode if asked is Mode.ACTIVE else asked,
            idle_until=self._rest_until(),
            past=self._past(incumbent, evidence_since(facts)),
            quarantined=self.history.quarantines(name, now),
            # An apply that another daemon decided may still come, if it was only stopped for a
            # while: a generation of our own makes the target refuse it.
            unsettled=incumbent != running or late is not None,
            unconfirmed=late,
            to_confirm=last if last is not None and _awaits_confirming(last, incumbent) else None,
            tests=tests,
            accepted=accepted,
            noise=noise_after(last, None) if last is not None else None,
            tuned_for=workload_of(facts),
            evidence_since=evidence_since(facts),
            previous=self._previous(incumbent),
            rebuild_s=self._rebuild_s(),
        )

    def _incumbent(
        self, live: LiveSettings, running: Settings, mode: Mode, now: float, *, cut_short: bool
    ) -> Settings:
        """What the history says where a daemon left off, what runs where a person changed it."""
        name = self.options.target
        known = self.history.target_info(name)
        stored = self.history.incumbent(name)
        restarted = known.get("boot_id") not in (None, live.boot_id)
        # A start that ended before it had put the incumbent back left no other trace than this.
        ours = live.generation <= known.get("generation", 0)
        keep = stored is not None and (cut_short or restarted or ours) and mode is Mode.ACTIVE
        incumbent = stored.settings if stored is not None and keep else running
        why = "found running at the first start" if stored is None else "found running at a start"
        self.history.set_incumbent(name, incumbent, at=now, why=why)
        return incumbent

    def _close_what_was_open(self, now: float) -> tuple[bool, Settings | None]:
        """Whether a crash left a test open or an apply whose outcome nobody knows.

        And the settings of such an apply that another daemon had decided.
        """
        name = self.options.target
        orphans = self.history.close_orphans(name, now, _CUT_SHORT)
        undone = self.history.unfinished_decisions(name)
        for decision in undone:
            note = "the daemon ended before it knew; settled at the next start"
            self.history.decision_done(decision.id, DecisionOutcome.FAILED, now, note=note)
        others = [one.settings for one in undone if one.term != self.history.term]
        return bool(orphans or undone), others[-1] if others else None

    def _rest_until(self) -> float:
        """When the rest after the last experiment ends; in the past where there was none."""
        last = self.history.experiments(target=self.options.target, limit=1)
        ended_at = last[0].ended_at if last else None
        return 0.0 if ended_at is None else ended_at + self.options.pause_s

    def _past(self, incumbent: Settings, since: float) -> tuple[PastTrial, ...]:
        """The finished tests that ended from `since` on, oldest first, without A/A tests.

        An aborted one says nothing, nor does one that was accepted against what is still live:
        its candidate was not confirmed.
        """
        summaries = self.history.experiments(target=self.options.target, limit=_MAX_PAST)
        return tuple(
            PastTrial(s.control, s.treatment, s.effect, s.verdict, s.low, s.high, s.outcome, s.id)
            for s in reversed(summaries)
            if s.verdict not in (None, Verdict.ABORTED)
            and not (s.verdict is Verdict.ACCEPTED and s.control == incumbent)
            and not s.is_aa
            and _ended_at(s) >= since
        )

    def _last_test(self) -> Experiment | None:
        last = self.history.experiments(target=self.options.target, limit=1)
        return self.history.experiment(last[0].id) if last else None

    def _rebuild_s(self) -> float:
        """What the last test of a knob that is not live saw a change take; NaN without one."""
        summaries = self.history.experiments(target=self.options.target, limit=_MAX_PAST)
        rebuilt = (s.id for s in summaries if needs_rebuild(self.space, s.control, s.treatment))
        last = next(rebuilt, None)
        test = self.history.experiment(last) if last is not None else None
        return math.nan if test is None else rebuild_s(test, self.space)

    def _previous(self, incumbent: Settings) -> Settings | None:
        """The incumbent before this one, where there was another."""
        lines = self.history.incumbents(self.options.target, limit=_MAX_PAST)
        return next((line.settings for line in lines if line.settings != incumbent), None)


def _awaits_confirming(last: Experiment, incumbent: Settings) -> bool:
    """Whether it was accepted as a first test, and its control is still what is live."""
    done = last.conclusion
    accepted = done is not None and done.verdict is Verdict.ACCEPTED
    fresh = not last.plan.confirms and last.treatment != incumbent
    return accepted and fresh and last.control == incumbent


def _ended_at(summary: ExperimentSummary) -> float:
    return summary.started_at if summary.ended_at is None else summary.ended_at
