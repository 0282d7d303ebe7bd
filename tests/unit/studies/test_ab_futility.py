"""The study gives up exactly the tests that live ones give up."""

from __future__ import annotations

import numpy as np
import pytest

from autotuner.abtest.evidence import FEWEST, Evidence
from autotuner.domain.experiment import Plan
from experiments.studies.ab_futility.deciding import THRESHOLD, ended

PLAN = Plan(prior_sd=0.1, max_pairs=20)


def live(differences: list[float], level: float) -> int:
    evidence = Evidence.start(PLAN)
    for pairs, difference in enumerate(differences, start=1):
        evidence = evidence.update(difference, {})
        look = evidence.look()
        if max(look.log_e_benefit, look.log_e_harm) >= THRESHOLD:
            return pairs
        left = len(differences) - pairs
        if left and not evidence.promising(left, level):
            return pairs
    return len(differences)


@pytest.mark.parametrize("level", [0.9, 0.95])
@pytest.mark.parametrize("effect", [-0.07, 0.0, 0.05])
def test_the_study_ends_tests_as_live_ones_end(effect: float, level: float) -> None:
    differences = effect + 0.1 * np.random.default_rng(4).standard_normal((25, PLAN.max_pairs))
    found = ended(differences, PLAN.prior_sd, level)
    assert [live(one, level) for one in differences.tolist()] == found.pairs.tolist()
    assert found.pairs.min() >= FEWEST
    assert found.pairs.min() < PLAN.max_pairs


def test_without_a_level_a_test_goes_on_to_its_budget_or_its_verdict() -> None:
    differences = 0.1 * np.random.default_rng(4).standard_normal((50, 20))
    found = ended(differences, 0.1, 0.0)
    assert np.all((found.pairs == 20) | found.accepted | found.harmful)
