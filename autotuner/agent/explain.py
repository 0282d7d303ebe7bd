"""The reason of a proposal as figures, and the sentence that tells it. It decides nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autotuner.agent.candidates import figures
from autotuner.agent.fluid import Prediction
from autotuner.agent.systems import Systems
from autotuner.domain.errors import InvalidSettingsError
from autotuner.domain.explanation import Explanation, NearTrial
from autotuner.domain.goals import GoalKind
from autotuner.domain.knobs import KnobSpace, Settings
from autotuner.domain.ports import PastTrial, ProposalContext

_NEAREST = 3  # past trials told; chosen
_FIGURES = (
    "attainment",
    "ttft_short_s",
    "ttft_long_s",
    "tpot_s",
    "e2el_s",
    "full_step_s",
    "decoding",
    "kv_load",
    "busy",
    "devices",
    "energy_j_per_token",
)


@dataclass(frozen=True)
class Belief:
    """What is believed of the candidate: the effect on the objective and its standard deviation,
    both attainments, and how the choice came about. `considered`: candidates it was chosen among.
    """

    effect: float
    deviation: float
    attainment: float
    incumbent_attainment: float
    method: str
    considered: int
    model_note: str


def explained(
    context: ProposalContext,
    system: Systems,
    prediction: Prediction,
    candidate: Settings,
    belief: Belief,
) -> Explanation:
    """The reason of `candidate`; `prediction` is the incumbent's (row 0) and its own (row 1).

    The attainments told are the corrected ones, the other figures the model's.
    """
    reach = 1.96 * belief.deviation
    low, high = belief.effect - reach, belief.effect + reach
    if not context.goal.saves:  # an attainment stays within 0 and 1
        low = max(low, -belief.incumbent_attainment)
        high = min(high, 1 - belief.incumbent_attainment)
    return Explanation(
        seen=seen_figures(context, system),
        effect=belief.effect,
        low=low,
        high=high,
        incumbent={**_figures(prediction, 0), "attainment": belief.incumbent_attainment},
        candidate={**_figures(prediction, 1), "attainment": belief.attainment},
        nearest=nearest(context.space, context.past, candidate),
        method=belief.method,
        considered=belief.considered,
        model_note=belief.model_note,
    )


def seen_figures(context: ProposalContext, system: Systems) -> dict[str, float]:
    """What was looked at: the context's own figures and the workload's, the known ones."""
    mix = system.mix
    longest = np.where(mix.weight > 0, mix.prompt_tokens, 0).max()
    return {
        **figures(context),
        "planned_rate_rps": float(system.rate_rps[0]) * context.replicas,
        "prompt_tokens_mean": float((mix.weight * mix.prompt_tokens).sum()),
        "prompt_tokens_tail": float(longest),
        "output_tokens_mean": float((mix.weight * mix.output_tokens).sum()),
    }


def nearest(
    space: KnobSpace, past: Sequence[PastTrial], candidate: Settings
) -> tuple[NearTrial, ...]:
    """The past trials with the treatments nearest to the candidate, the nearest first."""
    told = []
    for trial in past:
        distance = _distance(space, trial.treatment, candidate)
        if distance is not None and math.isfinite(trial.effect):
            told.append(
                NearTrial(
                    trial.id,
                    trial.treatment.changed_from(trial.control),
                    trial.effect,
                    trial.low,
                    trial.high,
                    trial.verdict,
                    distance,
                )
            )
    return tuple(sorted(told, key=lambda near: near.distance)[:_NEAREST])


def _distance(space: KnobSpace, one: Settings, other: Settings) -> int | None:
    """Levels apart, summed over the knobs; None where one of them does not fit the space."""
    try:
        pairs = zip(space.indices(one), space.indices(other), strict=True)
        return sum(abs(a - b) for a, b in pairs)
    except (InvalidSettingsError, KeyError):
        return None


def _figures(prediction: Prediction, row: int) -> dict[str, float]:
    values = {name: float(getattr(prediction, name)[row]) for name in _FIGURES}
    return {name: value for name, value in values.items() if math.isfinite(value)}


_HOW: Mapping[str, str] = {
    "policy": "the agent's walks and the model",
    "correction": "the model corrected by past experiments",
    "exploration": "an exploration of what is uncertain",
}


def sentence(context: ProposalContext, candidate: Settings, reason: Explanation) -> str:
    """One line for people: what was seen, what changes, what is expected of it."""
    incumbent = context.incumbent
    changes = ", ".join(
        f"{name} {incumbent[name]} → {value}"
        for name, value in candidate.changed_from(incumbent).items()
    )
    unit = "attainment" if context.goal.kind is GoalKind.GOODPUT else f"{context.goal.kind} worth"
    before, after = reason.incumbent["attainment"], reason.candidate["attainment"]
    return (
        f"{_seen_words(context, reason.seen)}; {changes}: {_HOW[reason.method]} predicts "
        f"{reason.effect:+.3f} {unit} (95% interval {reason.low:+.3f} to {reason.high:+.3f}; "
        f"attainment from {before:.2f} to {after:.2f}), the best of {reason.considered} "
        f"candidates{_near_words(reason.nearest)}; {reason.model_note}"
    )


def _seen_words(context: ProposalContext, seen: Mapping[str, float]) -> str:
    known = f"{seen['attainment']:.2f}" if "attainment" in seen else "unknown"
    forecast = " (forecast)" if seen["planned_rate_rps"] > context.workload.rate_rps else ""
    return (
        f"attainment {known} of {context.slo.describe()} at {seen['planned_rate_rps']:.3g} "
        f"requests/s{forecast}, prompts {seen['prompt_tokens_mean']:.0f} tokens on average and "
        f"{seen['prompt_tokens_tail']:.0f} in the tail"
    )


def _near_words(near: Sequence[NearTrial]) -> str:
    if not near:
        return ""
    first = near[0]
    levels = "level" if first.distance == 1 else "levels"
    return (
        f", {first.distance} {levels} from a trial that ended {first.verdict} ({first.effect:+.3f})"
    )
