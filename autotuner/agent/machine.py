"""What another engine does to a machine: its step times, KV room and power under any engine knobs.

The step times are known under one engine, the reference; every other engine's follow by ratios, so
that the reference's own come out exactly as they went in. It must not know workloads or schedules.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from autotuner.agent.engine import ATTENTIONS, Engine, EngineTable
from autotuner.agent.serving import ServingTable
from autotuner.agent.stepmodel import Bools, Floats, Ints, StepTable, draw_hardware, log_uniform

WINDOW_TOKENS = 1024.0  # sliding_window: the bundled worker's figure
_SLIDING, _TOP_K = ATTENTIONS.index("sliding_window"), ATTENTIONS.index("top_k")
# Two threads instead of one on a quiet machine, measured on the bundled worker: a decode step 1.75
# to 1.8 times as fast, a prompt's 1.5 times. As powers of the number of threads:
_DECODE_POWER, _PREFILL_POWER = 0.83, 0.6
# Two threads for each core, measured: 12 times as slow. Linear in the excess up to there (chosen).
_COLLAPSE = 5.0
# KV follows the type that is computed in: float32's takes twice as much as the others'.
_KV_SIZE = np.array([2.0, 1.0, 1.0])
_WEIGHT_SIZE = np.array([2.0, 1.0, 0.5])
_LEAST_SHARE = (
    0.02  # no knob makes a step's part shorter than this share of the reference's; chosen
)
_LEAST_KV_TOKENS = 16.0


@dataclass(frozen=True)
class Traits:
    """What is assumed of a machine beside its step times, until something measures it.

    Floats in seconds, W or shares; `read_time` and `token_time` per weight type as in
    WEIGHT_DTYPES, relative to bfloat16. The fields are those of MachineTable.
    """

    cores: int
    weights_share: float
    read_time: tuple[float, float, float]
    token_time: tuple[float, float, float]
    exchange_s: float
    exchange_token_s: float
    handover_s: float
    overlap: float
    top_k_cost: float
    rebuild_s: float
    idle_w: float
    busy_w: float


# Measured on the bundled worker with SmolLM2-135M: step times of the weight types (float32 against
# bfloat16 at batches of 1 and 32, compiled int8 against bfloat16), a sum over gloo of 32 rows
# (60 a step, 0.2 ms each), `top_k` against `full` at 8,000 tokens, a rebuild of 2 to 3 s. Chosen:
# weights_share, handover_s, overlap, and the watts, which stand for a server core.
CPU_TRAITS = Traits(
    cores=2,
    weights_share=0.85,
    read_time=(2.2, 1.0, 0.5),
    token_time=(2.2, 1.0, 0.95),
    exchange_s=10e-3,
    exchange_token_s=0.02e-3,
    handover_s=1e-3,
    overlap=0.7,
    top_k_cost=0.25,
    rebuild_s=3.0,
    idle_w=3.0,
    busy_w=12.0,
)
# All chosen, for a data-centre GPU with fast links: weights read at 2, 1 and ½ of bfloat16's bytes,
# float32 without 16-bit units; `top_k` runs in plain torch there and saves nothing.
GPU_TRAITS = Traits(
    cores=8,
    weights_share=0.6,
    read_time=(2.0, 1.0, 0.55),
    token_time=(4.0, 1.0, 0.8),
    exchange_s=0.8e-3,
    exchange_token_s=1e-6,
    handover_s=0.1e-3,
    overlap=0.4,
    top_k_cost=1.5,
    rebuild_s=30.0,
    idle_w=90.0,
    busy_w=500.0,
)


@dataclass(frozen=True)
class MachineTable:
    """Machines side by side: arrays [environment], or [environment, weight type] where said.

    `steps` are those of one replica under the engine `reference`. `cpu`: threads count, and take
    `cores`; elsewhere a device takes one of them. `weights_share` of t0 reads the weights, which
    every device, thread and smaller type shortens; the rest of t0 stays. `read_time` and
    `token_time` [environment, weight type]: of reading the weights and of a token's arithmetic, on
    any scale. `exchange_s`, `exchange_token_s`: what each doubling of the tensor-parallel size adds
    to a step and to a token. `handover_s`: what each further pipeline stage adds to a step.
    `overlap`: the share of prompt tokens in steps that are cut into micro-batches, on which the
    stages work at once. `top_k_cost`: of scoring a key, in units of reading it. `kv_tokens`: tokens
    of KV that a replica holds under the reference, inf for no limit. `weights_kv_tokens`: the
    weights' memory in the same unit where KV gets what the weights leave; 0 where KV has a budget
    of its own, as in the bundled worker, which then only its type changes. `rebuild_s`: of going
    over to another engine. `idle_w`, `busy_w`: per core or device in use.
    """

    steps: StepTable
    reference: EngineTable
    cpu: Bools
    cores: Ints
    weights_share: Floats
    read_time: Floats
    token_time: Floats
    exchange_s: Floats
    exchange_token_s: Floats
    handover_s: Floats
    overlap: Floats
    top_k_cost: Floats
    kv_tokens: Floats
    weights_kv_tokens: Floats
    rebuild_s: Floats
    idle_w: Floats
    busy_w: Floats

    @classmethod
    def of_steps(
        cls,
        steps: StepTable,
        reference: EngineTable | None = None,
        *,
        gpu: bool = False,
        cores: int | None = None,
        kv_tokens: float = np.inf,
    ) -> MachineTable:
        """Machines with these step times, all else as assumed of a CPU or a GPU.

        Without `reference`, the steps are those of one device in bfloat16.
        """
        n, traits = len(steps.t0_s), GPU_TRAITS if gpu else CPU_TRAITS
        told: dict[str, Any] = {
            f.name: np.full((n, *np.shape(getattr(traits, f.name))), getattr(traits, f.name))
            for f in fields(Traits)
        }
        told["cores"] = np.full(n, traits.cores if cores is None else cores, np.int64)
        return cls(
            steps=steps,
            reference=EngineTable.of([Engine()] * n) if reference is None else reference,
            cpu=np.full(n, not gpu),
            kv_tokens=np.full(n, kv_tokens),
            weights_kv_tokens=np.zeros(n),
            **told,
        )

    def __len__(self) -> int:
        return len(self.cores)

    def take(self, rows: Ints) -> MachineTable:
        """The given rows; a row may be taken many times."""
        tables = ("steps", "reference")
        rest = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name not in tables}
        return MachineTable(self.steps.take(rows), self.reference.take(rows), **rest)

    def places(self, engines: EngineTable) -> Floats:
        """Cores or devices that the engines take, [environment]."""
        return engines.devices * np.where(self.cpu, engines.threads, 1)


def serve(
    machines: MachineTable,
    engines: EngineTable,
    optimistic: Bools,
    prefix_share: Floats,
    patience_s: Floats,
) -> ServingTable:
    """How the machines serve under `engines`; under their references exactly as measured."""
    return ServingTable(
        steps=_steps(machines, engines),
        kv_tokens=_kv_tokens(machines, engines),
        optimistic=optimistic,
        window=np.where(engines.attention == _SLIDING, WINDOW_TOKENS, np.inf),
        replicas=engines.data,
        prefix_share=prefix_share,
        patience_s=patience_s,
    )


@dataclass(frozen=True)
class _Pace:
    """How long each part of a step takes, on a scale of its own: arrays [environment]."""

    read: Floats
    decode: Floats
    prefill: Floats
    context: Floats
    pair: Floats
    crowding: Floats

    @classmethod
    def of(cls, machines: MachineTable, engines: EngineTable) -> _Pace:
        rows = np.arange(len(machines))
        threads = np.where(machines.cpu, engines.threads, 1).astype(np.float64)
        spread = engines.tensor * threads**_DECODE_POWER
        stages = engines.pipeline.astype(np.float64)
        cut = 1 + machines.overlap * ((2 * stages - 1) / stages**2 - 1)
        token = machines.token_time[rows, engines.weight_dtype]
        scores = np.where(engines.attention == _TOP_K, machines.top_k_cost, 1.0)
        over = machines.places(engines) / machines.cores
        prefill = cut / (engines.tensor * threads**_PREFILL_POWER)
        return cls(
            read=machines.read_time[rows, engines.weight_dtype] / spread,
            decode=token / spread,
            prefill=token * prefill,
            context=scores * _KV_SIZE[engines.weight_dtype] / spread,
            pair=np.maximum(scores, 1.0) * token * prefill,
            crowding=np.where(over > 1, over * (1 + _COLLAPSE * np.minimum(over - 1, 1.0)), 1.0),
        )


def _steps(machines: MachineTable, engines: EngineTable) -> StepTable:
    """Linear still: t0 + a part per sequence, prompt token, token of KV and pair of tokens.

    With p stages and as many micro-batches, each 1/p of the work, a step takes (2p − 1)/p² of one
    device's time (Huang et al. 2019, GPipe, section 2: p + k − 1 turns for k micro-batches). A step
    that is not cut goes through the stages one after the other and gains nothing.
    """
    s, reference = machines.steps, machines.reference
    was, now = _Pace.of(machines, reference), _Pace.of(machines, engines)
    doublings = np.log2(engines.tensor) - np.log2(reference.tensor)
    stages = engines.pipeline - reference.pipeline
    crowding = now.crowding / was.crowding
    exchange_s = machines.exchange_s * doublings + machines.handover_s * stages
    token_s = machines.exchange_token_s * doublings
    reading = 1 + machines.weights_share * (now.read / was.read - 1)

    def within(measured: Floats, changed: Floats) -> Floats:
        part: Floats = crowding * np.maximum(changed, _LEAST_SHARE * measured)
        return part

    return StepTable(
        t0_s=within(s.t0_s, s.t0_s * reading + exchange_s),
        decode_s=within(s.decode_s, s.decode_s * (now.decode / was.decode) + token_s),
        prefill_s=within(s.prefill_s, s.prefill_s * (now.prefill / was.prefill) + token_s),
        context_s=within(s.context_s, s.context_s * (now.context / was.context)),
        noise=s.noise,
        pair_s=within(s.pair_s, s.pair_s * (now.pair / was.pair)),
    )


def _kv_tokens(machines: MachineTable, engines: EngineTable) -> Floats:
    """A replica's room for KV: a budget of its own, or what the weights leave of its devices."""
    was, now = machines.reference, engines
    kv, weights = machines.kv_tokens, machines.weights_kv_tokens
    limited = np.where(np.isfinite(kv), kv, 0.0)
    size = _WEIGHT_SIZE[now.weight_dtype] / _WEIGHT_SIZE[was.weight_dtype]
    devices = (now.tensor * now.pipeline) / (was.tensor * was.pipeline)
    gained = (limited + weights) * (devices - 1) - weights * (size - 1)
    left = kv + np.where(weights > 0, gained, 0.0)
    room: Floats = left * _KV_SIZE[was.weight_dtype] / _KV_SIZE[now.weight_dtype]
    return np.maximum(room, np.minimum(kv, _LEAST_KV_TOKENS))


