"""The decoder's small operations in plain torch; each is the reference for a faster version.

Nothing of layers, caches or devices.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from autotuner.worker.model_config import ModelConfig, RopeScaling


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Returns x / sqrt(mean(x²) + eps) * weight over the last dimension; statistics in float32."""
    return functional.rms_norm(x, (x.shape[-1],), weight, eps)


def silu_mul(gate_up: Tensor) -> Tensor:
    """silu(gate) * up, of [tokens, 2 * width] with the gate in the first half: [tokens, width]."""
    width = gate_up.shape[-1] // 2
    return functional.silu(gate_up[:, :width]).mul_(gate_up[:, width:])


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of [tokens, heads, head_dim]; cos and sin are rows of `rotary_tables`.

    RoFormer (arXiv 2104.09864) section 3.4.2, halves instead of neighbours paired. The sine's
    first half carries the minus sign, so that a roll serves for the rotation of halves.
    """
    return torch.addcmul(x * cos, torch.roll(x, x.shape[-1] // 2, -1), sin)


def rotary_tables(config: ModelConfig, length: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The cosine and the signed sine of each position, both [length, 1, head_dim]."""
    frequencies = _frequencies(config)
    angles = torch.arange(length, dtype=torch.float32)[:, None] * frequencies[None, :]
    cos, sin = angles.cos(), angles.sin()
    return (
        torch.cat((cos, cos), -1)[:, None].to(dtype),
        torch.cat((-sin, sin), -1)[:, None].to(dtype),
    )


def _frequencies(config: ModelConfig) -> Tensor:
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
    frequencies = 1.0 / config.rope_theta**exponents
    if config.rope_scaling.kind == "linear":
        return frequencies / config.rope_scaling.factor
    if config.rope_scaling.kind == "llama3":
        return _llama3_frequencies(frequencies, config.rope_scaling)
    return frequencies


def _llama3_frequencies(frequencies: Tensor, scaling: RopeScaling) -> Tensor:
    """Slow rotations are slowed by the factor, fast ones kept, those between are blended."""
    turns = scaling.original_max_len * frequencies / (2 * math.pi)
    kept = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    kept = kept.clamp(0.0, 1.0)
    return frequencies * kept + frequencies / scaling.factor * (1.0 - kept)
