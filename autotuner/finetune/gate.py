"""The gate before any live test: are the new weights better on what they never saw? Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from autotuner.domain.fine_tuning import Scores


@dataclass(frozen=True)
class GateRules:
    """Losses in nats per answer token, agreement as a share 0..1.

    The loss on new held-out examples has to fall by more than `min_gain`, that on older ones may
    rise by `forgetting`, and `agreement_margin` of the tokens may be lost. Answers have to follow
    from their prompts by more than `pairing` (0: not asked): where labels were mixed up, weights
    learn what answers look like, and their loss falls, but nothing of what belongs to what.
    """

    min_gain: float = 0.0
    forgetting: float = 0.05
    agreement_margin: float = 0.01
    pairing: float = 0.05


def refusal(scores: Scores, rules: GateRules) -> str | None:
    """Why the weights are not worth a live test, with the figures; None where they are."""
    if math.isnan(scores.new_before):
        return "there are no held-out examples to judge by: take in more, or raise held_out_share"
    told = f"the held-out loss went from {scores.new_before:.4f} to {scores.new_after:.4f} nats"
    if not scores.new_before - scores.new_after > rules.min_gain:
        return f"{told}: a fall of more than {rules.min_gain:g} is asked for"
    if rules.pairing > 0 and not scores.pairing > rules.pairing:
        return (
            "new answers are likelier after their own prompts than after others': certain are "
            f"{scores.pairing:.4f} nats per token, and more than {rules.pairing:g} are asked for: "
            "were the labels mixed up?"
        )
    if scores.forgetting > rules.forgetting:
        return (
            f"the loss on older examples went from {scores.old_before:.4f} to "
            f"{scores.old_after:.4f} nats: a rise of {rules.forgetting:g} is allowed"
        )
    if math.isinf(scores.old_after) or math.isnan(scores.old_after) > math.isnan(scores.old_before):
        return f"the loss on older examples is {scores.old_after}: no number"
    if scores.agreement_after < scores.agreement_before - rules.agreement_margin:
        return (
            f"the agreement with held-out answers went from {scores.agreement_before:.2%} to "
            f"{scores.agreement_after:.2%}: a loss of {rules.agreement_margin:.2%} is allowed"
        )
    return None


def described(scores: Scores) -> str:
    """The figures in a sentence."""
    told = (
        f"held-out loss {scores.new_before:.4f} → {scores.new_after:.4f} nats, agreement "
        f"{scores.agreement_before:.2%} → {scores.agreement_after:.2%}"
    )
    if math.isnan(scores.forgetting):
        return told
    return f"{told}, loss on older examples {scores.old_before:.4f} → {scores.old_after:.4f}"
