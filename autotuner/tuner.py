"""The brain: from what is known and what was seen to one decision. Pure: no clock, no I/O.

`decide` reads top to bottom in the order of importance: a person's word, then whether anything can
be trusted, then drift, then the running experiment, then a new proposal.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum

from autotuner.abtest import switchback
from autotuner.abtest.design import arm_of, plan_check
from autotuner.abtest.view import View
from autotuner.domain.experiment import Conclusion, Experiment, Plan, Verdict
from autotuner.domain.knobs import KnobSpace, Settings
from autotuner.domain.mode import Mode
from autotuner.domain.ports import (
    LiveSettings,
    PastTrial,
    Proposal,
    ProposalContext,
    Proposer,
    Workload,
)
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import ExposureBatch, StepRecord, Window


class Action(StrEnum):
    HOLD = "HOLD"
    START = "START"
    CONTINUE = "CONTINUE"
    PROMOTE = "PROMOTE"
    ROLLBACK = "ROLLBACK"


@dataclass(frozen=True)
class Rules:
    """What the policy fixes for the brain. Times in seconds, attainment in 0..1."""

    target: str
    space: KnobSpace
    slo: SLO
    plan: Plan
    goal_attainment: float = 0.99
    min_requests: int = 30
    pause_s: float = 60.0
    retry_s: float = 300.0


@dataclass(frozen=True)
class Traffic:
    """The requests that recently lived under the incumbent alone."""

    requests: int
    attainment: float  # NaN without requests
    workload: Workload


@dataclass(frozen=True)
class Observation:
    """One cycle's view of the world, loaded once and never changed.

    `problem` says why the data can't be trusted (scrape failed, stale, invalid); then `live` and
    `exposures` may be missing.
    """

    live: LiveSettings | None
    batch: ExposureBatch | None = None  # since the running experiment's first slot
    traffic: Traffic | None = None
    window: Window | None = None
    steps: tuple[StepRecord, ...] = ()
    forecast_rate_rps: float | None = None
    problem: str | None = None
    wish: str | None = None  # what a person asked for: rollback


@dataclass(frozen=True)
class TunerState:
    """What the brain remembers between cycles.

    `intended` is what was last applied, with generation and boot: what differs from it is drift.
    `unconfirmed` was sent and its outcome is unknown; `unsettled`: the incumbent may not be live.
    """

    incumbent: Settings
    intended: LiveSettings | None = None
    mode: Mode = Mode.ACTIVE
    experiment: Experiment | None = None
    idle_until: float = 0.0
    past: tuple[PastTrial, ...] = ()
    quarantined: frozenset[str] = frozenset()
    unconfirmed: Settings | None = None
    unsettled: bool = False
    down_since: float | None = None


@dataclass(frozen=True)
class Decision:
    """What to do and why. The daemon records it, then applies `apply`, then keeps `state`.

    `opens_slot`: applying starts a slot of the experiment. `concluded`: the experiment that ended
    here. `alert`: something that a person should know at once.
    """

    action: Action
    reason: str
    state: TunerState
    apply: Settings | None = None
    opens_slot: bool = False
    concluded: Experiment | None = None
    proposal: Proposal | None = None
    alert: str | None = None


@dataclass(frozen=True)
class Tuner:
    """Decides; `proposer` is the only guest (it computes, and does no I/O either)."""

    rules: Rules
    proposer: Proposer

    def decide(self, state: TunerState, seen: Observation, now: float) -> Decision:
        """The one decision of a cycle at `now` (the daemon's clock, s)."""
        if seen.wish == "rollback":
            return self.stop(state, "a person asked for a rollback", now)
        if state.mode is Mode.PAUSED and state.experiment is not None:
            return self.stop(state, "paused by a person", now)
        if seen.live is None:
            return self._blind(state, seen, now)
        state = replace(state, down_since=None)
        if drift := self._drift(state, seen.live, now):
            return drift
        if state.mode is Mode.PAUSED:
            return Decision(Action.HOLD, "paused: observing only", state)
        if state.unsettled:
            why = "the incumbent is not confirmed live: it is applied again"
            return Decision(Action.ROLLBACK, why, state, apply=state.incumbent)
        if state.experiment is not None:
            return self._advance(state, state.experiment, seen, now)
        if seen.problem is not None:
            return Decision(Action.HOLD, seen.problem, state)
        return self._consider(state, seen, now)

    def failed(self, before: TunerState, decision: Decision, refused: str | None) -> TunerState:
        """What is remembered when `decision.apply` was refused (why) or its outcome is unknown.

        A running test asks again by itself; anything else leaves the incumbent to be settled.
        """
        if refused is not None and decision.state.experiment is not None:
            candidate = decision.state.experiment.treatment.digest
            banned = replace(before, quarantined=before.quarantined | {candidate}, experiment=None)
            return replace(banned, unsettled=True)
        if decision.opens_slot and before.experiment is not None:
            return replace(before, unconfirmed=decision.apply)
        kept = before if decision.action is Action.START else decision.state
        return replace(kept, unconfirmed=decision.apply, unsettled=True)

    # ---- a person's word, and trust
    def stop(self, state: TunerState, why: str, now: float) -> Decision:
        """The running test ended and the incumbent applied, because of `why`."""
        if state.experiment is None:
            return Decision(
                Action.ROLLBACK, f"{why}: the incumbent is applied", state, apply=state.incumbent
            )
        return self._conclude(state, switchback.abort(state.experiment, why), now)

    def _blind(self, state: TunerState, seen: Observation, now: float) -> Decision:
        why = seen.problem or "the target does not answer"
        if state.experiment is None:
            return Decision(Action.HOLD, why, state, alert="TargetDown")
        since = state.down_since if state.down_since is not None else now
        view = View(live=None, unreachable_s=now - since)
        step = switchback.advance(state.experiment, view, now, self.rules.slo)
        if not step.experiment.running:
            return self._conclude(state, step.experiment, now)
        held = replace(state, experiment=step.experiment, down_since=since)
        return Decision(Action.HOLD, f"{why}; {step.reason}", held, alert="TargetDown")

    # ---- drift
    def _drift(self, state: TunerState, live: LiveSettings, now: float) -> Decision | None:
        """Repairs what a restart undid, adopts what a person changed; None when all is as meant."""
        intended = state.intended
        if intended is None or (
            (live.boot_id, live.generation) == (intended.boot_id, intended.generation)
        ):
            return None
        running = self.rules.space.restrict(live.settings)
        if state.mode is not Mode.ACTIVE:
            moved = replace(state, incumbent=running, intended=live)
            return Decision(Action.HOLD, f"{state.mode}: {running!r} runs now, noted", moved)
        if live.boot_id != intended.boot_id:
            return None if state.experiment else self._repair(state, live)
        if running in (state.unconfirmed, self.rules.space.restrict(intended.settings)):
            return None
        why = f"a person changed the settings to {running!r}: adopted as the incumbent"
        adopted = replace(state, incumbent=running, intended=live)
        if state.experiment is None:
            return Decision(Action.HOLD, why, adopted, alert="SettingsDrift")
        ended = switchback.abort(state.experiment, why)
        concluded = self._after(adopted, ended, now)
        return Decision(Action.HOLD, why, concluded, concluded=ended, alert="SettingsDrift")

    def _repair(self, state: TunerState, live: LiveSettings) -> Decision:
        """Between tests; within one the test itself drops the pair and applies its next slot."""
        why = "the target restarted and lost its settings: the incumbent is put back"
        current = replace(state, intended=live)
        return Decision(
            Action.ROLLBACK, why, current, apply=state.incumbent, alert="TargetRestarted"
        )

    # ---- the running experiment
    def _advance(
        self, state: TunerState, experiment: Experiment, seen: Observation, now: float
    ) -> Decision:
        view = _view(seen, state.intended)
        step = switchback.advance(experiment, view, now, self.rules.slo)
        if not step.experiment.running:
            return self._conclude(state, step.experiment, now)
        after = replace(state, experiment=step.experiment, intended=seen.live)
        return Decision(
            Action.CONTINUE,
            step.reason,
            after,
            apply=step.apply,
            opens_slot=step.apply is not None,
            alert="TargetRestarted" if view.boot_changed else None,
        )

    def _conclude(self, state: TunerState, ended: Experiment, now: float) -> Decision:
        """The winner of a closed experiment is applied: the candidate only when ACCEPTED."""
        verdict = _conclusion(ended)
        after = self._after(state, ended, now)
        accepted = verdict.verdict is Verdict.ACCEPTED
        harmful = verdict.verdict is Verdict.HARMFUL
        return Decision(
            Action.PROMOTE if accepted else Action.ROLLBACK,
            f"{verdict.verdict}: {verdict.reason}",
            after,
            apply=after.incumbent,
            concluded=ended,
            alert="ExperimentHarmful" if harmful else None,
        )

    def _after(self, state: TunerState, ended: Experiment, now: float) -> TunerState:
        """What is remembered of an ended experiment."""
        verdict = _conclusion(ended)
        trial = PastTrial(ended.control, ended.treatment, verdict.effect, verdict.verdict)
        harmful = verdict.verdict is Verdict.HARMFUL
        return replace(
            state,
            experiment=None,
            incumbent=ended.treatment if verdict.verdict is Verdict.ACCEPTED else state.incumbent,
            idle_until=now + self.rules.pause_s,
            past=(*state.past, trial),
            quarantined=state.quarantined | {ended.treatment.digest}
            if harmful
            else state.quarantined,
        )

    # ---- a new proposal
    def _consider(self, state: TunerState, seen: Observation, now: float) -> Decision:
        if refusal := self._not_now(state, seen, now):
            return Decision(Action.HOLD, refusal, state)
        proposal = self.proposer.propose(self._context(state, seen, now))
        resting = replace(state, idle_until=now + self.rules.retry_s)
        if proposal is None:
            return Decision(
                Action.HOLD, "no candidate promises a gain that is worth a test", resting
            )
        if refusal := self._unfit(state, proposal):
            return Decision(Action.HOLD, refusal, resting, proposal=proposal)
        if state.mode is Mode.ADVISORY:
            advice = f"advisory: would test {_diff(proposal.settings, state.incumbent)}"
            return Decision(
                Action.HOLD, f"{advice} ({proposal.reason})", resting, proposal=proposal
            )
        return self._start(state, proposal, now)

    def _start(self, state: TunerState, proposal: Proposal, now: float) -> Decision:
        seed = _seed(self.rules.target, now)
        planned = Experiment(
            id=f"{self.rules.target}-{seed:012x}",
            target=self.rules.target,
            control=state.incumbent,
            treatment=proposal.settings,
            plan=self.rules.plan,
            seed=seed,
            started_at=now,
            proposer=proposal.proposer,
            rationale=proposal.reason,
        )
        return Decision(
            Action.START,
            f"testing {_diff(proposal.settings, state.incumbent)}: {proposal.reason}",
            replace(state, experiment=planned),
            apply=planned.settings_of(arm_of(seed, 0)),
            opens_slot=True,
            proposal=proposal,
        )

    def _not_now(self, state: TunerState, seen: Observation, now: float) -> str | None:
        """Why no test starts in this cycle; None when one may."""
        if now < state.idle_until:
            return f"resting for another {state.idle_until - now:.0f} s"
        if seen.traffic is None or seen.traffic.requests < self.rules.min_requests:
            have = 0 if seen.traffic is None else seen.traffic.requests
            return f"too little traffic to judge: {have} of {self.rules.min_requests} requests"
        if seen.traffic.attainment >= self.rules.goal_attainment:
            goal = self.rules.goal_attainment
            return f"attainment {seen.traffic.attainment:.1%} meets the goal of {goal:.1%}"
        return None

    def _context(self, state: TunerState, seen: Observation, now: float) -> ProposalContext:
        traffic = seen.traffic
        assert traffic is not None  # `_not_now` saw to it
        return ProposalContext(
            space=self.rules.space,
            incumbent=state.incumbent,
            slo=self.rules.slo,
            workload=traffic.workload,
            window=seen.window,
            attainment=traffic.attainment,
            steps=seen.steps,
            forecast_rate_rps=seen.forecast_rate_rps,
            past=state.past,
            quarantined=state.quarantined,
            seed=_seed(self.rules.target, now),
        )

    def _unfit(self, state: TunerState, proposal: Proposal) -> str | None:
        """Why a proposal is not tested, whoever made it; None when it is fit."""
        self.rules.space.validate(proposal.settings)
        if proposal.settings == state.incumbent:
            return "the proposal is what already runs"
        if proposal.settings.digest in state.quarantined:
            return f"the proposal {proposal.settings!r} is quarantined"
        if not self.rules.space.within_step(state.incumbent, proposal.settings):
            return f"the proposal {proposal.settings!r} moves a knob further than one step allows"
        if proposal.predicted_effect is None:
            return None
        return plan_check(proposal.predicted_effect, self.rules.plan.prior_sd, self.rules.plan)


def _view(seen: Observation, intended: LiveSettings | None) -> View:
    """What the running test is shown of this cycle."""
    batch, live = seen.batch, seen.live
    rebooted = live is not None and intended is not None and live.boot_id != intended.boot_id
    return View(
        live=live,
        exposures=batch.exposures if batch else (),
        in_flight=batch.in_flight if batch else {},
        overrun=batch.overrun if batch else False,
        boot_changed=rebooted,
    )


def _conclusion(ended: Experiment) -> Conclusion:
    assert ended.conclusion is not None, "a closed experiment has a conclusion"
    return ended.conclusion


def _diff(candidate: Settings, incumbent: Settings) -> str:
    """`knob old→new` for each knob that changes."""
    changes = candidate.changed_from(incumbent)
    return ", ".join(f"{k} {incumbent.get(k)}→{v}" for k, v in changes.items())


def _seed(target: str, now: float) -> int:
    """A seed that a replay finds again, since it follows from what the history holds."""
    return int.from_bytes(hashlib.sha256(f"{target}:{now!r}".encode()).digest()[:6])
