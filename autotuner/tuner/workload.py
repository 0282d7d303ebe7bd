"""Whether the workload is still the one that the incumbent was accepted under.

What was learnt under another workload is no evidence any more: candidates that were rejected then
may be proposed again, and the incumbent may be set against the one before it. A test that began
under the old workload and goes on under the new one measures neither. Quarantine stays.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from autotuner.domain.knobs import Settings
from autotuner.domain.ports import Workload
from autotuner.tuner.values import Rules, Traffic, TunerState, WorkloadMark


def mark_of(workload: Workload) -> WorkloadMark:
    """The workload in a few figures; NaN where no request tells."""
    prompt = _quantiles(workload.prompt_tokens)
    output = _quantiles(workload.output_tokens)
    return WorkloadMark(workload.rate_rps, *prompt, *output)


def followed(state: TunerState, traffic: Traffic | None, now: float, rules: Rules) -> TunerState:
    """The state with what this cycle's traffic says of the workload; unchanged by too little."""
    if math.isinf(rules.drift_factor) or traffic is None or not _enough(traffic, rules):
        return state
    seen = mark_of(traffic.workload)
    if state.tuned_for is None:
        return replace(state, tuned_for=seen)
    if not any(_moves(state.tuned_for, seen, rules.drift_factor)):
        return replace(state, moved_since=None)
    if state.moved_since is not None:
        return state
    began_before = len(state.past) + (state.experiment is not None)
    return replace(state, moved_since=now, stale=began_before)


def accepted_under(state: TunerState, incumbent: Settings, traffic: Traffic | None) -> TunerState:
    """The state with a new incumbent, and the workload that it won under.

    Where that is not the workload of the tests before, they are forgotten, but for the last one,
    which was just won: nobody would see the drift any more.
    """
    seen = mark_of(traffic.workload) if traffic is not None and traffic.requests else None
    if state.moved_since is not None:
        kept = state.past[min(state.stale, len(state.past) - 1) :]
        state = replace(state, past=kept, evidence_since=state.moved_since)
    return replace(
        state,
        incumbent=incumbent,
        previous=state.incumbent,
        tuned_for=seen,
        moved_since=None,
        retest="",
    )


def drifted(state: TunerState, traffic: Traffic, now: float, rules: Rules) -> str | None:
    """How the workload moved, where it has stayed so for long enough; None otherwise."""
    since, mark = state.moved_since, state.tuned_for
    if since is None or mark is None or now - since < rules.drift_hold_s:
        return None
    moves = ", ".join(_moves(mark, mark_of(traffic.workload), rules.drift_factor))
    return moves or None


def outlived(state: TunerState, traffic: Traffic | None, now: float, rules: Rules) -> str | None:
    """How the workload moved away under the running test; None where it did not.

    Only of tests that nobody asked for: whoever declares one decides when it has to end.
    """
    test, since = state.experiment, state.moved_since
    if test is None or since is None or traffic is None or not _enough(traffic, rules):
        return None
    own = test.proposer.startswith("declared by ")
    return None if own or test.started_at > since else drifted(state, traffic, now, rules)


def forgotten(state: TunerState, moves: str, traffic: Traffic, now: float) -> TunerState:
    """The state with what was learnt under the workload of today alone: by tests begun under it."""
    return replace(
        state,
        past=state.past[state.stale :],
        evidence_since=now if state.moved_since is None else state.moved_since,
        tuned_for=mark_of(traffic.workload),
        moved_since=None,
        retest=moves if state.previous is not None else "",
    )


def _enough(traffic: Traffic, rules: Rules) -> bool:
    return len(traffic.workload.prompt_tokens) >= rules.min_requests


def _quantiles(tokens: object) -> tuple[float, float]:
    known = np.asarray(tokens, dtype=np.float64)
    if not known.size:
        return math.nan, math.nan
    p50, p90 = np.quantile(known, (0.5, 0.9))
    return float(p50), float(p90)


def _moves(old: WorkloadMark, new: WorkloadMark, factor: float) -> Iterator[str]:
    """What moved by more than the factor, in words. A figure that is not known has not moved."""
    for name, words in _FIGURES:
        before, after = getattr(old, name), getattr(new, name)
        if before > 0 and after > 0 and not 1 / factor <= after / before <= factor:
            yield f"{words} {before:.3g}→{after:.3g}"


_FIGURES = (
    ("rate_rps", "requests per second"),
    ("prompt_p50", "median of prompt tokens"),
    ("prompt_p90", "P90 of prompt tokens"),
    ("output_p50", "median of output tokens"),
    ("output_p90", "P90 of output tokens"),
)
