"""What of a target has to outlive the daemon, beyond what the history's tables hold; as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from autotuner.domain.ports import LiveSettings
from autotuner.tuner import TunerState, WorkloadMark


def facts_of(live: LiveSettings, state: TunerState) -> dict[str, Any]:
    """What the next start must know: what ran last, and since when tests are evidence of what."""
    mark = state.tuned_for
    return {
        "boot_id": live.boot_id,
        "generation": live.generation,
        "server": live.server,
        "workload": asdict(mark) if mark is not None else None,
        "evidence_since": state.evidence_since,
    }


def evidence_since(facts: Mapping[str, Any]) -> float:
    """From when on tests are evidence (epoch s); 0: all are."""
    return float(facts.get("evidence_since", 0.0))


def workload_of(facts: Mapping[str, Any]) -> WorkloadMark | None:
    """The workload that the incumbent is tuned for.

    JSON holds a figure that is not known as a string that `float` reads.
    """
    stored = facts.get("workload")
    if stored is None:
        return None
    return WorkloadMark(**{name: float(value) for name, value in stored.items()})
