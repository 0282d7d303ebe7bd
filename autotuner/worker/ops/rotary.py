"""Rotary position embedding: its tables, and the rotation in plain torch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from autotuner.worker.model_config import ModelConfig, RopeScaling


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of [tokens, heads, head_dim]; cos and sin are rows of `rotary_tables`.

    RoFormer (arXiv 2104.09864) section 3.4.2, halves instead of neighbours paired. The sine's
    first half carries the minus sign, so that a roll serves for the rotation of halves.
    """
    return torch.addcmul(x * cos, torch.roll(x, x.shape[-1] // 2, -1), sin)


def rotary_tables(config: ModelConfig, length: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The cosine and the signed sine of each position, both [length, 1, rotary_dim]."""
    frequencies = _frequencies(config)
    angles = torch.arange(length, dtype=torch.float32)[:, None] * frequencies[None, :]
    sharper = _yarn_sharpening(config.rope_scaling)
    cos, sin = angles.cos() * sharper, angles.sin() * sharper
    return (
        torch.cat((cos, cos), -1)[:, None].to(dtype),
        torch.cat((-sin, sin), -1)[:, None].to(dtype),
    )


def _frequencies(config: ModelConfig) -> Tensor:
    dim = config.rotary_dim
    exponents = torch.arange(0, dim, 2, dtype=torch.float32) / dim
    frequencies = 1.0 / config.rope_theta**exponents
    if config.rope_scaling.kind == "linear":
        return frequencies / config.rope_scaling.factor
    if config.rope_scaling.kind == "llama3":
        return _llama3_frequencies(frequencies, config.rope_scaling)
    if config.rope_scaling.kind == "yarn":
        return _yarn_frequencies(frequencies, config)
    return frequencies


def _llama3_frequencies(frequencies: Tensor, scaling: RopeScaling) -> Tensor:
    """Slow rotations are slowed by the factor, fast ones kept, those between are blended."""
    turns = scaling.original_max_len * frequencies / (2 * math.pi)
    kept = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    kept = kept.clamp(0.0, 1.0)
    return frequencies * kept + frequencies / scaling.factor * (1.0 - kept)


def _yarn_frequencies(frequencies: Tensor, config: ModelConfig) -> Tensor:
    """YaRN (arXiv 2309.00071) section 3.2: pairs that turn often within the original context are
    kept, those that turn seldom are slowed by the factor, with a ramp between.
    """
    scaling, pairs = config.rope_scaling, len(frequencies)
    assert scaling.yarn is not None

    def pair_that_turns(times: float) -> float:
        length = scaling.original_max_len / (times * 2 * math.pi)
        return config.rotary_dim * math.log(length) / (2 * math.log(config.rope_theta))

    low = max(math.floor(pair_that_turns(scaling.yarn.beta_fast)), 0)
    high = min(math.ceil(pair_that_turns(scaling.yarn.beta_slow)), config.rotary_dim - 1)
    ramp = (torch.arange(pairs, dtype=torch.float32) - low) / max(high - low, 0.001)
    slowed = ramp.clamp(0.0, 1.0)
    return frequencies * (1.0 - slowed) + frequencies / scaling.factor * slowed


def _yarn_sharpening(scaling: RopeScaling) -> float:
    """What cosines and sines are multiplied by; 1 without YaRN."""
    if scaling.yarn is None:
        return 1.0
    if scaling.yarn.attention_factor is not None:
        return scaling.yarn.attention_factor
    mscale, all_dim = scaling.yarn.mscale, scaling.yarn.mscale_all_dim
    if mscale and all_dim:
        return yarn_mscale(scaling.factor, mscale) / yarn_mscale(scaling.factor, all_dim)
    return yarn_mscale(scaling.factor, 1.0)


def yarn_mscale(factor: float, mscale: float) -> float:
    """0.1 mscale ln(factor) + 1: DeepSeek's form of YaRN's temperature."""
    return 1.0 if factor <= 1.0 else 0.1 * mscale * math.log(factor) + 1.0
