"""Weights as int8 with a scale per output and group of inputs: arithmetic on tensors, no layers.

weight ~ values * scales[output, group] / gains[input]. The gains give inputs that carry large
activations a finer step, at the cost of those that carry small ones: activation-aware scaling
(AWQ, arXiv 2306.00978, section 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

# 32 is a tenth slower and takes 0.0005 off the divergence (measured on SmolLM2 in float32
# arithmetic), which is half of what bfloat16 activations add.
GROUP_INPUTS = 64
LEVELS = 127
ALPHAS = tuple(tenth / 10 for tenth in range(11))  # 0 is plain quantisation
MOST_GAIN = 256.0  # either way: beyond it nothing is left of the others' digits
CHUNK_NUMBERS = 1 << 24  # quantised at a time, which bounds the memory for it


@dataclass(frozen=True)
class Int8Weight:
    """`values` [outputs, inputs] int8, `scales` [outputs, groups] bfloat16, `gains` [inputs]
    float32, or None where all are 1. The last group may be shorter than GROUP_INPUTS.
    """

    values: Tensor
    scales: Tensor
    gains: Tensor | None

    @property
    def nbytes(self) -> int:
        kept = (self.values, self.scales, self.gains)
        return sum(tensor.nbytes for tensor in kept if tensor is not None)


def quantise(weight: Tensor, gains: Tensor | None = None) -> Int8Weight:
    """`weight` [outputs, inputs] to the nearest of its int8 values.

    The error of a number is at most half its scale over its gain.
    """
    if gains is not None and bool((gains == 1).all()):
        gains = None
    rows = max(1, CHUNK_NUMBERS // weight.shape[1])
    firsts = range(0, len(weight), rows)
    parts = [_quantise(weight[first : first + rows], gains) for first in firsts]
    return Int8Weight(
        torch.cat([values for values, _ in parts]),
        torch.cat([scales for _, scales in parts]),
        gains,
    )


def dequantise(quantised: Int8Weight, dtype: torch.dtype = torch.float32) -> Tensor:
    """The weight [outputs, inputs] that the int8 values stand for."""
    inputs = quantised.values.shape[1]
    scales = quantised.scales.float().repeat_interleave(GROUP_INPUTS, 1)[:, :inputs]
    weight = quantised.values.float().mul_(scales)
    if quantised.gains is not None:
        weight.div_(quantised.gains)
    return weight.to(dtype)


def choose_gains(
    weight: Tensor, mean_abs: Tensor, sample: Tensor, alphas: Sequence[float] = ALPHAS
) -> Tensor:
    """The gains [inputs] of the alpha with the least error of outputs on `sample`.

    `mean_abs` [inputs] is the mean |activation| of each input, `sample` [tokens, inputs] some of
    these activations. A tie goes to the earlier alpha.
    """
    choices = [gains_for(mean_abs, alpha) for alpha in alphas]
    errors = [output_error(weight, quantise(weight, choice), sample) for choice in choices]
    return choices[errors.index(min(errors))]


def gains_for(mean_abs: Tensor, alpha: float) -> Tensor:
    """mean_abs^alpha [inputs] over its geometric mean, within MOST_GAIN either way."""
    greatest = mean_abs.max().clamp_min(torch.finfo(torch.float32).tiny)
    logs = torch.log((mean_abs.float() / greatest).clamp_min(MOST_GAIN**-2))
    return torch.exp(alpha * (logs - logs.mean())).clamp_(1 / MOST_GAIN, MOST_GAIN)


def output_error(weight: Tensor, quantised: Int8Weight, sample: Tensor) -> float:
    """Mean square of what quantisation adds to the outputs on `sample` [tokens, inputs]."""
    difference = dequantise(quantised) - weight.float()
    return float(functional.linear(sample.float(), difference).square().mean())


def _quantise(weight: Tensor, gains: Tensor | None) -> tuple[Tensor, Tensor]:
    scaled = weight.float()
    if gains is not None:
        scaled = scaled * gains
    inputs = scaled.shape[1]
    padding = -inputs % GROUP_INPUTS
    groups = functional.pad(scaled, (0, padding)).view(len(scaled), -1, GROUP_INPUTS)
    # Rounding a scale to bfloat16 takes its greatest number to at most 127.25 steps: still 127.
    scales = (groups.abs().amax(-1) / LEVELS).to(torch.bfloat16)
    steps = scales.float()
    steps = torch.where(steps > 0, steps, 1.0)
    values = (groups / steps[..., None]).round_().to(torch.int8)
    return values.view(len(scaled), -1)[:, :inputs].contiguous(), scales
