"""What is infeasible, as the quarantine in the history holds it: the fault leads the reason."""

from __future__ import annotations

from autotuner.domain.feasibility import Fault, Infeasible
from autotuner.domain.knobs import Settings

_FAULTS = {fault.value: fault for fault in Fault}


def reason_of(bad: Infeasible) -> str:
    """`FAULT: what the target said`, which `infeasible_of` understands."""
    return f"{bad.fault.value}: {bad.told}"


def infeasible_of(settings: Settings, reason: str) -> Infeasible | None:
    """What a quarantine for good says; None where a fault is not its reason."""
    word, _, told = reason.partition(": ")
    fault = _FAULTS.get(word)
    return None if fault is None else Infeasible(settings, fault, told)
