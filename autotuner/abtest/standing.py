"""Where a test's guardrails stand after its looks; never what follows from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum

from autotuner.domain.experiment import Experiment, Guardrail, GuardrailLook


class Standing(StrEnum):
    """Where a guardrail stands. UNPROVEN: measured, and neither kept nor broken for sure."""

    KEPT = "kept"
    BROKEN = "broken"
    UNPROVEN = "not proven"
    UNMEASURED = "not measured"


def watched(experiment: Experiment) -> int:
    """How many measures are watched for harm: the guardrails and the primary."""
    return 1 + len(experiment.plan.guardrails)


def looks_at(experiment: Experiment, rail: Guardrail) -> Sequence[GuardrailLook]:
    """What each look said of the guardrail, in order."""
    seen = (found for look in experiment.looks for found in look.guardrails)
    return [found for found in seen if found.measure == rail.measure]


def standing(experiment: Experiment, rail: Guardrail) -> Standing:
    """Where it stands by all looks: what was shown once, at its level, stays shown.

    Broken takes evidence as many times as strong as there are measures watched: watching more
    must not find harm more often where there is none.
    """
    alpha, seen = experiment.plan.alpha, looks_at(experiment, rail)
    if not seen or seen[-1].pairs == 0:
        return Standing.UNMEASURED
    if max(look.log_e_broken for look in seen) >= math.log(watched(experiment) / alpha):
        return Standing.BROKEN
    if max(look.log_e_kept for look in seen) >= -math.log(alpha):
        return Standing.KEPT
    return Standing.UNPROVEN
