from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotuner.agent.evidence import Measured, evidence
from autotuner.domain.experiment import Verdict
from autotuner.domain.goals import Goal, GoalKind
from autotuner.domain.knobs import Settings
from autotuner.domain.ports import PastTrial

A, B, C, D = (Settings({"max_num_seqs": n}) for n in (8, 16, 32, 64))


def trial(control: Settings, treatment: Settings, effect: float, sd: float = 0.05) -> PastTrial:
    """A test whose interval reaches three standard errors to either side."""
    low, high = effect - 3 * sd, effect + 3 * sd
    return PastTrial(control, treatment, effect, Verdict.REJECTED, low, high)


def by_settings(*past: PastTrial, attainment: float = 0.5) -> dict[Settings, Measured]:
    return {m.settings: m for m in evidence(past, A, attainment)}


def test_one_trial_against_the_incumbent_is_taken_as_it_is() -> None:
    known = by_settings(trial(A, B, 0.1, 0.04))
    assert list(known) == [B]
    assert known[B].value == pytest.approx(0.1)
    assert known[B].deviation == pytest.approx(0.04)


def test_what_the_incumbent_beat_is_worse_than_it() -> None:
    assert by_settings(trial(B, A, 0.1))[B].value == pytest.approx(-0.1)


def test_effects_add_up_along_a_chain_and_so_do_their_variances() -> None:
    known = by_settings(trial(A, B, 0.1, 0.03), trial(C, B, -0.05, 0.04))
    assert known[C].value == pytest.approx(0.15)
    assert known[C].deviation == pytest.approx(0.05)


def test_two_ways_to_the_same_settings_are_weighted_by_what_they_know() -> None:
    # By hand: 0.2 with sd 0.05 directly; 0.1 with sd √(0.06² + 0.08²) = 0.1 through B.
    known = by_settings(trial(A, C, 0.2, 0.05), trial(A, B, 0.0, 0.06), trial(B, C, 0.1, 0.08))
    assert known[C].value == pytest.approx((0.2 * 400 + 0.1 * 100) / 500)
    assert known[C].deviation == pytest.approx(math.sqrt(1 / 500))


def test_a_repeated_test_halves_the_variance() -> None:
    known = by_settings(trial(A, B, 0.1, 0.04), trial(A, B, 0.2, 0.04))
    assert known[B].value == pytest.approx(0.15)
    assert known[B].deviation == pytest.approx(0.04 / math.sqrt(2))


def test_what_no_chain_joins_to_the_incumbent_is_not_known() -> None:
    assert list(by_settings(trial(A, B, 0.1), trial(C, D, 0.3))) == [B]
    assert by_settings(trial(C, D, 0.3)) == {}
    assert evidence([], A, 0.5) == ()


def test_an_unknown_interval_counts_less_than_a_narrow_one() -> None:
    plain = PastTrial(A, B, 0.1, Verdict.REJECTED)
    known = by_settings(plain, trial(A, B, 0.3, 0.01))
    assert known[B].value == pytest.approx(0.3, abs=0.01)


def test_an_interval_of_no_width_is_not_believed_to_be_exact() -> None:
    known = by_settings(PastTrial(A, B, 0.1, Verdict.REJECTED, 0.1, 0.1), trial(A, B, 0.3, 0.005))
    assert known[B].value == pytest.approx(0.2)


def goodput(control: Settings, treatment: Settings, log_ratio: float) -> PastTrial:
    return replace(trial(control, treatment, log_ratio), outcome="goodput")


def test_a_ratio_of_goodput_becomes_points_of_attainment() -> None:
    known = by_settings(goodput(A, B, math.log(1.2)))
    assert known[B].value == pytest.approx(0.5 * 1.2 - 0.5)
    assert known[B].deviation == pytest.approx(0.05 * 0.6)  # log units at an attainment of 0.6


def test_ratios_along_a_chain_multiply() -> None:
    known = by_settings(goodput(A, B, math.log(1.2)), goodput(B, C, math.log(1.1)))
    assert known[C].value == pytest.approx(0.5 * 1.2 * 1.1 - 0.5)
    back = by_settings(goodput(B, A, math.log(2)))
    assert back[B].value == pytest.approx(0.25 - 0.5)


