"""Weights as int8 with a scale per output and group of inputs: arithmetic on tensors, no layers.

weight ~ values * scales[output, group] * 2^-exponents[input]. The exponents give inputs that carry
large activations a finer step, at the cost of those that carry small ones: activation-aware
scaling (AWQ, arXiv 2306.00978, section 3.2), with its factors rounded to powers of two, so that
undoing them changes no digit of an activation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

# 32 would be a tenth slower and bring the divergence from 0.0013 to 0.0008 (measured on SmolLM2 in
# float32 arithmetic), which is less than bfloat16 activations add.
GROUP_INPUTS = 64
LEVELS = 127
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)  # 0 is plain quantisation
MOST_EXPONENT = 8  # a factor of 256 either way: beyond it nothing is left of the others' digits
CHUNK_NUMBERS = 1 << 24  # quantised at a time, which bounds the memory for it


@dataclass(frozen=True)
class Int8Weight:
    """`values` [outputs, inputs] int8, `scales` [outputs, groups] bfloat16, `exponents` [inputs]
    int8 or None where all are zero. The last group may be shorter than GROUP_INPUTS.
    """

    values: Tensor
    scales: Tensor
    exponents: Tensor | None

    @property
    def nbytes(self) -> int:
        kept = (self.values, self.scales, self.exponents)
        return sum(tensor.nbytes for tensor in kept if tensor is not None)


def quantise(weight: Tensor, exponents: Tensor | None = None) -> Int8Weight:
    """`weight` [outputs, inputs] to the nearest of its int8 values.

    The error of a number is at most half its scale times 2^-exponent.
    """
    if exponents is not None and not bool(exponents.any()):
        exponents = None
    rows = max(1, CHUNK_NUMBERS // weight.shape[1])
    firsts = range(0, len(weight), rows)
    parts = [_quantise(weight[first : first + rows], exponents) for first in firsts]
    return Int8Weight(
        torch.cat([values for values, _ in parts]),
        torch.cat([scales for _, scales in parts]),
        exponents,
    )


def dequantise(quantised: Int8Weight, dtype: torch.dtype = torch.float32) -> Tensor:
    """The weight [outputs, inputs] that the int8 values stand for."""
    inputs = quantised.values.shape[1]
    scales = quantised.scales.float().repeat_interleave(GROUP_INPUTS, 1)[:, :inputs]
    weight = quantised.values.float().mul_(scales)
    if quantised.exponents is not None:
        weight.mul_(factors(quantised.exponents))
    return weight.to(dtype)


def factors(exponents: Tensor) -> Tensor:
    """2^-exponent of each input: what activations are multiplied by, as float32."""
    return torch.exp2(-exponents.float())


def choose_exponents(
    weight: Tensor, mean_abs: Tensor, sample: Tensor, alphas: Sequence[float] = ALPHAS
) -> Tensor:
    """The exponents [inputs] int8 of the alpha with the least error of outputs on `sample`.

    `mean_abs` [inputs] is the mean |activation| of each input, `sample` [tokens, inputs] some of
    these activations. A tie goes to the earlier alpha.
    """
    choices = [exponents_for(mean_abs, alpha) for alpha in alphas]
    errors = [output_error(weight, quantise(weight, choice), sample) for choice in choices]
    return choices[errors.index(min(errors))]


def exponents_for(mean_abs: Tensor, alpha: float) -> Tensor:
    """The nearest whole exponent of mean_abs^alpha, relative to its geometric mean."""
    greatest = mean_abs.max().clamp_min(torch.finfo(torch.float32).tiny)
    logs = torch.log2((mean_abs / greatest).clamp_min(2.0 ** (-2 * MOST_EXPONENT)))
    exponents = (alpha * (logs - logs.mean())).round()
    return exponents.clamp_(-MOST_EXPONENT, MOST_EXPONENT).to(torch.int8)


def output_error(weight: Tensor, quantised: Int8Weight, sample: Tensor) -> float:
    """Mean square of what quantisation adds to the outputs on `sample` [tokens, inputs]."""
    difference = dequantise(quantised) - weight.float()
    return float(functional.linear(sample.float(), difference).square().mean())


def _quantise(weight: Tensor, exponents: Tensor | None) -> tuple[Tensor, Tensor]:
    scaled = weight.float()
    if exponents is not None:
        scaled = scaled / factors(exponents)
    inputs = scaled.shape[1]
    padding = -inputs % GROUP_INPUTS
    groups = functional.pad(scaled, (0, padding)).view(len(scaled), -1, GROUP_INPUTS)
    # Rounding a scale to bfloat16 takes its greatest number to at most 127.25 steps: still 127.
    scales = (groups.abs().amax(-1) / LEVELS).to(torch.bfloat16)
    steps = scales.float()
    steps = torch.where(steps > 0, steps, 1.0)
    values = (groups / steps[..., None]).round_().to(torch.int8)
    return values.view(len(scaled), -1)[:, :inputs].contiguous(), scales
