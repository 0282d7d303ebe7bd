"""Linear layers over bfloat16 weights in compiled code, for vector units that multiply bfloat16.

Measured on Zen 5, one thread, SmolLM2-135M, compiled against oneDNN's packed weights (ms of CPU
time):

    rows                        1          4           8          16         32       128       512
    120 layer linears   6.2 / 8.4  6.2 / 8.7  6.8 / 10.9  9.1 / 14.3  14.5 / 22   54 / 59  215 / 216
    head                1.5 / 1.8  1.6 / 1.9   1.8 / 2.5   2.4 / 3.3  4.0 / 5.4  15 / 15     78 / 78

Reading the 212 MB of the layers takes 6.2 ms, their arithmetic 0.42 ms a row.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from autotuner.worker.cpu_features import CPU_INFO, cpu_flags
from autotuner.worker.huge_pages import Arena
from autotuner.worker.linear import Linear, PackedWeight, make_linear

TILE_OUTPUTS = 64  # side by side in memory; bf16_products.h has the same number
KERNEL = "bf16_linear"


class Bf16Factory:
    """Makes compiled layers of bfloat16 weights on a CPU, and the usual ones of all others; a
    `models.parts.LinearFactory`.
    """

    def __init__(self, library: ctypes.CDLL, threads: int) -> None:
        self._kernel, self._threads = _kernel(library), threads
        self._arena = Arena(torch.int32)

    def __call__(
        self,
        name: str,  # noqa: ARG002 (what other factories need)
        weight: Tensor,
        bias: Tensor | None,
        inputs: slice,  # noqa: ARG002
    ) -> Linear:
        if weight.device.type != "cpu" or weight.dtype != torch.bfloat16:
            return make_linear(weight, bias)
        return NativeBf16Linear(self._kernel, weight, bias, self._threads, self._arena)


def has_fast_kernel(cpu_info: Path = CPU_INFO) -> bool:
    """Whether the kernel is faster than oneDNN: not where there are no bfloat16 vectors, nor where
    there are matrix units (AMX), which it leaves idle.
    """
    flags = cpu_flags(cpu_info)
    return "avx512_bf16" in flags and "amx_bf16" not in flags


class _Weight(ctypes.Structure):
    """`Bf16Weight` of bf16_products.h."""

    _fields_ = (
        ("words", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("outputs", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
    )


class NativeBf16Linear:
    """bf16_linear.cpp over a weight laid out for it; bfloat16 activations, on a CPU."""

    def __init__(
        self,
        kernel: Callable[..., None],
        weight: Tensor,
        bias: Tensor | None,
        threads: int,
        arena: Arena,
    ) -> None:
        self._outputs, inputs = weight.shape
        self._kernel, self._threads = kernel, threads
        words = arena.keep(tiled(weight))
        padding = -self._outputs % TILE_OUTPUTS
        wide = None if bias is None else functional.pad(bias.float(), (0, padding))
        self._kept = (words, wide)  # whose memory the structure points into
        self.nbytes = words.nbytes
        bias_at = None if wide is None else wide.data_ptr()
        self._weight = _Weight(words.data_ptr(), bias_at, self._outputs, inputs)
        self.packed = PackedWeight(ctypes.addressof(self._weight), self._outputs, is_int8=False)

    def __call__(self, x: Tensor) -> Tensor:
        return self._run(x, None)

    def add_to(self, residual: Tensor, x: Tensor) -> Tensor:
        residual = residual.contiguous()
        return self._run(x, residual.data_ptr())

    def _run(self, x: Tensor, residual_at: int | None) -> Tensor:
        x, rows = x.contiguous(), x.size(0)
        y = torch.empty(rows, self._outputs, dtype=torch.bfloat16)
        at = self.packed.address
        self._kernel(at, x.data_ptr(), rows, residual_at, y.data_ptr(), self._threads)
        return y


def tiled(weight: Tensor) -> Tensor:
    """Words [tiles, ceil(inputs / 2), TILE_OUTPUTS] int32 of two inputs each, the first one lower.

    Outputs are padded to whole tiles and inputs to whole words, with zeros. The result is a view.
    """
    outputs, inputs = weight.shape
    rows, columns = -outputs % TILE_OUTPUTS, inputs % 2
    if rows or columns:
        weight = functional.pad(weight, (0, columns, 0, rows))
    words = weight.contiguous().view(torch.int32)
    return words.view(-1, TILE_OUTPUTS, words.shape[1]).transpose(1, 2)


def _kernel(library: ctypes.CDLL) -> Callable[..., None]:
    """Counts go as addresses do, which the C ABI passes alike: ctypes converts them faster."""
    kernel = library[KERNEL]
    kernel.argtypes, kernel.restype = (ctypes.c_void_p,) * 6, None
    return kernel
