"""Types of numbers: bytes of a weight and of a cached number, and what they are computed in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from autotuner.planner.architecture import Parameters


class Precision(StrEnum):
    """Types that weights are kept in; KV is kept in the first three or in fp8."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"
    FP8 = "fp8"
    INT8 = "int8"
    INT4 = "int4"


@dataclass(frozen=True)
class _Kind:
    """`weight_bytes`: scales included. `computed_in`: in order of preference."""

    weight_bytes: float
    kv_bytes: float
    computed_in: tuple[str, ...]


# fp8: one float32 scale for a block of 128 by 128, as DeepSeek-V3's. int4: a 16-bit scale and a
# 4-bit zero for a group of 128 (GPTQ, AWQ), computed in bf16. int8: one scale an output, left out.
_KINDS = {
    Precision.FP32: _Kind(4.0, 4.0, ("fp32",)),
    Precision.BF16: _Kind(2.0, 2.0, ("bf16", "fp32")),
    Precision.FP16: _Kind(2.0, 2.0, ("bf16", "fp32")),
    Precision.FP8: _Kind(1.0 + 4 / 128**2, 2.0, ("fp8", "bf16")),
    Precision.INT8: _Kind(1.0, 2.0, ("int8", "bf16", "fp32")),
    Precision.INT4: _Kind(0.5 + 2.5 / 128, 2.0, ("bf16",)),
}
PLAIN_BYTES = 2.0  # of what an 8- or 4-bit model keeps unquantised


def quantised_bytes(precision: Precision) -> float:
    """Of a weight in a matrix of the layers."""
    return _KINDS[precision].weight_bytes


def plain_bytes(precision: Precision) -> float:
    """Of a number in embeddings, head, router and norms."""
    return max(_KINDS[precision].weight_bytes, PLAIN_BYTES)


def weight_bytes(parameters: Parameters, precision: Precision) -> float:
    """Of the whole model on one device."""
    plain = parameters.total - parameters.quantised
    return parameters.quantised * quantised_bytes(precision) + plain * plain_bytes(precision)


def kv_number_bytes(weights: Precision, cache: Precision | None = None) -> float:
    """Of a cached number: in the type computed in (16 bits, or fp32), or in `cache`."""
    if cache is None:
        return _KINDS[weights].kv_bytes
    return 1.0 if cache in (Precision.FP8, Precision.INT8) else _KINDS[cache].weight_bytes


def computed_in(precision: Precision) -> tuple[str, ...]:
    """Types of arithmetic that serve, the best first; a device has the first that it lists."""
    return _KINDS[precision].computed_in
