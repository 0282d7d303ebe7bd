"""Linear layers: prepacked by oneDNN where the CPU has it, torch's own elsewhere.

`bf16_linear` and `int8_linear` have the compiled ones.

Measured on Zen 5, one thread, all 120 layer linears of SmolLM2-135M, packed against torch's:
bfloat16 7.5 against 13.9 ms for 1 token, 20.2 against 26.4 ms for 32; float32 14.6 against 23.5
and 37.8 against 90 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

# Which row count oneDNN lays the packed weight out for. Any count may follow; between 1 and 256
# this choice changed no timing by more than noise in bfloat16, and 32 or more is faster in float32.
PACK_ROWS = 32


class Linear(Protocol):
    """y = x W^T + b on [tokens, in_features]. `nbytes` is what its weight takes in memory."""

    @property
    def nbytes(self) -> int: ...

    def __call__(self, x: Tensor) -> Tensor: ...

    def add_to(self, residual: Tensor, x: Tensor) -> Tensor:
        """The sum of residual and y, as a new tensor."""
        ...


@dataclass(frozen=True)
class PackedWeight:
    """Where compiled code finds a layer's weight, as `Bf16Weight` or `Int8Weight`: in memory that
    the layer keeps.
    """

    address: int
    outputs: int
    is_int8: bool


class PlainLinear:
    """torch's linear: any device and dtype."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._weight, self._bias = weight, bias
        self.nbytes = weight.nbytes

    def __call__(self, x: Tensor) -> Tensor:
        return functional.linear(x, self._weight, self._bias)

    def add_to(self, residual: Tensor, x: Tensor) -> Tensor:
        return residual + functional.linear(x, self._weight, self._bias)


class PackedLinear:
    """oneDNN's linear over a weight reordered once; CPU only."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), PACK_ROWS)
        self._bias = bias
        self.nbytes = weight.nbytes
        self._linear = torch.ops.mkldnn._linear_pointwise.default
        self._linear_add = torch.ops.mkldnn._linear_pointwise.binary

    def __call__(self, x: Tensor) -> Tensor:
        y: Tensor = self._linear(x, self._weight, self._bias, "none", [], "")
        return y

    def add_to(self, residual: Tensor, x: Tensor) -> Tensor:
        y: Tensor = self._linear_add(x, residual, self._weight, self._bias, "add")
        return y


def make_linear(weight: Tensor, bias: Tensor | None = None) -> Linear:
    """The fastest layer for the weight's device and dtype."""
    return PackedLinear(weight, bias) if can_pack(weight) else PlainLinear(weight, bias)


def can_pack(weight: Tensor) -> bool:
    """Whether oneDNN packs this weight on this machine (CPU place)."""
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if weight.device.type != "cpu" or not available:
        return False
    if weight.dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return weight.dtype == torch.float32
