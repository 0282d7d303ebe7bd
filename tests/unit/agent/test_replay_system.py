"""The incremental system: slicing time changes nothing, settings change generations only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from autotuner.agent.calibration import calibrate
from autotuner.agent.des import simulate
from autotuner.agent.des_faults import Faults
from autotuner.agent.replay_system import EngineRules, ServingOf, SimulatedSystem
from autotuner.agent.schedule import Schedule, ScheduleTable
from autotuner.agent.serving import Serving, ServingTable
from autotuner.agent.stepmodel import Floats, Ints, StepModel
from autotuner.agent.traffic import (
    ArrivalStream,
    ClassMix,
    MixSchedule,
    SampleMix,
    TokenClass,
    Traffic,
)
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


def test_the_lengths_follow_the_mix_of_the_time() -> None:
    short, long = SampleMix((10,), (2,)), SampleMix((900,), (2,))
    mixes = MixSchedule((100.0, 130.0, 200.0), (short, long, short))
    assert mixes.at(0.0) is short
    served = SimulatedSystem(MODEL, lambda _: 4.0, mixes, SETTINGS, seed=4, start_s=100.0)
    lengths = {True: set[int](), False: set[int]()}
    for e in served.advance(260.0):
        lengths[130.0 <= e.arrival < 200.0].add(e.prompt_tokens)
    assert lengths == {True: {900}, False: {10}}


def test_a_mix_that_stays_is_drawn_as_one_without_a_schedule() -> None:
    plain = ArrivalStream(lambda _: 5.0, MIX, 7)
    planned = ArrivalStream(lambda _: 5.0, MixSchedule((0.0,), (MIX,)), 7)
    assert plain.next_block() == planned.next_block()


@pytest.mark.parametrize("starts", [(), (1.0,), (2.0, 1.0), (1.0, 1.0)])
def test_mixes_out_of_order_are_refused(starts: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="starts"):
        MixSchedule(starts, (MIX, MIX))


class Slower:
    """Each step takes a tenth of a second more."""

    def extra_s(self, decoding: Ints, tokens: Ints) -> Floats:
        return np.full(decoding.shape, 0.1)


def test_a_crowded_engine_takes_longer_for_each_step() -> None:
    model = replace(MODEL, noise=0.0)
    rules = EngineRules.plain(model, Slower())
    gaps = []
    for engines in (model, rules):
        served = SimulatedSystem(engines, lambda _: 0.02, MIX, SETTINGS, seed=4)
        gaps.append([e.tpot_s or 0.0 for e in served.advance(400.0)])
    assert len(gaps[0]) >= 3
    assert np.array(gaps[1]) - gaps[0] == pytest.approx(0.1, rel=1e-6)


def test_no_traffic_is_idle() -> None:
    served = SimulatedSystem(MODEL, lambda _: 0.0, MIX, SETTINGS)
    assert served.advance(3600.0) == []
    assert served.running == served.waiting == served.context_tokens == 0


QUIET = replace(MODEL, noise=0.0)


def always(serving: Serving) -> ServingOf:
    table = ServingTable.of([serving])
    return lambda _: table


def by_threads(settings: Mapping[str, Value]) -> ServingTable:
    """Two threads compute twice as fast."""
    threads = float(settings.get("num_threads", 1))
    return ServingTable.of([Serving(StepModel(0.02 / threads, 0.0, 0.2e-3 / threads, 0.0))])


@pytest.mark.parametrize(
    "serving",
    [
        Serving(QUIET),
        Serving(QUIET, kv_tokens=3000),
        Serving(QUIET, kv_tokens=3000, optimistic=True),
        Serving(QUIET, kv_tokens=3000, optimistic=True, window=500, prefix_share=0.3),
        Serving(QUIET, kv_tokens=3000, optimistic=True, replicas=2, patience_s=2.0),
    ],
    ids=str,
)
def test_agrees_with_the_simulator_of_many_rows(serving: Serving) -> None:
    def rate(at: float) -> float:
        return 4.0 if at < 60 else 0.0

    rules = EngineRules(always(serving))
    exposures = SimulatedSystem(rules, rate, MIX, SETTINGS, seed=5).advance(600.0)
    exposures.sort(key=lambda e: e.arrival)
    columns = [(e.arrival, e.prompt_tokens, e.output_tokens) for e in exposures]
    if serving.patience_s < math.inf:  # who left was told no tokens, so draw the traffic again
        stream = ArrivalStream(rate, MIX, 5)
        columns = [row for _ in range(10) for row in stream.next_block()[0]]
    assert len(columns) == len(exposures) > 100
    arrival, prompt, output = (np.array(c) for c in zip(*columns, strict=True))
    seen = simulate(
        Traffic.stack([(arrival, prompt, output)]),
        ScheduleTable.of([Schedule.of(SETTINGS)]),
        ServingTable.of([serving]),
        cap_s=600.0,
    ).latencies
    served = np.array([e.served for e in exposures])
    assert served.all() == math.isinf(serving.patience_s)
    np.testing.assert_array_equal(np.isfinite(seen.e2el_s[0]), served)
    for name in ("ttft_s", "gap_max_s", "e2el_s"):
        got = np.array([getattr(e, name) or 0.0 for e in exposures])
        np.testing.assert_allclose(getattr(seen, name)[0][served], got[served], atol=1e-9)


def test_a_client_that_leaves_is_an_abort_after_its_patience() -> None:
    rules = EngineRules(always(Serving(QUIET, patience_s=3.0)))
    exposures = SimulatedSystem(rules, lambda _: 8.0, MIX, SETTINGS, seed=5).advance(60.0)
    left = [e for e in exposures if e.outcome is Outcome.ABORT]
    assert left
    np.testing.assert_allclose([e.e2el_s for e in left], 3.0)
    assert all(e.ttft_s is None and not e.failed for e in left)
    assert all(e.e2el_s <= 3.0 + 1e-9 for e in exposures)


def test_new_engines_take_over_when_they_are_built() -> None:
    rules = EngineRules(by_threads, rebuild_s=30.0)
    served = SimulatedSystem(rules, lambda _: 3.0, MIX, SETTINGS, seed=5)
    served.advance(100.0)
    assert served.apply({**SETTINGS, "num_threads": 2}) == 2
    assert served.generation == 1
    meanwhile = advance(served, 130.0, 4.0)
    assert served.generation == 2
    assert served.applied_at_s == 130.0
    assert {e.generation_end for e in meanwhile} == {1}
    after = served.advance(230.0)
    assert all((e.generation_start == 2) == (e.arrival >= 130.0) for e in after)
    drained = [e for e in after if e.generation_start == 1]
    assert drained
    assert all(e.served for e in drained)  # the old engine finished what it had

    def gap_s(exposures: list[Exposure], generation: int) -> float:
        own = [e for e in exposures if e.generation_start == generation]
        return float(np.mean([e.tpot_s for e in own if e.tpot_s is not None]))

    assert gap_s(after, 2) < 0.7 * gap_s(meanwhile, 1)
    assert sum(served.in_flight.values()) == served.running + served.waiting


def test_slices_of_time_do_not_matter_to_a_rebuild() -> None:
    runs = []
    for slice_s in (0.7, 50.0):
        rules = EngineRules(by_threads, rebuild_s=13.3)
        served = SimulatedSystem(rules, lambda _: 3.0, MIX, SETTINGS, seed=5)
        served.advance(50.0)
        served.apply({**SETTINGS, "num_threads": 2})
        exposures = advance(served, 100.0, slice_s)
        runs.append([(e.id, e.generation_start, e.arrival, e.tpot_s) for e in exposures])
    assert runs[0] == runs[1]


def test_later_settings_take_the_place_of_those_still_being_built() -> None:
    rules = EngineRules(by_threads, rebuild_s=30.0)
    served = SimulatedSystem(rules, lambda _: 3.0, MIX, SETTINGS, seed=5)
    served.apply({**SETTINGS, "num_threads": 2})
    served.advance(10.0)
    assert served.apply({**SETTINGS, "max_num_seqs": 4}) == 3
    assert served.generation == 3
    served.advance(60.0)
    assert served.generation == 3
    assert served.running <= 4


def test_a_window_changed_live_changes_the_next_steps() -> None:
    def serving_of(settings: Mapping[str, Value]) -> ServingTable:
        window = 100.0 if settings.get("attention") == "sliding_window" else math.inf
        return ServingTable.of([Serving(QUIET, window=window)])

    served = SimulatedSystem(EngineRules(serving_of), lambda _: 3.0, MIX, SETTINGS, seed=5)
    served.advance(50.0)
    assert served.apply({**SETTINGS, "attention": "sliding_window"}) == served.generation == 2
    _, cursor = served.steps(0)
    served.advance(80.0)
    decodes = [s for s in served.steps(cursor)[0] if not s.prefill_tokens]
    assert decodes
    assert all(s.context_tokens <= 100 * s.decode_seqs for s in decodes)
    served.apply(SETTINGS)
    _, cursor = served.steps(0)
    served.advance(110.0)
    assert any(s.context_tokens > 100 * s.decode_seqs for s in served.steps(cursor)[0])


def test_an_engine_out_of_memory_loses_what_runs_and_comes_back() -> None:
    faults = Faults(oom_tokens=3000, restart_s=5.0)
    rules = EngineRules(always(Serving(QUIET)), faults=faults)
    modest = {"max_num_seqs": 1, "max_num_batched_tokens": 512}
    served = SimulatedSystem(rules, lambda _: 1.0, MIX, modest, seed=5)
    served.advance(100.0)
    assert served.crashes == 0  # healthy at first
    served.apply({**modest, "max_num_seqs": 64})
    exposures = served.advance(400.0)
    lost = [e for e in exposures if e.outcome is Outcome.ERROR]
    assert served.crashes > 0
    assert len(lost) >= served.crashes
    assert any(e.served and e.arrival > 200.0 for e in exposures)
    few = Faults(oom_seqs=8, restart_s=5.0)
    crowded = SimulatedSystem(
        EngineRules(always(Serving(QUIET)), faults=few), lambda _: 8.0, MIX, SETTINGS, seed=5
    )
    crowded.advance(60.0)
    assert crowded.crashes > 0


def test_an_overloaded_engine_stays_slow_until_its_queue_has_drained() -> None:
    def rate(at: float) -> float:
        return 30.0 if 20 <= at < 22 else 0.5

    def end_of_rush_s(faults: Faults) -> float:
        rules = EngineRules(always(Serving(QUIET)), faults=faults)
        exposures = SimulatedSystem(rules, rate, MIX, SETTINGS, seed=5).advance(600.0)
        assert all(e.served for e in exposures)
        return max(e.arrival + e.e2el_s for e in exposures if 20 <= e.arrival < 22)

    calm = end_of_rush_s(Faults())
    cliff = end_of_rush_s(Faults(cliff_waiting=20, cliff_factor=3.0))
    assert cliff - 20 > 2 * (calm - 20)
    assert end_of_rush_s(Faults(cliff_waiting=500, cliff_factor=3.0)) == calm
    rules = EngineRules(always(Serving(QUIET)), faults=Faults(cliff_waiting=20, cliff_factor=3.0))
    served = SimulatedSystem(rules, rate, MIX, SETTINGS, seed=5)
    served.advance(550.0)
    _, cursor = served.steps(0)
    served.advance(600.0)
    for s in served.steps(cursor)[0]:  # long after the rush: as fast as ever
        made_of = (s.decode_seqs, s.prefill_tokens, s.context_tokens, s.prefill_pairs)
        assert s.step_s == pytest.approx(QUIET.step_s(*made_of))