def test_no_ratio_leads_beyond_everything_or_below_nothing() -> None:
    assert by_settings(goodput(A, B, 3.0))[B].value == pytest.approx(0.5)
    assert by_settings(goodput(A, B, -30.0))[B].value == pytest.approx(-0.5)
    assert by_settings(trial(A, B, 0.9))[B].value == pytest.approx(0.5)


@pytest.mark.parametrize("attainment", [math.nan, 0.0])
def test_a_ratio_says_no_points_where_attainment_is_unknown_or_nothing(attainment: float) -> None:
    past = goodput(A, B, 0.1), trial(A, C, 0.1)
    assert list(by_settings(*past, attainment=attainment)) == [C]


@pytest.mark.parametrize("outcome", ["cost", "energy", "throughput", "ttft_p95", "error_share"])
def test_other_measures_say_nothing_of_attainment(outcome: str) -> None:
    assert by_settings(replace(trial(A, B, 0.1), outcome=outcome)) == {}


def test_harm_counts_with_its_effect_and_as_some_harm_where_none_was_measured() -> None:
    measured = replace(trial(A, B, -0.2, 0.1), verdict=Verdict.HARMFUL)
    unmeasured = PastTrial(A, C, math.nan, Verdict.HARMFUL, -1.0, 1.0)
    known = by_settings(measured, unmeasured)
    assert known[B].value == pytest.approx(-0.2)
    assert known[C].value < -0.1
    assert known[C].deviation > known[B].deviation


def test_a_trial_that_says_nothing_is_left_out() -> None:
    same = trial(A, A, 0.1)
    unknown = PastTrial(A, B, math.nan, Verdict.INCONCLUSIVE)
    stopped = PastTrial(A, C, 0.1, Verdict.ABORTED)
    assert by_settings(same, unknown, stopped) == {}
    half_done = replace(trial(A, D, 0.1), verdict=Verdict.ABORTED)
    assert list(by_settings(half_done)) == [D]


@pytest.mark.parametrize("kind", [GoalKind.COST, GoalKind.ENERGY, GoalKind.DEVICES])
def test_a_goal_that_saves_is_judged_by_what_is_saved(kind: GoalKind) -> None:
    saved = replace(trial(A, B, math.log(2), 0.1), outcome=str(kind))
    past = saved, replace(saved, control=B, treatment=C), trial(A, D, 0.3)
    known = {m.settings: m for m in evidence(past, A, 0.99, Goal(kind, 0.9))}
    assert list(known) == [B, C]
    assert known[B].value == pytest.approx(0.5 / (1 + 1 / 2) - 0.25)
    assert known[C].value == pytest.approx(0.5 / (1 + 1 / 4) - 0.25)


def test_energy_is_learnt_of_whether_it_was_tested_by_token_or_by_request() -> None:
    by_token = replace(trial(A, B, math.log(2), 0.1), outcome="energy_per_token")
    by_request = replace(by_token, control=B, treatment=C, outcome="energy")
    known = evidence((by_token, by_request), A, 0.99, Goal(GoalKind.ENERGY, 0.9))
    assert [m.settings for m in known] == [B, C]


@given(seed=st.integers(0, 10**6), n=st.integers(2, 12))
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
def test_trials_that_agree_give_back_the_truth_whatever_their_graph(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    every = [Settings({"x": i}) for i in range(n)]
    truth = rng.uniform(-0.2, 0.2, n)
    pairs = [(int(rng.integers(i)), i) for i in range(1, n)]  # a tree joins them all
    pairs += [(int(a), int(b)) for a, b in rng.integers(n, size=(n, 2)) if a != b]
    past = [
        trial(every[a], every[b], float(truth[b] - truth[a]), float(rng.uniform(0.01, 0.2)))
        for a, b in (pairs[int(i)] for i in rng.permutation(len(pairs)))
    ]
    known = {m.settings: m.value for m in evidence(past, every[0], 0.5)}
    assert known == pytest.approx({s: truth[i] - truth[0] for i, s in enumerate(every) if i})
