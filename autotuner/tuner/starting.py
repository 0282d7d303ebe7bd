"""Which test starts now, if any: one that confirms, one that a person asked for, a proposal."""

from __future__ import annotations

from dataclasses import replace

from autotuner.abtest.planning import described
from autotuner.domain.errors import ProposerBusyError
from autotuner.domain.experiment import Experiment
from autotuner.domain.goals import GoalKind, devices_of
from autotuner.domain.knobs import Settings
from autotuner.domain.mode import Mode
from autotuner.domain.ports import Proposal, ProposalContext, Proposer
from autotuner.tuner.aims import Aim, aim_of, hoped_for
from autotuner.tuner.candidates import Moment, experiment_on, started, unfit
from autotuner.tuner.declared import answered, refused
from autotuner.tuner.plans import confirming, still_measuring
from autotuner.tuner.rebuilds import restart_s, too_costly, too_late
from autotuner.tuner.values import Action, Decision, Observation, Rules, TunerState
from autotuner.tuner.words import difference, seed_of
from autotuner.tuner.workload import drifted, forgotten


def considered(
    state: TunerState, seen: Observation, now: float, rules: Rules, proposer: Proposer
) -> Decision:
    """The test that starts in this cycle, or why none does."""
    first = state.to_confirm if state.mode is Mode.ACTIVE else None
    asked = seen.declared if state.mode is Mode.ACTIVE else None
    if spent := seen.budget.refusal() if seen.budget is not None else None:
        held = Decision(Action.HOLD, spent, state)
        return held if asked is None else refused(state, asked, spent)
    wanted = first is not None or asked is not None
    if not wanted and now < state.idle_until:
        return Decision(Action.HOLD, f"resting for another {state.idle_until - now:.0f} s", state)
    traffic = seen.traffic
    if traffic is None or traffic.requests < rules.min_requests:
        have = 0 if traffic is None else traffic.requests
        few = f"too little traffic to judge: {have} of {rules.min_requests} requests"
        return Decision(Action.HOLD, few, state)
    moment = Moment(state, seen, traffic, now, rules)
    if first is not None:
        return _confirmed(moment, first)
    if waits := still_measuring(state, seen, rules):
        return Decision(Action.HOLD, waits, state)
    return answered(moment, asked) if asked is not None else _on_our_own(moment, proposer)


def _confirmed(moment: Moment, first: Experiment) -> Decision:
    """The second test of a candidate that was accepted, at once: nothing new has to be thought."""
    ready = replace(moment.state, to_confirm=None)
    if obsolete := _obsolete(moment, first):
        text = f"the test that should confirm {first.id} is dropped: {obsolete}"
        return Decision(Action.HOLD, text, ready)
    plan, why = confirming(first, moment.rules), f"confirms {first.id}: {first.rationale}"
    if cost := too_costly(plan, None, moment.seen.budget):
        text = f"the test that should confirm {first.id} waits: {cost}"
        return Decision(Action.HOLD, text, moment.state)
    experiment = experiment_on(moment, first.treatment, plan, first.proposer, why)
    changes = difference(first.treatment, first.control)
    text = f"testing {changes} once more: {first.id} was accepted, and has to be confirmed"
    return started(ready, experiment, text)


def _obsolete(moment: Moment, first: Experiment) -> str | None:
    if not moment.rules.confirm:
        return "the policy asks for no confirm run any more"
    if first.control != moment.state.incumbent:
        return "the incumbent is another one by now"
    return unfit(moment, first.treatment)


def _on_our_own(moment: Moment, proposer: Proposer) -> Decision:
    """A test that nobody asked for: the previous settings after a drift, else a proposal."""
    state, traffic, now, rules = moment.state, moment.traffic, moment.now, moment.rules
    if moves := drifted(state, traffic, now, rules):
        why = f"the workload moved ({moves}): what was learnt under the old one is forgotten"
        return Decision(Action.HOLD, why, forgotten(state, moves, traffic, now))
    aim = aim_of(traffic, moment.seen, rules)
    if isinstance(aim, str):
        return Decision(Action.HOLD, aim, state)
    if rules.retest and state.retest and state.previous is not None:
        again = _retested(state.previous, state.retest)
        return _tested(replace(moment, state=replace(state, retest="")), again, aim)
    try:
        proposal = proposer.propose(_context(moment, aim))
    except ProposerBusyError as busy:
        return Decision(Action.HOLD, str(busy), state)
    if proposal is None:
        text = f"no candidate promises {_GAINS[aim.goal.kind]} that is worth a test"
        return Decision(Action.HOLD, text, _resting(moment))
    return _tested(moment, proposal, aim)


