"""The machine model: exact where it was measured, and each knob's effect in the right direction."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from autotuner.agent.engine import Engine, EngineTable
from autotuner.agent.machine import MachineTable, draw_machines, serve
from autotuner.agent.serving import ServingTable
from autotuner.agent.stepmodel import CPU_PRIOR, StepModel, StepTable

FULL, SLIDING, TOP_K = range(3)
FLOAT32, BFLOAT16, INT8 = range(3)
GPU_STEPS = StepModel(8e-3, 40e-6, 30e-6, 0.05e-6, 0.02, 1e-9)


def machine(
    *, gpu: bool = False, cores: int = 8, kv_tokens: float = np.inf, weights: float = 0.0
) -> MachineTable:
    model = GPU_STEPS if gpu else CPU_PRIOR
    table = MachineTable.of_steps(StepTable.of([model]), gpu=gpu, cores=cores, kv_tokens=kv_tokens)
    return replace(table, weights_kv_tokens=np.array([weights]))


def served(machines: MachineTable, engine: Engine) -> ServingTable:
    n = len(machines)
    engines = EngineTable.of([engine] * n)
    return serve(machines, engines, np.zeros(n, np.bool_), np.zeros(n), np.full(n, np.inf))


def step_s(serving: ServingTable, decoding: int = 8, prompt: int = 0, context: int = 2000) -> float:
    return serving.steps.model(0).step_s(decoding, prompt, context, prompt * 500)


def random_engines(rng: np.random.Generator, n: int) -> EngineTable:
    sizes = rng.choice([1, 2, 4], (4, n)).astype(np.int64)
    return EngineTable(rng.integers(0, 3, n), rng.integers(0, 3, n), *sizes)


def test_the_reference_engine_serves_exactly_as_measured() -> None:
    rng = np.random.default_rng(1)
    machines = replace(
        draw_machines(rng, 200),
        reference=random_engines(rng, 200),
        kv_tokens=rng.uniform(1e3, 1e5, 200),
        weights_kv_tokens=rng.uniform(0, 1e4, 200),
    )
    unlimited = np.full(200, np.inf)
    serving = serve(machines, machines.reference, unlimited > 0, np.zeros(200), unlimited)
    for field in fields(StepTable):
        measured = getattr(machines.steps, field.name)
        assert (getattr(serving.steps, field.name) == measured).all(), field.name
    assert (serving.kv_tokens == machines.kv_tokens).all()


def test_every_engine_gives_times_that_can_be() -> None:
    rng = np.random.default_rng(2)
    machines = draw_machines(rng, 500)
    serving = serve(
        machines, random_engines(rng, 500), np.zeros(500, np.bool_), np.zeros(500), np.zeros(500)
    )
    assert (serving.steps.t0_s > 0).all()
    assert np.isfinite(serving.steps.prefill_s).all()
    assert (serving.kv_tokens > 0).all()


@pytest.mark.parametrize("gpu", [False, True])
def test_tensor_parallel_shortens_long_prompts_and_costs_an_exchange(gpu: bool) -> None:
    one, two = (served(machine(gpu=gpu), Engine(tensor=t)) for t in (1, 2))
    assert step_s(two, prompt=4096) < 0.75 * step_s(one, prompt=4096)
    without = replace(machine(gpu=gpu), exchange_s=np.zeros(1), exchange_token_s=np.zeros(1))
    assert step_s(served(without, Engine(tensor=2))) < step_s(two)


def test_pipeline_stages_overlap_on_prompts_only() -> None:
    one, four = (served(machine(gpu=True), Engine(pipeline=p)) for p in (1, 4))
    assert four.steps.prefill_s[0] < one.steps.prefill_s[0]
    assert four.steps.decode_s[0] == one.steps.decode_s[0]
    assert four.steps.t0_s[0] > one.steps.t0_s[0]
    fully = replace(machine(gpu=True), overlap=np.ones(1))
    cut = served(fully, Engine(pipeline=4)).steps.prefill_s[0]
    assert cut == pytest.approx(one.steps.prefill_s[0] * 7 / 16)


def test_replicas_leave_the_steps_of_each_alone() -> None:
    one, four = (served(machine(), Engine(data=d)) for d in (1, 4))
    assert step_s(one) == step_s(four)
    assert four.replicas[0] == 4


def test_threads_help_as_measured_until_the_cores_are_gone() -> None:
    two_cores = machine(cores=2)
    one, two, four = (served(two_cores, Engine(threads=t)) for t in (1, 2, 4))
    assert 1.4 < step_s(one, prompt=512) / step_s(two, prompt=512) < 1.8
    assert step_s(four) > 5 * step_s(two)
    crowded = served(two_cores, Engine(data=4))
    assert crowded.steps.t0_s[0] == pytest.approx(12 * one.steps.t0_s[0])
    assert step_s(served(machine(gpu=True), Engine(threads=64))) == step_s(
        served(machine(gpu=True), Engine())
    )


def test_int8_frees_memory_only_where_kv_gets_what_weights_leave() -> None:
    shared, own = (machine(kv_tokens=1000.0, weights=w) for w in (400.0, 0.0))
    assert served(shared, Engine(weight_dtype=INT8)).kv_tokens[0] == 1200
    assert served(own, Engine(weight_dtype=INT8)).kv_tokens[0] == 1000
    assert served(own, Engine(weight_dtype=FLOAT32)).kv_tokens[0] == 500
    assert served(shared, Engine(tensor=2)).kv_tokens[0] == 2400
    assert served(own, Engine(tensor=2)).kv_tokens[0] == 1000
    full = machine(kv_tokens=1000.0, weights=4000.0)
    assert served(full, Engine(weight_dtype=FLOAT32)).kv_tokens[0] == 16


def test_weight_types_take_their_time() -> None:
    slow, base, small = (served(machine(), Engine(weight_dtype=d)) for d in range(3))
    assert step_s(slow) > 1.5 * step_s(base)
    assert step_s(small, decoding=1, context=0) < 0.7 * step_s(base, decoding=1, context=0)


def test_attention_modes_change_what_is_read() -> None:
    full, sliding, top = (served(machine(), Engine(attention=a)) for a in (FULL, SLIDING, TOP_K))
    assert (full.window[0], sliding.window[0], top.window[0]) == (np.inf, 1024, np.inf)
    assert sliding.steps.context_s[0] == full.steps.context_s[0]
    assert top.steps.context_s[0] == pytest.approx(0.25 * full.steps.context_s[0])


def test_places_count_threads_on_a_cpu_and_devices_elsewhere() -> None:
    engines = EngineTable.of([Engine(data=2, threads=3)])
    assert machine().places(engines)[0] == 6
    assert machine(gpu=True).places(engines)[0] == 2


def test_rows_are_taken_from_every_array() -> None:
    machines = draw_machines(np.random.default_rng(4), 10)
    two = machines.take(np.array([7, 7, 3]))
    assert len(two) == 3
    assert two.cores.tolist() == machines.cores[[7, 7, 3]].tolist()
    assert two.read_time.shape == (3, 3)
    assert two.steps.t0_s[2] == machines.steps.t0_s[3]
    assert two.reference.weight_dtype[0] == machines.reference.weight_dtype[7]
