"""How long one engine step takes, as a linear function of what the step is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class StepModel:
    """step_s = t0 + decode·sequences + prefill·tokens + context·KV tokens + pair·prefill pairs.

    `noise` is the coefficient of variation of a step's time around that (0: none). Linear by
    choice: the terms are the fixed overhead, the matrix products per token and the attention's
    reads; it can be fitted from the step log alone.
    """

    t0_s: float
    decode_s: float
    prefill_s: float
    context_s: float
    noise: float = 0.0
    pair_s: float = 0.0

    def step_s(
        self,
        decode_seqs: float,
        prefill_tokens: float,
        context_tokens: float,
        prefill_pairs: float = 0.0,
    ) -> float:
        """Seconds of a step with these ingredients, without noise."""
        return (
            self.t0_s
            + self.decode_s * decode_seqs
            + self.prefill_s * prefill_tokens
            + self.context_s * context_tokens
            + self.pair_s * prefill_pairs
        )


# Prior when nothing was measured: the bundled worker's linears in bfloat16 on one CPU thread take
# 7.5 ms at 1 token, 20.2 at 32, 112 at 256 (measured): about 6 + 0.42 a token. Attention is a
# chosen figure.
CPU_PRIOR = StepModel(t0_s=6e-3, decode_s=0.45e-3, prefill_s=0.42e-3, context_s=4e-6, noise=0.08)


@dataclass(frozen=True)
class StepTable:
    """Many step models side by side: one array of shape [environment] per coefficient."""

    t0_s: Floats
    decode_s: Floats
    prefill_s: Floats
    context_s: Floats
    noise: Floats
    pair_s: Floats

    @classmethod
    def of(cls, models: Sequence[StepModel]) -> StepTable:
        return cls(
            **{f.name: np.array([getattr(m, f.name) for m in models]) for f in fields(StepTable)}
        )

    def take(self, rows: Ints) -> StepTable:
        return StepTable(**{f.name: getattr(self, f.name)[rows] for f in fields(StepTable)})

    def model(self, row: int) -> StepModel:
        return StepModel(**{f.name: float(getattr(self, f.name)[row]) for f in fields(StepTable)})

    def scaled(self, factors: Floats) -> StepTable:
        """Each coefficient times its column of `factors` [environment, 5]; the noise stays."""
        return StepTable(
            self.t0_s * factors[:, 0],
            self.decode_s * factors[:, 1],
            self.prefill_s * factors[:, 2],
            self.context_s * factors[:, 3],
            self.noise,
            self.pair_s * factors[:, 4],
        )


@dataclass(frozen=True)
class HardwareRange:
    """(least, greatest) of each coefficient; drawn log-uniformly. The ranges are chosen."""

    t0_s: tuple[float, float]
    decode_s: tuple[float, float]
    prefill_to_decode: tuple[float, float]
    context_s: tuple[float, float]
    noise: tuple[float, float] = (0.01, 0.15)


CPU_RANGE = HardwareRange((3e-3, 20e-3), (0.2e-3, 1.2e-3), (0.5, 1.1), (0.5e-6, 12e-6))
GPU_RANGE = HardwareRange((4e-3, 30e-3), (10e-6, 120e-6), (0.4, 1.2), (0.01e-6, 0.3e-6))


def log_uniform(rng: np.random.Generator, bounds: tuple[float, float], n: int) -> Floats:
    """`n` draws between the bounds, uniform in the logarithm."""
    return np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]), n))


def draw_hardware(rng: np.random.Generator, gpu: Bools) -> StepTable:
    """The step coefficients of random machines: GPUs where `gpu` [environment] says so."""
    n = len(gpu)

    def pick(name: str) -> Floats:
        on_cpu = log_uniform(rng, getattr(CPU_RANGE, name), n)
        on_gpu = log_uniform(rng, getattr(GPU_RANGE, name), n)
        return np.where(gpu, on_gpu, on_cpu)

    decode_s = pick("decode_s")
    return StepTable(
        t0_s=pick("t0_s"),
        decode_s=decode_s,
        prefill_s=decode_s * pick("prefill_to_decode"),
        context_s=pick("context_s"),
        noise=pick("noise"),
        pair_s=np.zeros(n),  # training leaves it out: it changes what is best, not how to search
    )
