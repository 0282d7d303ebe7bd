"""The compiled bfloat16 layers against float64, and each row against itself in other company."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
import torch
from torch import Tensor

from autotuner.worker.bf16_linear import Bf16Factory, NativeBf16Linear, has_fast_kernel
from autotuner.worker.linear import Linear
from autotuner.worker.linear_kinds import linear_factory
from autotuner.worker.models.load import plain_factory

ALL = slice(None)
ROUNDING = 2.0**-8  # at most, of a result to bfloat16
# Of the products' magnitudes: float32 sums of up to 2,000 products.
SUMMING = 2.0**-17
SHAPES = [(64, 64), (960, 576), (576, 1536), (100, 33), (7, 3), (1, 1), (130, 400)]
ROWS = [1, 2, 3, 5, 6, 7, 13, 25, 200]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).bfloat16()


def make(
    compiled: ctypes.CDLL, weight: Tensor, bias: Tensor | None = None, threads: int = 1
) -> Linear:
    layer = Bf16Factory(compiled, threads)("any", weight, bias, ALL)
    assert isinstance(layer, NativeBf16Linear)
    return layer


def check(y: Tensor, exact: Tensor, magnitude: Tensor) -> None:
    assert y.shape == exact.shape
    assert y.dtype == torch.bfloat16
    assert ((y - exact).abs() <= exact.abs() * ROUNDING + magnitude * SUMMING).all()


@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
def test_results_are_rounded_once(compiled: ctypes.CDLL, outputs: int, inputs: int) -> None:
    weight = random(outputs, inputs)
    layer = make(compiled, weight)
    for rows in ROWS:
        x = random(rows, inputs, seed=rows)
        magnitude = x.double().abs() @ weight.double().abs().T
        check(layer(x), x.double() @ weight.double().T, magnitude)


@pytest.mark.parametrize("rows", [1, 4, 30])
@pytest.mark.parametrize("outputs", [45, 128])
def test_bias_and_residual_are_added(compiled: ctypes.CDLL, rows: int, outputs: int) -> None:
    weight, bias, x = random(outputs, 70), random(outputs, seed=1), random(rows, 70, seed=2)
    residual = random(rows, outputs, seed=3)
    kept = residual.clone()
    layer = make(compiled, weight, bias)
    exact = x.double() @ weight.double().T + bias.double()
    magnitude = x.double().abs() @ weight.double().abs().T + 10
    check(layer(x), exact, magnitude)
    check(layer.add_to(residual, x), exact + residual.double(), magnitude)
    assert residual.equal(kept)


@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
@pytest.mark.parametrize("threads", [1, 2])
def test_company_and_threads_change_no_bit(
    compiled: ctypes.CDLL, outputs: int, inputs: int, threads: int
) -> None:
    weight, x = random(outputs, inputs), random(200, inputs, seed=1)
    alone = make(compiled, weight)
    together = make(compiled, weight, threads=threads)(x)
    for row in (0, 1, 77, 191, 192, 199):
        assert alone(x[row : row + 1]).equal(together[row : row + 1])
    for rows in ROWS:
        assert alone(x[:rows]).equal(together[:rows])


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("inputs", [128, 33])
def test_a_number_that_is_not_finite_stays_in_its_row(
    compiled: ctypes.CDLL, inputs: int, bad: float
) -> None:
    layer, x = make(compiled, random(70, inputs)), random(9, inputs, seed=1)
    fine = layer(x)
    x[4, inputs - 1] = bad
    y = layer(x)
    assert not y[4].isfinite().any()
    others = [row for row in range(9) if row != 4]
    assert y[others].equal(fine[others])


def test_strided_activations_are_read_right(compiled: ctypes.CDLL) -> None:
    layer, wide = make(compiled, random(40, 64)), random(6, 128, seed=1)
    assert layer(wide[:, 64:]).equal(layer(wide[:, 64:].contiguous()))
    assert layer(random(64, 6).T).equal(layer(random(64, 6).T.contiguous()))
    residual = random(40, 6, seed=2).T
    assert layer.add_to(residual, wide[:, :64]).equal(
        layer.add_to(residual.contiguous(), wide[:, :64])
    )


def test_no_rows_give_no_rows(compiled: ctypes.CDLL) -> None:
    assert make(compiled, random(40, 64))(random(0, 64)).shape == (0, 40)


def test_many_layers_share_an_arena(compiled: ctypes.CDLL) -> None:
    factory = Bf16Factory(compiled, 1)
    weights = [random(65 + i, 64, seed=i) for i in range(5)]
    layers = [factory("any", weight, None, ALL) for weight in weights]
    x = random(3, 64, seed=9)
    for layer, weight in zip(layers, weights, strict=True):
        assert layer(x).equal(make(compiled, weight)(x))
        assert layer.nbytes == 128 * 64 * 2


def test_other_dtypes_are_left_to_other_layers(compiled: ctypes.CDLL) -> None:
    layer = Bf16Factory(compiled, 1)("any", torch.ones(4, 6), None, ALL)
    assert not isinstance(layer, NativeBf16Linear)
    assert layer(torch.ones(2, 6)).eq(6).all()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("avx2", False), ("avx512_bf16", True), ("avx512_bf16 amx_bf16", False)],
)
def test_machines_with_matrix_units_keep_onednn(
    tmp_path: Path, flags: str, *, expected: bool
) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor : 0\nflags : fpu {flags} sse\n")
    assert has_fast_kernel(info) is expected
    assert not has_fast_kernel(tmp_path / "missing")


def test_a_model_gets_it_where_it_is_fast(compiled: ctypes.CDLL) -> None:
    del compiled  # there is a compiler
    model = Path("any")
    assert isinstance(linear_factory(model, "bfloat16"), Bf16Factory) is has_fast_kernel()
    assert linear_factory(model, "float32") is plain_factory
