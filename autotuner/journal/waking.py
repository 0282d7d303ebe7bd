"""How a daemon finds itself again: from the history and what runs now to a state of the brain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from autotuner.abtest.noise import noise_after
from autotuner.domain.experiment import Arm, Experiment, Verdict
from autotuner.domain.feasibility import Infeasible
from autotuner.domain.knobs import KnobSpace, Settings
from autotuner.domain.mode import Mode
from autotuner.domain.ports import LiveSettings, PastTrial
from autotuner.history.records import DecisionOutcome, ExperimentSummary
from autotuner.history.store import History
from autotuner.journal.facts import evidence_since, workload_of
from autotuner.journal.infeasible import infeasible_of, reason_of
from autotuner.journal.options import JournalOptions
from autotuner.tuner import Restart, TunerState, blamed, coming, needs_rebuild, rebuild_s

_MAX_PAST = 200  # chosen: tests, and incumbents, that a start looks back at
_MAX_DECISIONS = 50
_CUT_SHORT = "the daemon ended in the middle of the test; the incumbent is put back"


@dataclass(frozen=True)
class Left:
    """What the daemon before left open: tests, and settings of applies whose outcome nobody knows.

    `others`: those of them that another daemon had decided. `unanswered`: settings that were sent
    since the last apply that was answered.
    """

    tests: Sequence[Experiment] = ()
    undone: Sequence[Settings] = ()
    others: Sequence[Settings] = ()
    unanswered: frozenset[Settings] = field(default_factory=frozenset)

    @property
    def cut_short(self) -> bool:
        return bool(self.tests or self.undone)

    @property
    def sent(self) -> frozenset[Settings]:
        """What may have come from a daemon, or may still come."""
        arms = {arm for test in self.tests for arm in (test.control, test.treatment)}
        return self.unanswered | set(self.undone) | arms


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
        left = self._left_open(live, now)
        incumbent = self._incumbent(live, running, mode, now, left)
        restart = self._restart(live, left, now)
        late = left.others[-1] if left.others else restart.settings if restart else None
        asked = Mode(self.history.asked_mode(name))
        tests, accepted = self.history.count_tests(name)
        last = self._last_test()
        known = TunerState(
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
            infeasible=self._infeasible(),
            restart=restart,
            faults=frozenset(fault.id for fault in live.faults),
        )
        return self._without_failed(known, live, left, now)

    def _incumbent(
        self, live: LiveSettings, running: Settings, mode: Mode, now: float, left: Left
    ) -> Settings:
        """What the history says where a daemon left off, what runs where a person changed it."""
        name = self.options.target
        known = self.history.target_info(name)
        stored = self.history.incumbent(name)
        restarted = known.get("boot_id") not in (None, live.boot_id)
        # A start that ended before it had put the incumbent back left no other trace than this.
        ours = live.generation <= known.get("generation", 0) or running in left.unanswered
        again = left.cut_short or restarted or ours
        keep = stored is not None and again and mode is Mode.ACTIVE
        incumbent = _fitting(stored.settings, running) if stored is not None and keep else running
        why = "found running at the first start" if stored is None else "found running at a start"
        self.history.set_incumbent(name, incumbent, at=now, why=why)
        return incumbent

    def _left_open(self, live: LiveSettings, now: float) -> Left:
        """What a crash left open, closed."""
        name = self.options.target
        unanswered = self._unanswered(live)
        orphans = self.history.close_orphans(name, now, _CUT_SHORT)
        undone = self.history.unfinished_decisions(name)
        for decision in undone:
            note = "the daemon ended before it knew; settled at the next start"
            self.history.decision_done(decision.id, DecisionOutcome.FAILED, now, note=note)
        sent = [(one.settings, one.term) for one in undone if one.settings is not None]
        others = [settings for settings, term in sent if term != self.history.term]
        return Left(orphans, [settings for settings, _ in sent], others, unanswered)

    def _unanswered(self, live: LiveSettings) -> frozenset[Settings]:
        """Settings that were sent since the last apply that was answered: they may run by now.

        Where there are any, those of that apply as well while its generation is live: what was to
        take their place, such as the incumbent at the end of a daemon, did not come to act.
        """
        found: set[Settings] = set()
        for one in self.history.decisions(self.options.target, limit=_MAX_DECISIONS):
            if one.outcome is DecisionOutcome.APPLIED:
                still = found and one.applied_generation == live.generation
                return frozenset(found | {one.settings} if still and one.settings else found)
            if one.settings is not None and one.outcome is DecisionOutcome.FAILED:
                found.add(one.settings)
        return frozenset(found)

    def _restart(self, live: LiveSettings, left: Left, now: float) -> Restart | None:
        """The restart that a daemon asked for and did not live to see the end of."""
        into = coming(live, self.space)
        if live.rebuilding is None or into not in left.sent:
            return None
        return Restart(into, now, live.boot_id, live.generation, seen=True)

    def _infeasible(self) -> tuple[Infeasible, ...]:
        barred = self.history.barred(self.options.target)
        found = (infeasible_of(settings, reason) for settings, reason in barred)
        return tuple(bad for bad in found if bad is not None)

    def _without_failed(
        self, state: TunerState, live: LiveSettings, left: Left, now: float
    ) -> TunerState:
        """Candidates whose engines failed while no daemon looked are barred, as if one had."""
        for test in left.tests:
            began = live.now - (now - test.started_at)
            for fault in live.faults:
                own = fault.fault.of_the_settings and fault.at >= began
                if not own or blamed(test, fault) is not Arm.TREATMENT:
                    continue
                if test.treatment not in (test.control, state.incumbent):
                    bad = Infeasible(test.treatment, fault.fault, fault.message)
                    name, reason = self.options.target, reason_of(bad)
                    self.history.quarantine(name, bad.settings, reason=reason, at=now)
                    state = state.without(bad)
        return state

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


def _fitting(stored: Settings, running: Settings) -> Settings:
    """What was stored, with the policy's knobs of today: one that came since is as it runs."""
    return Settings({name: stored.get(name, value) for name, value in running.items()})


def _ended_at(summary: ExperimentSummary) -> float:
    return summary.started_at if summary.ended_at is None else summary.ended_at
