"""The incremental system: slicing time changes nothing, settings change generations only."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from autotuner.agent.calibration import calibrate
from autotuner.agent.replay_system import SimulatedSystem
from autotuner.agent.stepmodel import StepModel
from autotuner.agent.traffic import ArrivalStream, ClassMix, SampleMix, TokenClass
from autotuner.domain.knobs import Value
from autotuner.domain.telemetry import Exposure, Outcome

MODEL = StepModel(6e-3, 0.45e-3, 0.4e-3, 4e-6, noise=0.1)
MIX = ClassMix((TokenClass(0.9, (64, 256), (16, 96)), TokenClass(0.1, (1000, 2000), (16, 96))))
SETTINGS: Mapping[str, Value] = {"max_num_seqs": 16, "max_num_batched_tokens": 128}


def system(rate: float = 2.0, max_waiting: int = 1024) -> SimulatedSystem:
    return SimulatedSystem(
        MODEL, lambda _: rate, MIX, SETTINGS, seed=4, start_s=100.0, max_waiting=max_waiting
    )


def advance(served: SimulatedSystem, until_s: float, slice_s: float) -> list[Exposure]:
    exposures: list[Exposure] = []
    while served.now_s < until_s:
        exposures += served.advance(min(until_s, served.now_s + slice_s))
    return exposures


def test_slices_of_time_do_not_matter() -> None:
    assert advance(system(), 160.0, 0.37) == advance(system(), 160.0, 60.0)


def test_exposures_are_consistent() -> None:
    exposures = advance(system(), 220.0, 10.0)
    assert [e.seq for e in exposures] == list(range(1, len(exposures) + 1))
    for e in exposures:
        assert e.outcome is Outcome.LENGTH
        assert e.queue_s is not None
        assert e.ttft_s is not None
        assert e.gap_max_s is not None
        assert e.tpot_s is not None
        assert 0 <= e.queue_s < e.ttft_s < e.e2el_s
        assert 0 < e.tpot_s <= e.gap_max_s
        assert 100.0 <= e.arrival <= e.arrival + e.e2el_s <= 220.0


def test_settings_changed_under_load_keep_the_queue() -> None:
    served = system(rate=6.0)
    before = served.advance(130.0)
    carried = sum(served.in_flight.values())
    assert carried > 0
    assert served.apply({**SETTINGS, "max_num_batched_tokens": 16, "max_num_seqs": 2}) == 2
    after = advance(served, 160.0, 5.0)
    assert {e.generation_start for e in before} == {1}
    assert all(e.generation_end == 2 for e in after)
    assert all((e.generation_start == 1) == (e.arrival < 130.0) for e in after)
    served.apply({**SETTINGS, "schedule_policy": "length-grouped", "max_num_batched_tokens": 2048})
    after += advance(served, 200.0, 5.0)
    assert served.advance(200.0) == []  # nothing ends twice
    assert [e.seq for e in before + after] == list(range(1, len(before + after) + 1))


def test_a_full_queue_rejects() -> None:
    served = system(rate=30.0, max_waiting=5)
    exposures = advance(served, 130.0, 10.0)
    rejected = [e for e in exposures if e.outcome is Outcome.REJECTED]
    assert rejected
    assert all(e.ttft_s is None and not e.served for e in rejected)
    assert served.waiting <= 5
    assert served.running <= 16


def test_its_step_log_calibrates_to_its_own_model() -> None:
    served = system()
    served.advance(400.0)
    records, cursor = served.steps(0)
    fitted = calibrate(records)
    assert fitted.fitted
    np.testing.assert_allclose(fitted.model.prefill_s, MODEL.prefill_s, rtol=0.05)
    assert served.steps(cursor) == ([], cursor)
    served.advance(401.0)
    new, later = served.steps(cursor)
    assert len(new) == later - cursor


def test_the_rate_function_is_followed_over_time() -> None:
    stream = ArrivalStream(lambda t: 20.0 if t < 60 else 2.0, SampleMix((10,), (5,)), seed=1)
    busy, end = stream.next_block()
    calm, _ = stream.next_block()
    assert end == 60.0
    assert 1000 < len(busy) < 1400
    assert 80 < len(calm) < 170
    arrivals = [arrival for arrival, _, _ in busy + calm]
    assert arrivals == sorted(arrivals)


def test_bursts_spread_the_counts() -> None:
    def spread(burst: float) -> float:
        stream = ArrivalStream(lambda _: 20.0, SampleMix((10,), (5,)), seed=1, burst=burst)
        seconds = [int(a) for _ in range(10) for a, _, _ in stream.next_block()[0]]
        counts = np.bincount(seconds, minlength=600)
        return float(counts.var() / counts.mean())

    assert spread(0.0) < 1.3
    assert spread(0.7) > 5


def test_no_traffic_is_idle() -> None:
    served = SimulatedSystem(MODEL, lambda _: 0.0, MIX, SETTINGS)
    assert served.advance(3600.0) == []
    assert served.running == served.waiting == served.context_tokens == 0
