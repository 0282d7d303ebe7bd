"""What follows from an ended test: what is applied, what is remembered, who is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from autotuner.abtest.noise import noise_after, settling_s
from autotuner.abtest.planning import Noise
from autotuner.domain.experiment import Conclusion, Experiment, Verdict
from autotuner.domain.ports import PastTrial
from autotuner.tuner.aims import undoes_a_saving
from autotuner.tuner.rebuilds import rebuild_s
from autotuner.tuner.values import Action, Decision, Observation, Rules, TunerState
from autotuner.tuner.workload import accepted_under


def concluded(
    state: TunerState, ended: Experiment, seen: Observation, now: float, rules: Rules
) -> Decision:
    """The winner of a closed experiment is applied: the candidate only when it is accepted.

    Where the policy asks for a confirm run, the first ACCEPTED does not promote: the incumbent
    comes back, and the same candidate has to win a second test.
    """
    verdict = conclusion_of(ended)
    known = after(state, ended, seen, now, rules)
    promoted = known.incumbent != state.incumbent
    more = "; a second test has to confirm it" if known.to_confirm is ended else ""
    return Decision(
        Action.PROMOTE if promoted else Action.ROLLBACK,
        f"{verdict.verdict}: {verdict.reason}{more}",
        known,
        apply=known.incumbent,
        concluded=ended,
        alert=_alert(ended),
    )


def after(
    state: TunerState, ended: Experiment, seen: Observation, now: float, rules: Rules
) -> TunerState:
    """What is remembered of an ended experiment.

    A test that has to be confirmed says nothing until it is. A confirm run that was cut short is
    not repeated: its candidate has to win a first test anew.
    """
    verdict = conclusion_of(ended).verdict
    accepted = verdict is Verdict.ACCEPTED and not is_aa(ended)
    first = accepted and _only_first(ended, rules)
    tests, won = _counts(state, ended)
    known = replace(
        state,
        experiment=None,
        idle_until=now + rules.pause_s,
        past=state.past if first else _past(state, ended),
        quarantined=_quarantined(state, ended, now, rules),
        to_confirm=ended if first else None,
        noise=_noise(state, ended, seen, rules),
        rebuild_s=rebuild_s(ended, rules.space, state.rebuild_s),
        tests=tests,
        accepted=won,
    )
    return accepted_under(known, ended.treatment, seen.traffic) if accepted and not first else known


def _only_first(ended: Experiment, rules: Rules) -> bool:
    """Whether another test has to confirm what this one says."""
    return rules.confirm and not ended.plan.confirms


def conclusion_of(ended: Experiment) -> Conclusion:
    assert ended.conclusion is not None, "a closed experiment has a conclusion"
    return ended.conclusion


def is_aa(experiment: Experiment) -> bool:
    """Whether both arms are the same settings: a check of the chain, not of a candidate."""
    return experiment.control == experiment.treatment


def _alert(ended: Experiment) -> str | None:
    """An A/A that found a difference says that no verdict of this chain can be trusted."""
    verdict = conclusion_of(ended).verdict
    if is_aa(ended):
        return "AAFailed" if verdict in (Verdict.ACCEPTED, Verdict.HARMFUL) else None
    return "ExperimentHarmful" if verdict is Verdict.HARMFUL else None


def _past(state: TunerState, ended: Experiment) -> tuple[PastTrial, ...]:
    """With this trial, unless it says nothing of the candidate."""
    verdict = conclusion_of(ended)
    if is_aa(ended) or verdict.verdict is Verdict.ABORTED:
        return state.past
    return (
        *state.past,
        PastTrial(
            ended.control,
            ended.treatment,
            verdict.effect,
            verdict.verdict,
            verdict.low,
            verdict.high,
            ended.plan.outcome,
            ended.id,
        ),
    )


def _quarantined(
    state: TunerState, ended: Experiment, now: float, rules: Rules
) -> Mapping[str, float]:
    """Without what has expired, with the candidate where it did harm.

    With the control where it had saved too much: a saving goal would ask for it again and again.
    """
    held = {digest: until for digest, until in state.quarantined.items() if until > now}
    verdict, until = conclusion_of(ended).verdict, now + rules.quarantine_s
    if verdict is Verdict.HARMFUL and not is_aa(ended):
        held[ended.treatment.digest] = max(until, held.get(ended.treatment.digest, until))
    kept = verdict is Verdict.ACCEPTED and not is_aa(ended) and not _only_first(ended, rules)
    if kept and undoes_a_saving(ended, rules):
        held[ended.control.digest] = until
    return held


def _counts(state: TunerState, ended: Experiment) -> tuple[int, int]:
    """Tests and accepted ones so far, for the level of the next.

    A/A tests and confirm runs claim nothing new. A test that was aborted counts once somebody
    could have looked at a pair.
    """
    verdict = conclusion_of(ended)
    unseen = verdict.verdict is Verdict.ABORTED and verdict.pairs == 0
    if is_aa(ended) or ended.plan.confirms or unseen:
        return state.tests, state.accepted
    return state.tests + 1, state.accepted + (verdict.verdict is Verdict.ACCEPTED)


def _noise(state: TunerState, ended: Experiment, seen: Observation, rules: Rules) -> Noise | None:
    main = rules.main_plan
    same = (ended.plan.outcome, ended.plan.design) == (main.outcome, main.design)
    if not (rules.plan_from_noise and same):
        return state.noise
    noise = noise_after(ended, state.noise)
    exposures = seen.batch.exposures if seen.batch is not None else ()
    settled_s = settling_s(ended, exposures, rules.slo)
    return replace(noise, relaxation_s=settled_s) if noise and settled_s > 0 else noise
