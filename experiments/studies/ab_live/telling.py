"""What the study measured as results.json tells it: rows, checks and the figures beside them."""

from __future__ import annotations

import math
import statistics
from dataclasses import asdict
from typing import Any

from autotuner.domain.experiment import Verdict
from experiments.studies._common import check, results
from experiments.studies.ab_live.bench import Tested
from experiments.studies.ab_live.harm import OVERLOAD, Harm
from experiments.studies.ab_live.measured import (
    FAST,
    HARMFUL,
    LOG_GAIN,
    Measured,
    by_hard_limit,
    pair_sd,
    verdict_of,
)

AA_PAIRS = 40
GREATEST_GAIN = 0.25  # a gain beyond this would be too easy to find
POWER = 0.8  # what the number of pairs is planned for


def results_of(measured: Measured, quick: bool, seed: int) -> dict[str, Any]:
    """The content of results.json."""
    return results(
        "ab_live",
        packages=["torch", "numpy"],
        seeds=[seed],
        rows=_rows(measured),
        checks=_checks(measured),
        quick=quick,
        short_requests={
            "rate_rps": measured.short.rate_rps,
            "lone_request_s": _rounded(measured.short.lone_s),
            "control": dict(measured.short.slow),
            "treatment": dict(FAST),
        },
        true_gain={
            "cut": _rounded(measured.truth.cut),
            "log_gain": _rounded(measured.truth.log_gain),
            "standard_error": _rounded(measured.truth.error),
            "block_pairs": [_rounded(gain) for gain in measured.truth.gains],
        },
        plan={
            "pair_sd": _rounded(pair_sd(measured.aa.experiment)),
            "log_gain": _rounded(LOG_GAIN),
            "pairs": _rounded(measured.planned),
        },
        long_requests={
            "rate_rps": _rounded(measured.demand.rate_rps),
            "control_load": _rounded(measured.demand.control_load),
            "treatment_load": OVERLOAD,
            "slo_ttft_s": measured.demand.slo.ttft_s,
            "control": dict(FAST),
            "treatment": dict(HARMFUL),
        },
    )


def _rows(measured: Measured) -> list[dict[str, Any]]:
    rows = [_row("A/A", measured.aa)]
    rows += [_row("true gain", test) for test in measured.gains]
    return rows + [_row("harmful", test) | _cost(harm) for test, harm in measured.harms]


def _row(part: str, tested: Tested) -> dict[str, Any]:
    test = tested.experiment
    look = test.looks[-1] if test.looks else None
    return {
        "part": part,
        "test": test.id,
        "verdict": verdict_of(tested) or "not yet",
        "reason": test.conclusion.reason if test.conclusion else "",
        "pairs": len(test.pairs),
        "excluded_slots": sum(slot.excluded is not None for slot in test.slots),
        "seconds": round(tested.seconds, 1),
        "effect": _rounded(look.effect) if look else None,
        "low": _rounded(look.low) if look else None,
        "high": _rounded(look.high) if look else None,
        "confidence": _rounded(look.confidence) if look else None,
        "differences": [_rounded(pair.difference) for pair in test.pairs],
    }


def _cost(harm: Harm) -> dict[str, Any]:
    told = asdict(harm) | {"suffered_share": harm.suffered_share}
    return {name: _rounded(value) for name, value in told.items()}


def _checks(measured: Measured) -> list[dict[str, Any]]:
    return [*_aa_checks(measured.aa), *_gain_checks(measured), *_harm_checks(measured)]


def _aa_checks(aa: Tested) -> list[dict[str, Any]]:
    looks, threshold = aa.experiment.looks, -math.log(aa.experiment.plan.alpha)
    accepted = any(look.log_e_benefit >= threshold for look in looks)
    harmful = any(look.log_e_harm >= threshold for look in looks)
    return [
        check("A/A: pairs counted", len(looks), "pairs", AA_PAIRS, "at_least"),
        check("A/A: accepted at 95%", float(accepted), "tests of 1", 0, "at_most"),
        check("A/A: called harmful", float(harmful), "tests of 1", 0, "at_most"),
    ]


def _gain_checks(measured: Measured) -> list[dict[str, Any]]:
    tests, cut = len(measured.gains), round(measured.truth.cut, 4)
    used = statistics.median(_pairs_used(test) for test in measured.gains)
    in_time = round(len(measured.found_as_planned) / tests, 3)
    return [
        check("true gain, measured apart, not too easy", cut, "shorter", GREATEST_GAIN, "at_most"),
        check("true gain: tests that found it", len(measured.found), "tests", tests, "at_least"),
        check(
            f"true gain: tests that found it in the {measured.planned:.0f} planned pairs or fewer",
            in_time, "of the tests", POWER, "at_least",
        ),
        check("true gain: pairs of the median test", used, "pairs", measured.planned, "at_most"),
    ]  # fmt: skip


def _pairs_used(tested: Tested) -> int:
    """The pairs until the gain was found; the whole budget where it was not."""
    found = verdict_of(tested) is Verdict.ACCEPTED
    return len(tested.experiment.pairs) if found else tested.experiment.plan.max_pairs


def _harm_checks(measured: Measured) -> list[dict[str, Any]]:
    tests = len(measured.harms)
    limited = sum(by_hard_limit(test) for test, _ in measured.harms)
    restored = sum(test.restored for test, _ in measured.harms)
    slots = max(harm.treatment_slots for _, harm in measured.harms)
    return [
        check("harmful change: ended by a hard limit", limited, "tests", tests, "at_least"),
        check("harmful change: settings back in force", restored, "tests", tests, "at_least"),
        check("harmful change: treatment slots at most", slots, "slots", 2, "at_most"),
    ]


def _rounded(value: float | None) -> float | None:
    """Four decimals; None where there is no number, since JSON has none."""
    return round(value, 4) if value is not None and math.isfinite(value) else None
