"""The layers over int8 weights without compiled code, and the layout that compiled code reads."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from autotuner.worker.int8_linear import TILE_OUTPUTS, Int8Factory, tiled
from autotuner.worker.quantise import dequantise, quantise

ALL = slice(None)


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_a_layer_computes_with_the_weight_that_its_int8_values_stand_for() -> None:
    weight, bias, x = _random(40, 96), _random(40), _random(5, 96)
    layer = Int8Factory({}, None)("any", weight, bias, ALL)
    expected = functional.linear(x, dequantise(quantise(weight)), bias)
    assert layer(x).equal(expected)
    residual = _random(5, 40)
    assert layer.add_to(residual, x).equal(residual + expected)


def test_a_layer_keeps_the_dtype_of_its_activations() -> None:
    layer = Int8Factory({}, None)("any", _random(8, 64), None, ALL)
    assert layer(_random(2, 64).bfloat16()).dtype == torch.bfloat16


def test_layers_take_the_gains_of_their_name_and_their_inputs() -> None:
    weight = _random(16, 128)
    gains = torch.linspace(0.1, 10, 128)
    factory = Int8Factory({"down": gains}, None)
    part = factory("down", weight[:, 64:], None, slice(64, 128))
    x = _random(3, 64)
    expected = functional.linear(x, dequantise(quantise(weight[:, 64:], gains[64:])))
    assert part(x).equal(expected)
    unknown = factory("up", weight, None, ALL)
    assert unknown(_random(3, 128)).equal(
        functional.linear(_random(3, 128), dequantise(quantise(weight)))
    )


def test_nbytes_is_about_half_of_bfloat16() -> None:
    weight = _random(256, 512).bfloat16()
    layer = Int8Factory({}, None)("any", weight, None, ALL)
    assert 0.5 * weight.nbytes < layer.nbytes < 0.53 * weight.nbytes


def test_tiles_hold_four_inputs_of_each_output_side_by_side() -> None:
    quantised = quantise(_random(40, 100))
    values, scales = tiled(quantised)
    assert values.shape == (2, 128 // 4, TILE_OUTPUTS, 4)
    assert scales.shape == (2, 2, TILE_OUTPUTS)
    for output, column in [(0, 0), (31, 63), (33, 64), (39, 99)]:
        place = values[output // 32, column // 4, output % 32, column % 4]
        assert int(place) - 128 == int(quantised.values[output, column])
    assert scales[1, 1, 5] == quantised.scales[37, 1]
    assert values[1, :, 8:].eq(128).all()  # outputs that there are not
    assert values[0, 25:].eq(128).all()  # inputs that there are not
