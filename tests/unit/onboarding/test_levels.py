"""Levels that fit what a target accepts, and the SLO that traffic suggests."""

from __future__ import annotations

import math

import pytest

from autotuner.config import KnobConfig
from autotuner.domain.telemetry import Histogram, Snapshot
from autotuner.onboarding.levels import (
    USUAL,
    USUAL_TPOT_S,
    knob_lines,
    levels_of,
    slo_hint,
    two_digits_up,
)
from autotuner.targets.capabilities import Capability, Choices, FloatRange, IntRange


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


def test_a_shipped_policy_says_levels_steps_and_memory() -> None:
    shipped = {
        "max_num_seqs": KnobConfig(levels=[16, 64, 256], live=False, max_step=2, memory="working"),
        "gpu_memory_utilization": KnobConfig(levels=[0.88, 0.9, 0.92], memory="reserved"),
        "max_num_active_seqs": KnobConfig(levels=[16]),
    }
    offered = {
        "block_size": Capability(IntRange(1, 4), live=False),
        "gpu_memory_utilization": Capability(FloatRange(0.01, 0.9), live=False),
        "max_num_seqs": Capability(IntRange(1, 100), live=False),
    }
    settings = {"max_num_seqs": 20, "gpu_memory_utilization": 0.85, "block_size": 2}
    seqs, share, block = knob_lines(offered, settings, shipped)
    assert (seqs.name, seqs.levels, seqs.max_step) == ("max_num_seqs", (16, 20, 64), 2)
    assert (seqs.live, seqs.memory, seqs.tuned) == (False, "working", True)
    assert (share.levels, share.memory) == ((0.85, 0.88, 0.9), "reserved")
    assert (block.name, block.tuned, block.levels) == ("block_size", False, (1, 2, 4))


def test_of_an_unknown_share_only_what_runs_is_known_to_be_sound() -> None:
    assert levels_of("watermark", Capability(FloatRange(0.0, 0.99)), 0.1) == (0.1,)


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


def told(ttft_edges: tuple[float, ...], per_event: float) -> Snapshot:
    """40 requests of 101 tokens, their first tokens in the first bucket, as vLLM tells them."""
    ttft = Histogram((*ttft_edges, math.inf), (40.0,) * (len(ttft_edges) + 1), 4.0)
    itl = Histogram((0.05, math.inf), (4000 / per_event,) * 2, 80.0)
    tpot = Histogram((0.02, 0.025, math.inf), (0.0, 40.0, 40.0), 0.9)
    return Snapshot(
        1.0,
        {"generation_tokens": 4040.0, "spec_drafts": 1.0},
        {"tokens_per_event": per_event},
        {"ttft_s": ttft, "itl_s": itl, "tpot_s": tpot},
    )


def test_without_the_largest_gap_tpot_is_the_promise() -> None:
    hint = slo_hint(told((0.1, 0.12), 1.0))
    assert (hint.tpot_s, hint.from_traffic) == (0.024, True)
    (doubt,) = hint.doubts
    assert doubt.startswith("ttft_s lies somewhere from 0 s to 0.1 s")


def test_a_gap_of_several_tokens_is_no_promise() -> None:
    with_gaps = told((0.1, 0.12), 3.0)
    seen_gaps = {**with_gaps.histograms, "gap_max_s": with_gaps.histograms["tpot_s"]}
    hint = slo_hint(Snapshot(1.0, with_gaps.counters, with_gaps.gauges, seen_gaps))
    assert hint.tpot_s == 0.024
    assert "speculative decoding" in hint.doubts[0]


def test_an_idle_server_without_gaps_gets_a_usual_tpot() -> None:
    empty = Histogram((0.1, math.inf), (0.0, 0.0), 0.0)
    hint = slo_hint(Snapshot(1.0, histograms={"ttft_s": empty, "tpot_s": empty}))
    assert (hint.tpot_s, hint.from_traffic) == (USUAL_TPOT_S, False)
