"""Levels that fit what a target accepts, and the SLO that traffic suggests."""

from __future__ import annotations

import math

import pytest

from autotuner.domain.telemetry import Histogram, Snapshot
from autotuner.onboarding.levels import (
    USUAL,
    knob_lines,
    levels_of,
    slo_hint,
    two_digits_up,
)
from autotuner.targets.capabilities import Capability, Choices, IntRange


def test_levels_stay_within_what_the_target_accepts_and_hold_what_is_live() -> None:
    levels = levels_of("max_num_seqs", Capability(IntRange(2, 40)), 20)
    assert levels == (2, 4, 8, 16, 20, 24, 32)


def test_a_live_value_that_is_refused_is_no_level() -> None:
    assert levels_of("batch_timeout_ms", Capability(IntRange(0, 5)), 50) == (0, 2, 5)


def test_a_range_between_the_usual_levels_gives_its_least() -> None:
    assert levels_of("max_num_batched_tokens", Capability(IntRange(70, 80)), None) == (70,)


def test_an_unknown_number_doubles() -> None:
    assert levels_of("num_threads", Capability(IntRange(1, 6)), 3) == (1, 2, 3, 4)


def test_choices_are_all_of_them() -> None:
    assert levels_of("memory_efficient", Capability(Choices((False, True))), False) == (False, True)


def test_tuned_knobs_come_first_and_flags_are_the_targets() -> None:
    lines = knob_lines(
        {
            "weight_dtype": Capability(Choices(("float32", "int8")), False, True),
            "max_num_seqs": Capability(IntRange(1, 8)),
        },
        {"max_num_seqs": 8, "weight_dtype": "float32"},
    )
    assert [(one.name, one.tuned, one.live, one.changes_answers) for one in lines] == [
        ("max_num_seqs", True, True, False),
        ("weight_dtype", False, False, True),
    ]


def seen(count: float) -> Snapshot:
    # Half below 0.1 s, all below 0.5 s.
    histogram = Histogram((0.1, 0.5, math.inf), (count / 2, count, count), 0.2 * count)
    return Snapshot(1.0, histograms={"ttft_s": histogram, "gap_max_s": histogram})


def test_enough_traffic_suggests_what_three_in_four_get() -> None:
    hint = slo_hint(seen(100))
    assert hint.from_traffic
    assert hint.ttft_s == pytest.approx(0.3)


@pytest.mark.parametrize("given", [None, seen(10), Snapshot(1.0)])
def test_little_traffic_suggests_the_usual(given: Snapshot | None) -> None:
    assert slo_hint(given) == USUAL


@pytest.mark.parametrize(
    ("value", "rounded"), [(0.1412, 0.15), (0.15, 0.15), (1.01, 1.1), (12.3, 13), (0.00951, 0.0096)]
)
def test_two_digits_are_never_below(value: float, rounded: float) -> None:
    assert two_digits_up(value) == pytest.approx(rounded, abs=1e-12)
    assert two_digits_up(value) >= value - 1e-9
