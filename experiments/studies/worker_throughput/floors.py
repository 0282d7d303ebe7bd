"""What the machine allows: one thread's read bandwidth and bf16 arithmetic, and a step's floors.

A decode step reads every weight once and each sequence's K and V; it can't end before they are
read, nor before its multiplications are done.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from autotuner.worker.bf16_linear import Bf16Factory, has_fast_kernel
from autotuner.worker.linear import Linear, make_linear
from autotuner.worker.model_config import ModelConfig
from autotuner.worker.models.load import kv_shape
from autotuner.worker.ops.build import library

ROWS, COLUMNS = 1024, 2048  # of a matrix of the bandwidth's pass: 4 MiB in bfloat16
GEMM_SIZES = (512, 1024, 2048)
BF16_BYTES = 2


@dataclass(frozen=True)
class Machine:
    """The best that one thread did: bytes read per second, and multiply-adds x 2 per second."""

    read_bytes_per_s: float
    read_with: str
    flops_per_s: float

    def best_of(self, other: Machine) -> Machine:
        reads = max(self, other, key=lambda machine: machine.read_bytes_per_s)
        flops_per_s = max(self.flops_per_s, other.flops_per_s)
        return Machine(reads.read_bytes_per_s, reads.read_with, flops_per_s)


class Bench:
    """Weights of `total_bytes` (far more than the caches hold), read by one row of input.

    Several kernels read them; the fastest counts, as the floor must not flatter the engine.
    """

    def __init__(self, total_bytes: int, dtype: torch.dtype) -> None:
        torch.set_num_threads(1)
        self._total_bytes, self._dtype = total_bytes, dtype
        plain = _weights(total_bytes, torch.bfloat16)
        single = [weight.view(torch.float32) for weight in plain]
        packed = [make_linear(weight) for weight in plain]
        row = torch.ones(1, COLUMNS, dtype=torch.bfloat16)
        vector = torch.ones(COLUMNS // 2)
        self._passes: dict[str, Callable[[], None]] = {
            "packed linear, bfloat16": lambda: _each(packed, lambda layer: layer(row)),
            "linear, bfloat16": lambda: _each(plain, lambda w: functional.linear(row, w)),
            "matrix-vector, float32": lambda: _each(single, lambda w: torch.mv(w, vector)),
        }
        if (own := _own_linears(plain)) is not None:
            self._passes["the engine's linear, bfloat16"] = lambda: _each(own, lambda f: f(row))

    @torch.inference_mode()
    def measure(self, repeats: int) -> Machine:
        """The best of `repeats` of each kernel."""
        seconds = {name: _best_s(run, repeats) for name, run in self._passes.items()}
        fastest = min(seconds, key=lambda name: seconds[name])
        flops_per_s = max(_gemm_flops_per_s(size, self._dtype, repeats) for size in GEMM_SIZES)
        return Machine(self._total_bytes / seconds[fastest], fastest, flops_per_s)


@dataclass(frozen=True)
class Floors:
    """The least seconds of a decode step of a model, by what the machine reads and computes."""

    config: ModelConfig
    machine: Machine
    number_bytes: int

    def memory_s(self, batch: int, context_tokens: float) -> float:
        """(weight bytes + K and V bytes of all sequences) / bandwidth."""
        kv_bytes = kv_shape(self.config).numbers_per_token * self.number_bytes
        read = weight_numbers(self.config) * self.number_bytes + batch * context_tokens * kv_bytes
        return read / self.machine.read_bytes_per_s

    def arithmetic_s(self, batch: int, context_tokens: float) -> float:
        """2 operations a weight and token, 4 a query number and token attended to / rate."""
        config = self.config
        attention = 4 * context_tokens * config.num_layers * config.num_heads * config.head_dim
        return batch * (2 * weight_numbers(config) + attention) / self.machine.flops_per_s


def weight_numbers(config: ModelConfig) -> int:
    """Of all layers and the output head: what one step multiplies by (no norms, no biases)."""
    query, kv = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    attention = config.hidden_size * (2 * query + 2 * kv)
    mlp = 3 * config.hidden_size * config.intermediate_size
    return config.num_layers * (attention + mlp) + config.vocab_size * config.hidden_size


def _weights(total_bytes: int, dtype: torch.dtype) -> list[Tensor]:
    """Matrices [ROWS, COLUMNS] one behind the other, in huge pages where the system has them."""
    count = total_bytes // (ROWS * COLUMNS * dtype.itemsize)
    pages = mmap.mmap(-1, count * ROWS * COLUMNS * dtype.itemsize, flags=mmap.MAP_PRIVATE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        pages.madvise(mmap.MADV_HUGEPAGE)
    numbers = torch.frombuffer(pages, dtype=dtype).fill_(0.01)
    return list(numbers.view(count, ROWS, COLUMNS))


def _own_linears(weights: list[Tensor]) -> list[Linear] | None:
    """As the engine lays them out; None where it uses packed ones itself."""
    compiled = library() if has_fast_kernel() else None
    if compiled is None:
        return None
    make = Bf16Factory(compiled, threads=1)
    return [make("", weight, None, slice(None)) for weight in weights]


def _each(items: list[Any], use: Callable[[Any], object]) -> None:
    for item in items:
        use(item)


def _best_s(run: Callable[[], object], repeats: int) -> float:
    run()  # warms up
    return min(_seconds(run) for _ in range(repeats))


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _gemm_flops_per_s(size: int, dtype: torch.dtype, repeats: int) -> float:
    left, right = torch.ones(size, size, dtype=dtype), torch.ones(size, size, dtype=dtype)
    best_s = min(_best_s(run, repeats) for run in (lambda: left @ right.T, _packed(left, right)))
    return 2 * size**3 / best_s


def _packed(left: Tensor, right: Tensor) -> Callable[[], Tensor]:
    layer = make_linear(right)
    return lambda: layer(left)