def draw_machines(rng: np.random.Generator, n: int, gpu_share: float = 0.4) -> MachineTable:
    """`n` random machines without a KV limit, a share of them GPUs; all ranges are chosen.

    The reference is one device with one thread, in float32 for a quarter of the CPUs.
    """
    gpu = rng.random(n) < gpu_share
    steps = draw_hardware(rng, gpu)
    # A stream of its own: what is drawn here may grow without changing the draws that follow.
    own = rng.spawn(1)[0]

    def pick(on_cpu: tuple[float, float], on_gpu: tuple[float, float]) -> Floats:
        return np.where(gpu, log_uniform(own, on_gpu, n), log_uniform(own, on_cpu, n))

    def types(float32: Floats, int8: Floats) -> Floats:
        return np.stack([float32, np.ones(n), int8], axis=1)

    cores = np.where(gpu, own.choice([1, 2, 4, 8], n), own.choice([2, 4, 8, 16], n))
    dtype = np.where(~gpu & (own.random(n) < 0.25), 0, 1)
    one = EngineTable.of([Engine()] * n)
    plain = MachineTable.of_steps(steps, replace(one, weight_dtype=dtype.astype(np.int64)))
    t0_s = steps.t0_s
    return replace(
        plain,
        cpu=~gpu,
        cores=cores.astype(np.int64),
        weights_share=own.uniform(0.3, 0.95, n),
        read_time=types(own.uniform(1.4, 2.4, n), own.uniform(0.4, 0.8, n)),
        token_time=types(pick((1.0, 7.0), (1.5, 8.0)), pick((0.7, 3.0), (0.5, 1.6))),
        exchange_s=t0_s * pick((0.1, 3.0), (0.02, 0.5)),
        exchange_token_s=steps.decode_s * pick((0.01, 0.2), (0.01, 0.3)),
        handover_s=t0_s * pick((0.02, 0.5), (0.01, 0.2)),
        overlap=own.uniform(0.1, 0.95, n),
        top_k_cost=pick((0.15, 0.6), (0.7, 3.0)),
        rebuild_s=pick((2.0, 20.0), (15.0, 180.0)),
        idle_w=pick((1.0, 6.0), (40.0, 150.0)),
        busy_w=pick((7.0, 25.0), (200.0, 700.0)),
    )
