from __future__ import annotations

import pytest

from autotuner.agent.view import seen_attainment
from autotuner.domain.knobs import Knob, KnobSpace
from autotuner.domain.ports import ProposalContext, Workload
from autotuner.domain.slo import SLO

SPACE = KnobSpace((Knob("max_num_seqs", (8, 16)),))


def seen(attainment: float, requests: int) -> tuple[float, float] | None:
    workload = Workload(1.0, (100,) * requests, (10,) * requests)
    return seen_attainment(
        ProposalContext(SPACE, SPACE.at((0,)), SLO(1.5), workload, None, attainment)
    )


def deviation(attainment: float, requests: int) -> float:
    told = seen(attainment, requests)
    assert told is not None
    return told[1]


def test_a_queue_that_comes_and_goes_is_no_certain_attainment() -> None:
    assert deviation(0.4, 228) == pytest.approx(0.13, abs=0.005)
    assert deviation(0.4, 228) > deviation(0.4, 1000) > deviation(0.99, 1000) == 0.03


def test_nothing_is_seen_without_requests() -> None:
    assert seen(float("nan"), 0) is None
