"""Layers over int8 weights: compiled code on a CPU, plain torch elsewhere.

Measured on Zen 5, one thread, SmolLM2-135M, compiled int8 against packed bfloat16 (ms of CPU time):

    rows                   1           4           8          16          32         128
    120 layer linears  4.0 / 8.6   4.5 / 9.5   6.6 / 12    9.8 / 15    18 / 24     70 / 66
    head               0.7 / 1.5   0.7 / 1.9   1.2 / 2.6   2.2 / 3.5   4.6 / 5.6   17 / 16

The weights of both take 139 instead of 269 MB. On 376 tokens of greedy float32 answers the int8
model agrees on 96.3% at a divergence (KL) of 0.0018 nats, the bfloat16 model on 95.5% at 0.0009;
without activation-aware scaling it is 96.5% at 0.0027 (one point of agreement is noise here).
Activations keep 16 bits: 8 made the divergence of int8 weights in float32 arithmetic five times as
large (0.0066 against 0.0013).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from autotuner.worker.linear import Linear, PackedWeight
from autotuner.worker.quantise import GROUP_INPUTS, Int8Weight, dequantise, quantise

TILE_OUTPUTS = 32  # side by side in memory; int8.cpp has the same number
KERNEL = "int8_linear"


class Int8Factory:
    """Makes the int8 layers of a model; a `models.parts.LinearFactory`.

    `gains` [inputs] by layer name come from `quantise_calibration`; layers that it does not
    name are quantised plainly. `library` is the compiled code, or None where there is none.
    """

    def __init__(
        self, gains: Mapping[str, Tensor], library: ctypes.CDLL | None, threads: int = 1
    ) -> None:
        self._gains, self._threads = gains, threads
        self._kernel = None if library is None else _kernel(library)

    def __call__(self, name: str, weight: Tensor, bias: Tensor | None, inputs: slice) -> Linear:
        gains = self._gains.get(name)
        if gains is not None:
            gains = gains[inputs].to(weight.device)
        quantised = quantise(weight, gains)
        if self._kernel is not None and weight.device.type == "cpu":
            return NativeInt8Linear(self._kernel, quantised, bias, self._threads)
        return TorchInt8Linear(quantised, bias)


class TorchInt8Linear:
    """Widens the weight at each call: any device, slower than the weight it replaces."""

    def __init__(self, weight: Int8Weight, bias: Tensor | None) -> None:
        self._weight, self._bias = weight, bias
        self.nbytes = weight.nbytes

    def __call__(self, x: Tensor) -> Tensor:
        return functional.linear(x, dequantise(self._weight, x.dtype), self._bias)

    def add_to(self, residual: Tensor, x: Tensor) -> Tensor:
        return residual + self(x)


class _Weight(ctypes.Structure):
    """`Weight` of int8.cpp."""

    _fields_ = (
        ("values", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("factors", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("outputs", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
        ("groups", ctypes.c_int64),
    )


class NativeInt8Linear:
    """int8.cpp over a weight laid out for it; bfloat16 or float32 activations, on a CPU."""

    def __init__(
        self, kernel: Callable[..., None], weight: Int8Weight, bias: Tensor | None, threads: int
    ) -> None:
        outputs, inputs = weight.values.shape
        self._outputs = outputs
        self._kernel, self._threads = kernel, threads
        values, scales = tiled(weight)
        groups = scales.shape[1]
        gains = weight.gains
        padding = groups * GROUP_INPUTS - inputs
        spread = None if gains is None else functional.pad(1 / gains.float(), (0, padding))
        wide = None if bias is None else functional.pad(bias.float(), (0, -outputs % TILE_OUTPUTS))
        self._kept = [values, scales, spread, wide]  # whose memory the structure points into
        self.nbytes = sum(
            tensor.nbytes for tensor in (values, scales, spread) if tensor is not None
        )
        self._weight = _Weight(*map(_address, self._kept), outputs, inputs, groups)
        self.packed = PackedWeight(ctypes.addressof(self._weight), outputs, is_int8=True)

    def __call__(self, x: Tensor) -> Tensor:
        return self._run(x, 0)

    def add_to(self, residual: Tensor, x: Tensor) -> Tensor:
        residual = residual.contiguous()
        return self._run(x, residual.data_ptr())

    def _run(self, x: Tensor, residual_at: int) -> Tensor:
        x = x.contiguous()
        y = torch.empty(len(x), self._outputs, dtype=x.dtype)
        is_bf16 = x.dtype == torch.bfloat16
        self._kernel(
            self.packed.address,
            x.data_ptr(),
            len(x),
            residual_at,
            y.data_ptr(),
            is_bf16,
            self._threads,
        )
        return y


def tiled(weight: Int8Weight) -> tuple[Tensor, Tensor]:
    """Values [tiles, inputs / 4, TILE, 4] uint8, each plus 128, and scales [tiles, groups, TILE].

    Outputs are padded to whole tiles and inputs to whole groups, with zeros.
    """
    outputs, inputs = weight.values.shape
    rows, columns = -outputs % TILE_OUTPUTS, -inputs % GROUP_INPUTS
    values = functional.pad(weight.values, (0, columns, 0, rows))
    values = (values.view(torch.uint8) + 128).view(-1, TILE_OUTPUTS, (inputs + columns) // 4, 4)
    scales = functional.pad(weight.scales, (0, 0, 0, rows))
    scales = scales.view(-1, TILE_OUTPUTS, scales.shape[1])
    return values.transpose(1, 2).contiguous(), scales.transpose(1, 2).contiguous()


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _kernel(library: ctypes.CDLL) -> Callable[..., None]:
    kernel = library[KERNEL]
    pointer, number = ctypes.c_void_p, ctypes.c_int
    kernel.argtypes = [pointer, pointer, ctypes.c_int64, pointer, pointer, number, number]
    kernel.restype = None
    return kernel
