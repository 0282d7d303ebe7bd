"""The compiled int8 layers against exact arithmetic on the weights that their values stand for."""

from __future__ import annotations

import ctypes

import pytest
import torch
from torch import Tensor

from autotuner.worker.int8_linear import Int8Factory, NativeInt8Linear
from autotuner.worker.linear import Linear
from autotuner.worker.ops.build import library
from autotuner.worker.quantise import dequantise, quantise

ALL = slice(None)
BF16_STEP = 2.0**-8  # twice the rounding of a result
# An activation is at most half a step of its group off: 1/65278 of the group's greatest number.
ACTIVATION_STEP = 1 / 65278


@pytest.fixture(scope="module")
def compiled() -> ctypes.CDLL:
    found = library()
    if found is None:
        pytest.skip("no compiler on this machine")
    return found


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _layer(
    compiled: ctypes.CDLL, weight: Tensor, bias: Tensor | None = None, threads: int = 1
) -> Linear:
    layer = Int8Factory({}, compiled, threads)("any", weight, bias, ALL)
    assert isinstance(layer, NativeInt8Linear)
    return layer


def _exact(weight: Tensor, x: Tensor, gains: Tensor | None = None) -> Tensor:
    return x.double() @ dequantise(quantise(weight, gains)).double().T


def _most_error(weight: Tensor, x: Tensor) -> Tensor:
    """What rounding every activation by half a step of its row can come to, and a little more."""
    greatest = x.float().abs().amax(1, keepdim=True).double()
    reach = dequantise(quantise(weight)).double().abs().sum(1)
    return ACTIVATION_STEP * 1.1 * greatest * reach


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 7, 11, 13, 200])
@pytest.mark.parametrize(("outputs", "inputs"), [(32, 64), (40, 100), (7, 3), (96, 192)])
def test_float32_results_are_exact_up_to_the_activations_step(
    compiled: ctypes.CDLL, rows: int, outputs: int, inputs: int
) -> None:
    weight, x = _random(outputs, inputs), _random(rows, inputs, seed=rows)
    y = _layer(compiled, weight)(x)
    assert y.shape == (rows, outputs)
    assert ((y - _exact(weight, x)).abs() <= _most_error(weight, x) + 1e-6).all()


@pytest.mark.parametrize("rows", [1, 9])
def test_bfloat16_results_are_rounded_once(compiled: ctypes.CDLL, rows: int) -> None:
    weight, x = _random(50, 128), _random(rows, 128, seed=1).bfloat16()
    y = _layer(compiled, weight)(x)
    assert y.dtype == torch.bfloat16
    exact = _exact(weight, x)
    assert ((y - exact).abs() <= exact.abs() * BF16_STEP + _most_error(weight, x)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bias_and_residual_are_added(compiled: ctypes.CDLL, dtype: torch.dtype) -> None:
    weight, bias, x = _random(45, 70), _random(45, seed=1), _random(8, 70, seed=2).to(dtype)
    residual = _random(8, 45, seed=3).to(dtype)
    kept = residual.clone()
    layer = _layer(compiled, weight, bias)
    exact = _exact(weight, x) + bias.double()
    most = _most_error(weight, x) + 1e-5
    if dtype == torch.bfloat16:
        most = most + (exact.abs() + residual.abs()) * BF16_STEP
    assert ((layer(x) - exact).abs() <= most).all()
    assert ((layer.add_to(residual, x) - exact - residual).abs() <= most).all()
    assert residual.equal(kept)


def test_gains_are_undone_on_the_activations(compiled: ctypes.CDLL) -> None:
    gains = torch.linspace(0.1, 10, 128)
    weight, x = _random(33, 128), _random(4, 128, seed=1)
    layer = Int8Factory({"any": gains}, compiled)("any", weight, None, ALL)
    assert torch.allclose(layer(x).double(), _exact(weight, x, gains), atol=2e-2, rtol=1e-4)


def test_layers_split_by_inputs_sum_to_the_whole(compiled: ctypes.CDLL) -> None:
    gains = torch.linspace(0.5, 2, 256)
    weight, x = _random(40, 256), _random(5, 256, seed=1)
    factory = Int8Factory({"down": gains}, compiled)
    whole = factory("down", weight, None, ALL)(x)
    parts = [slice(0, 128), slice(128, 256)]
    split = [factory("down", weight[:, part], None, part)(x[:, part]) for part in parts]
    assert torch.allclose(split[0] + split[1], whole, atol=1e-5)


def test_a_large_activation_costs_only_its_own_group(compiled: ctypes.CDLL) -> None:
    weight, x = _random(32, 128), _random(1, 128, seed=1)
    x[0, 0] = 1e4
    calm = weight.clone()
    calm[:, :64] = 0  # leaves the second group alone, whose activations are small
    error = (_layer(compiled, calm)(x) - _exact(calm, x)).abs()
    assert (error <= _most_error(calm, x[:, 64:].abs().amax(1, keepdim=True)) + 1e-6).all()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_number_that_is_not_finite_spoils_its_row_alone(
    compiled: ctypes.CDLL, bad: float
) -> None:
    weight, x = _random(40, 128), _random(9, 128, seed=1)
    fine = _layer(compiled, weight)(x)
    x[4, 70] = bad
    y = _layer(compiled, weight)(x)
    assert y[4].isnan().all()
    others = [row for row in range(9) if row != 4]
    assert y[others].equal(fine[others])


def test_rows_of_zeros_give_zeros(compiled: ctypes.CDLL) -> None:
    assert _layer(compiled, _random(40, 64))(torch.zeros(7, 64)).eq(0).all()


@pytest.mark.parametrize("rows", [1, 64])
def test_threads_and_company_change_no_digit(compiled: ctypes.CDLL, rows: int) -> None:
    weight, x = _random(1024, 512), _random(rows, 512, seed=1).bfloat16()
    alone = _layer(compiled, weight)(x)
    assert _layer(compiled, weight, threads=2)(x).equal(alone)
    assert _layer(compiled, weight)(x[-1:]).equal(alone[-1:])


def test_strided_activations_are_read_right(compiled: ctypes.CDLL) -> None:
    weight, wide = _random(40, 64), _random(6, 128, seed=1)
    layer = _layer(compiled, weight)
    assert layer(wide[:, 64:]).equal(layer(wide[:, 64:].contiguous()))
