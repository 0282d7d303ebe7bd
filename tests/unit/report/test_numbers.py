"""How figures are told."""

from __future__ import annotations

import math

import pytest

from autotuner.domain.measures import measure
from autotuner.report.numbers import (
    change_text,
    count_text,
    gain,
    gain_text,
    length_text,
    level_text,
    margin_text,
    rounded,
    share_text,
    size_text,
    value_text,
)

ATTAINMENT, TTFT, GOODPUT = measure("attainment"), measure("ttft"), measure("goodput")
ERRORS = measure("error_share")


def test_a_difference_of_shares_is_told_in_points() -> None:
    assert gain_text(ATTAINMENT, 0.123) == "+12.3 points"
    assert gain_text(ATTAINMENT, -0.04) == "−4.0 points"
    assert change_text(ATTAINMENT, 0.123) == "rose by 12.3 points"


def test_a_cut_of_a_latency_is_a_gain() -> None:
    cut = math.log(2.0) - math.log(1.6)  # the treatment takes 1.6 s instead of 2 s
    assert gain_text(TTFT, cut) == "+20.0%"
    assert change_text(TTFT, cut) == "fell by 20.0%"
    assert gain_text(TTFT, -math.log(2)) == "−100.0%"
    assert change_text(TTFT, -math.log(2)) == "rose by 100.0%"


def test_a_rise_of_a_rate_is_a_gain() -> None:
    assert gain_text(GOODPUT, math.log(1.25)) == "+25.0%"
    assert change_text(GOODPUT, math.log(0.8)) == "fell by 20.0%"


def test_fewer_errors_are_a_gain_and_a_fall() -> None:
    assert gain_text(ERRORS, 0.02) == "+2.0 points"
    assert change_text(ERRORS, 0.02) == "fell by 2.0 points"


def test_what_did_not_change_says_so() -> None:
    assert change_text(ATTAINMENT, 0.0) == "did not change"
    assert gain_text(TTFT, 0.0) == "0.0%"


@pytest.mark.parametrize("unknown", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_not_known(unknown: float) -> None:
    assert gain_text(TTFT, unknown) == "not known"


def test_bounds_without_an_end_stay_so() -> None:
    assert gain(GOODPUT, math.inf) == math.inf
    assert gain(GOODPUT, -math.inf) == -100.0
    assert gain(TTFT, -math.inf) == -math.inf
    assert gain(TTFT, -1000.0) == -math.inf  # too large for a float


def test_a_margin_is_told_as_it_was_declared() -> None:
    assert margin_text(TTFT, 0.25) == "25%"
    assert margin_text(ERRORS, 0.02) == "2 points"
    assert size_text(ATTAINMENT, 0.1) == "10 points"


def test_values_have_their_unit() -> None:
    assert value_text(ATTAINMENT, 0.831) == "83.1%"
    assert value_text(TTFT, 0.5123) == "0.512 s"
    assert value_text(TTFT, math.nan) == "–"


@pytest.mark.parametrize(
    ("value", "text"), [(12.34, "12.3"), (0.123, "0.12"), (0.0001, "0.0"), (0.0, "0.0")]
)
def test_rounding_keeps_what_is_small(value: float, text: str) -> None:
    assert rounded(value) == text


def test_lengths_counts_shares_and_levels() -> None:
    assert [length_text(s) for s in (90, 600, 10_800, math.nan)] == [
        "90 s", "10 min", "3.0 h", "not known",
    ]  # fmt: skip
    assert [count_text(n, "pair") for n in (0, 1, 2)] == ["0 pairs", "1 pair", "2 pairs"]
    assert [share_text(1, 4), share_text(0, 0)] == ["25.0%", "no requests"]
    assert [level_text(a) for a in (0.05, 0.0061)] == ["95%", "99.39%"]
