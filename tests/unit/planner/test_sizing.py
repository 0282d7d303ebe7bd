"""How many replicas keep the SLO, what they cost, and how plans are ordered."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autotuner.domain.errors import ConfigError
from autotuner.domain.slo import SLO
from autotuner.load.traces import Trace
from autotuner.planner.costing import HOURS_PER_YEAR, Aim, Terms, costs_of
from autotuner.planner.demand import Demand, steady_demand, trace_demand
from autotuner.planner.memory import Layout, Storage, memory_of
from autotuner.planner.performance import Replica
from autotuner.planner.planning import plans_of
from autotuner.planner.playing import played
from autotuner.planner.precision import Precision
from autotuner.planner.sizing import Expected, size, with_replicas
from tests.unit.planner.support import DEVICES, device, model

SLO_USUAL = SLO(ttft_s=2.0, gap_max_s=0.2)
QWEN7 = model("Qwen2.5-7B")


def demand(rate: float = 10.0, slo: SLO = SLO_USUAL) -> Demand:
    return steady_demand(rate, 1000, 300, slo, 0.95)


def sized(rate: float = 10.0, slo: SLO = SLO_USUAL, name: str = "A10") -> Expected | None:
    storage, layout = Storage(Precision.BF16), Layout()
    memory = memory_of(QWEN7, device(name), storage, layout)
    return size(Replica(QWEN7, device(name), storage, layout), memory, demand(rate, slo))


def test_more_traffic_takes_more_replicas_about_in_proportion() -> None:
    few, many = sized(5.0), sized(40.0)
    assert few is not None
    assert many is not None
    assert few.attainment >= 0.95
    assert 4 <= many.replicas / few.replicas <= 9
    assert many.capacity_tokens_per_s > 40 * 300


def test_a_tighter_slo_takes_no_fewer_and_an_impossible_one_is_said() -> None:
    tight, loose = sized(slo=SLO(ttft_s=0.6, gap_max_s=0.1)), sized(slo=SLO(ttft_s=20.0))
    assert tight is not None
    assert loose is not None
    assert tight.replicas >= loose.replicas
    assert sized(slo=SLO(gap_max_s=1e-3)) is None


def test_costs_by_hand() -> None:
    found = sized()
    assert found is not None
    one = device("A10")
    replica = Replica(QWEN7, one, Storage(Precision.BF16), Layout())
    terms = Terms(years=2, pue=1.5, energy_price_per_kwh=0.2)
    rented = costs_of(one, replica, found, demand(), terms)
    assert rented is not None
    millions_per_hour = 10 * 300 * 3600 / 1e6
    assert rented.devices == found.replicas
    assert rented.per_hour == pytest.approx(found.replicas * 0.75)
    assert rented.per_million_tokens == pytest.approx(rented.per_hour / millions_per_hour)
    assert rented.total_of_ownership == pytest.approx(rented.per_hour * 2 * HOURS_PER_YEAR)
    power_w = found.replicas * (25 + 0.7 * 125 * found.busy)
    kwh = power_w / 1000 * 1.5
    assert rented.kwh_per_million_tokens == pytest.approx(kwh / millions_per_hour)
    owned = costs_of(one, replica, found, demand(), replace(terms, owned=True))
    assert owned is not None
    bought = found.replicas * 3000 + kwh * 2 * HOURS_PER_YEAR * 0.2
    assert owned.total_of_ownership == pytest.approx(bought)
    unpriced = device("A10", purchase_price=None)
    assert costs_of(unpriced, replica, found, demand(), replace(terms, owned=True)) is None


def test_plans_are_in_the_order_of_the_aim() -> None:
    some = {name: DEVICES[name] for name in ("H100", "L40S", "RTX4090", "A100-40GB")}

    def plans(aim: Aim) -> list[float]:
        found = plans_of(QWEN7, some, [Precision.BF16], Storage(), 4096, demand(), aim, Terms())
        assert {plan.device_name for plan in found} == set(some)
        assert all(plan.played and plan.played.attainment >= 0.95 for plan in found)
        return [plan.measure(aim)[0] for plan in found]

    for aim in Aim:
        assert plans(aim) == sorted(plans(aim))


def test_played_request_by_request_a_plan_holds_and_half_of_it_does_not() -> None:
    storage, layout = Storage(Precision.BF16), Layout()
    memory = memory_of(QWEN7, device("A10"), storage, layout)
    replica = Replica(QWEN7, device("A10"), storage, layout)
    found = size(replica, memory, demand(20.0))
    assert found is not None
    seen = played(replica, memory, found, demand(20.0), seed=1)
    assert seen == played(replica, memory, found, demand(20.0), seed=1)
    assert seen.requests > 100
    assert seen.attainment >= 0.95
    half = replace(found, replicas=found.replicas // 2)
    assert played(replica, memory, half, demand(20.0), seed=1).attainment < 0.7


def test_so_many_replicas_as_asked_for() -> None:
    storage, layout = Storage(Precision.BF16), Layout()
    memory = memory_of(QWEN7, device("A10"), storage, layout)
    replica = Replica(QWEN7, device("A10"), storage, layout)
    more = with_replicas(replica, memory, demand(), 9)
    assert more is not None
    assert more.replicas == 9
    assert with_replicas(replica, memory, demand(40.0), 1) is None


def test_the_means_of_a_steady_demand_are_those_told() -> None:
    told = demand()
    assert told.mean_prompt_tokens == pytest.approx(1000)
    assert told.mean_output_tokens == pytest.approx(300)
    assert told.longest_tokens > 1300
    with pytest.raises(ConfigError, match="rate=0"):
        steady_demand(0, 10, 10, SLO_USUAL, 0.9)


def test_a_trace_is_sized_for_its_busiest_minute() -> None:
    calm, busy = np.arange(0, 600, 10.0), np.arange(120, 180, 0.5)
    at_s = np.sort(np.concatenate([calm, busy]))
    tokens = np.full(len(at_s), 100)
    trace = Trace(at_s, tokens, tokens // 2)
    found = trace_demand(trace, SLO_USUAL, 0.95, None)
    assert found.peak_rps == pytest.approx(126 / 60)
    assert found.mean_rps == pytest.approx(len(at_s) / at_s[-1])
    assert found.mean_output_tokens == 50
    assert trace_demand(trace, SLO_USUAL, 0.95, 3.0).peak_rps == 3.0
    at_once = Trace(np.zeros(2), tokens[:2], tokens[:2])
    with pytest.raises(ConfigError, match="--rate"):
        trace_demand(at_once, SLO_USUAL, 0.95, None)