_GAINS = {
    GoalKind.GOODPUT: "a gain",
    GoalKind.COST: "a lower cost",
    GoalKind.ENERGY: "a lower use of energy",
    GoalKind.DEVICES: "a use of fewer devices",
}


def _retested(previous: Settings, moves: str) -> Proposal:
    """The settings before the incumbent: under another workload they may be the better ones."""
    why = f"the workload moved ({moves}): is the incumbent still better than the settings before?"
    return Proposal(previous, "retest", why)


def _pointless(moment: Moment, candidate: Settings, aim: Aim) -> str | None:
    """Why a candidate that is fit can't be worth its test, whatever it does to requests."""
    state = moment.state
    if aim.goal.kind is GoalKind.DEVICES and devices_of(candidate) >= devices_of(state.incumbent):
        return f"{difference(candidate, state.incumbent)} frees no device"
    return None


def _tested(moment: Moment, proposal: Proposal, aim: Aim) -> Decision:
    state, candidate = moment.state, proposal.settings
    effect = hoped_for(aim, proposal, state.incumbent)
    proposal = replace(proposal, predicted_effect=effect)
    resting = _resting(moment)
    unfitness = unfit(moment, candidate, stepwise=True)
    if refusal := unfitness or _pointless(moment, candidate, aim):
        text = f"the proposal is not tested: {refusal}"
        return Decision(Action.HOLD, text, resting, proposal=proposal)
    ready = moment.prepared(aim.plan, candidate, effect)
    resting = moment.with_noise(resting, ready.noise)
    changes = difference(candidate, state.incumbent)
    steady_for_s, met = moment.seen.steady_for_s, moment.traffic.attainment
    late = too_late(ready.plan, effect, met, steady_for_s)
    if refusal := late or too_costly(ready.plan, effect, moment.seen.budget):
        text = f"the proposal is not tested: {changes}: {refusal}"
        return Decision(Action.HOLD, text, resting, proposal=proposal)
    if refusal := ready.obstacle(effect, moment.rate_rps):
        return Decision(Action.HOLD, refusal, resting, proposal=proposal)
    if state.mode is Mode.ADVISORY:
        advice = f"advisory: would test {changes} ({proposal.reason})"
        return Decision(Action.HOLD, advice, resting, proposal=proposal)
    experiment = experiment_on(moment, candidate, ready.plan, proposal.proposer, proposal.reason)
    text = f"testing {changes}: {proposal.reason}; {described(ready.plan, ready.noise)}"
    known = moment.with_noise(state, ready.noise)
    return replace(started(known, experiment, text), proposal=proposal)


def _resting(moment: Moment) -> TunerState:
    return replace(moment.state, idle_until=moment.now + moment.rules.retry_s)


def _context(moment: Moment, aim: Aim) -> ProposalContext:
    state, seen, traffic, rules = moment.state, moment.seen, moment.traffic, moment.rules
    return ProposalContext(
        space=rules.space.held(state.incumbent),
        incumbent=state.incumbent,
        slo=rules.slo,
        workload=traffic.workload,
        window=seen.window,
        attainment=traffic.attainment,
        steps=seen.steps,
        forecast_rate_rps=seen.forecast_rate_rps,
        past=state.past,
        quarantined=state.banned(moment.now),
        seed=seed_of(rules.target, moment.now),
        goal=aim.goal,
        rebuild_s=restart_s(state, seen.live, rules),
        horizon_s=seen.steady_for_s,
        kv_tokens=seen.kv_tokens,
        prefix_share=seen.prefix_share,
        replicas=rules.replicas,
        infeasible=state.infeasible,
    )
