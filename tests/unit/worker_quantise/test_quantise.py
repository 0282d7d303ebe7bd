"""int8 weights: how far they are from the originals, and how the gains are chosen."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from autotuner.worker.quantise import (
    ALPHAS,
    CHUNK_NUMBERS,
    GROUP_INPUTS,
    MOST_GAIN,
    Int8Weight,
    choose_gains,
    dequantise,
    gains_for,
    output_error,
    quantise,
)


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _with_large_inputs(tokens: int, inputs: int) -> Tensor:
    """Activations of which every eleventh input is forty times as large as the others."""
    sample = _random(tokens, inputs, seed=1)
    sample[:, ::11] *= 40
    return sample


def _most_error(quantised: Int8Weight) -> Tensor:
    """Half a step of each number."""
    inputs = quantised.values.shape[1]
    steps = quantised.scales.float().repeat_interleave(GROUP_INPUTS, 1)[:, :inputs]
    gains = quantised.gains
    return steps / 2 / (1.0 if gains is None else gains)


@pytest.mark.parametrize("inputs", [1, 48, 64, 100, 192])
def test_no_number_is_further_off_than_half_a_step(inputs: int) -> None:
    weight = _random(33, inputs)
    quantised = quantise(weight)
    error = (dequantise(quantised) - weight).abs()
    assert (error <= _most_error(quantised) * 1.001).all()
    assert quantised.scales.shape == (33, -(-inputs // GROUP_INPUTS))


def test_half_a_step_bounds_the_error_under_gains_too() -> None:
    weight = _random(20, 130)
    gains = torch.linspace(0.01, 100, 130)
    quantised = quantise(weight, gains)
    error = (dequantise(quantised) - weight).abs()
    assert (error <= _most_error(quantised) * 1.001).all()


def test_the_greatest_number_of_a_group_uses_the_last_level() -> None:
    quantised = quantise(_random(200, 64))
    assert quantised.values.abs().amax(1).eq(127).all()


def test_zeros_stay_zeros() -> None:
    weight = _random(4, 128)
    weight[1], weight[2, 64:] = 0, 0
    back = dequantise(quantise(weight))
    assert back[1].eq(0).all()
    assert back[2, 64:].eq(0).all()


def test_a_slice_is_quantised_as_its_part_of_the_whole() -> None:
    weight = _random(40, 256)
    gains = gains_for(_with_large_inputs(50, 256).abs().mean(0), 0.5)
    whole = quantise(weight, gains)
    rows, columns = slice(8, 24), slice(64, 192)
    part = quantise(weight[rows, columns], gains[columns])
    assert part.values.equal(whole.values[rows, columns])
    assert part.scales.equal(whole.scales[rows, 1:3])


def test_a_slice_that_cuts_a_group_is_no_worse() -> None:
    weight = _random(40, 256)
    part = quantise(weight[:, 32:])
    error = (dequantise(part) - weight[:, 32:]).abs()
    assert (error <= _most_error(part) * 1.001).all()


def test_large_weights_are_quantised_in_parts() -> None:
    rows = CHUNK_NUMBERS // 4096 + 3
    weight = _random(1, 4096).expand(rows, -1)
    quantised = quantise(weight)
    assert quantised.values.shape == (rows, 4096)
    assert quantised.values[-1].equal(quantised.values[0])


def test_gains_follow_the_activations() -> None:
    mean_abs = torch.tensor([1.0, 4.0, 16.0])
    assert gains_for(mean_abs, 1.0).tolist() == pytest.approx([0.25, 1, 4])
    assert gains_for(mean_abs, 0.5).tolist() == pytest.approx([0.5, 1, 2])
    assert gains_for(mean_abs, 0.0).tolist() == [1, 1, 1]


def test_inputs_that_are_never_used_get_an_exponent_too() -> None:
    assert gains_for(torch.zeros(3), 1.0).tolist() == [1, 1, 1]
    unused, used = gains_for(torch.tensor([0.0, 1.0]), 1.0).tolist()
    assert unused == pytest.approx(1 / MOST_GAIN)
    assert used == pytest.approx(MOST_GAIN)


@pytest.mark.parametrize("seed", range(5))
def test_chosen_gains_are_never_worse_than_none(seed: int) -> None:
    weight, sample = _random(64, 128, seed=seed), _random(40, 128, seed=seed + 100)
    chosen = choose_gains(weight, sample.abs().mean(0), sample)
    plain = output_error(weight, quantise(weight), sample)
    assert output_error(weight, quantise(weight, chosen), sample) <= plain


def test_large_activations_make_the_chosen_gains_better() -> None:
    weight, sample = _random(64, 256), _with_large_inputs(100, 256)
    chosen = choose_gains(weight, sample.abs().mean(0), sample)
    plain = output_error(weight, quantise(weight), sample)
    assert output_error(weight, quantise(weight, chosen), sample) < 0.5 * plain


def test_alpha_zero_comes_first_so_that_a_tie_is_plain() -> None:
    assert ALPHAS[0] == 0.0
    chosen = choose_gains(torch.zeros(4, 64), torch.rand(64), torch.rand(3, 64))
    assert chosen.eq(1).all()


def test_gains_of_one_are_not_kept() -> None:
    quantised = quantise(_random(4, 64), torch.ones(64))
    assert quantised.gains is None
    assert quantised.nbytes == 4 * 64 + 4 * 2
