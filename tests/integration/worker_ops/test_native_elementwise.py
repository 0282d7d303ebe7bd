"""Compiled norm, activation and rotary embedding against the reference."""

from __future__ import annotations

import ctypes

import pytest
import torch
from torch import Tensor

from autotuner.worker.kv import LayerCache
from autotuner.worker.ops.native import NativeOps
from autotuner.worker.ops.reference import ReferenceOps
from tests.unit.worker_ops.paged import DTYPES, ODD, SMOLLM, Heads, filled_cache, write_signs

WIDTHS = (1, 15, 16, 576, 1000)

reference = ReferenceOps()


@pytest.fixture(params=[1, 2], ids=["1 thread", "2 threads"])
def native(compiled: ctypes.CDLL, request: pytest.FixtureRequest) -> NativeOps:
    return NativeOps(compiled, request.param)


def random(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)).to(dtype)


def close(out: Tensor, exact: Tensor) -> None:
    """`exact` is float64: one rounding to the dtype is allowed, and float32's own errors."""
    rounding = 2.0**-8 if out.dtype == torch.bfloat16 else 1e-6
    torch.testing.assert_close(out.double(), exact, rtol=rounding, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rows", [1, 70])
def test_rms_norm(native: NativeOps, rows: int, width: int, dtype: torch.dtype) -> None:
    x, weight = random(rows, width, dtype=dtype), random(width, dtype=dtype)
    exact = reference.rms_norm(x.double(), weight.double(), 1e-5)
    close(native.rms_norm(x, weight, 1e-5), exact)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rows", [1, 70])
def test_silu_mul(native: NativeOps, rows: int, width: int, dtype: torch.dtype) -> None:
    x = random(rows, 2 * width, dtype=dtype) * 3
    close(native.silu_mul(x), reference.silu_mul(x.double()))


def test_silu_of_extreme_gates(native: NativeOps) -> None:
    gate = torch.tensor([[-1e30, -200.0, -90.0, 0.0, 90.0, 1e30, torch.nan]])
    out = native.silu_mul(torch.cat((gate, torch.ones_like(gate)), 1))
    assert out[0, :3].abs().max() < 1e-6
    assert out[0, 3:6].tolist() == gate[0, 3:6].tolist()
    assert out[0, 6].isnan()


def test_rows_of_a_wider_tensor(native: NativeOps) -> None:
    wide = random(6, 200)
    close(native.rms_norm(wide[:, :64], wide[0, :64], 1e-5), _norm(wide[:, :64], wide[0, :64]))
    close(native.silu_mul(wide[:, :64]), reference.silu_mul(wide[:, :64].double()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [SMOLLM, ODD, Heads(4, 2, 20, 20)], ids=["64", "24", "20"])
@pytest.mark.parametrize("tokens", [1, 65])
def test_rotate_and_store(native: NativeOps, tokens: int, shape: Heads, dtype: torch.dtype) -> None:
    shape = Heads(shape.heads, shape.kv_heads, shape.key_dim, shape.key_dim)
    generator = torch.Generator().manual_seed(3)
    cache, exact = (filled_cache(shape, 8, d, generator) for d in (dtype, torch.float64))
    exact.keys.copy_(cache.keys)
    exact.values.copy_(cache.values)
    dim = shape.key_dim
    qkv = random(tokens, (shape.heads + 2 * shape.kv_heads) * dim, dtype=dtype)
    cos, sin = random(tokens, 1, dim, dtype=dtype), random(tokens, 1, dim, dtype=dtype) / 2
    rows = torch.randperm(8 * 16, generator=generator)[:tokens]
    expected = reference.rotate_and_store(
        qkv.double(), cos.double(), sin.double(), shape.heads, exact, rows
    )
    q = native.rotate_and_store(qkv, cos, sin, shape.heads, cache, rows)
    assert q.shape == (tokens, shape.heads, dim)
    _close_after_sum(q, expected)
    _close_after_sum(cache.keys, exact.keys)
    assert torch.equal(cache.values.double(), exact.values)
    _check_signs(cache)


def test_a_layout_it_does_not_take_goes_to_the_reference_and_keeps_the_signs(
    native: NativeOps,
) -> None:
    cache = filled_cache(ODD, 2, torch.float32, torch.Generator().manual_seed(3))
    square = filled_cache(Heads(4, 2, 24, 24), 2, torch.float32, torch.Generator().manual_seed(3))
    cos = random(5, 1, 48)[..., ::2]
    native.rotate_and_store(random(5, 8 * 24), cos, cos, 4, square, torch.arange(5))
    _check_signs(square)
    assert cache.signs.shape == square.signs.shape
    assert native.rms_norm(random(8, 3).T, random(8), 1e-5).shape == (3, 8)
    assert native.silu_mul(random(8, 3).T).shape == (3, 4)


def _norm(x: Tensor, weight: Tensor) -> Tensor:
    return reference.rms_norm(x.double(), weight.double(), 1e-5)


def _check_signs(cache: LayerCache) -> None:
    written = cache.signs.clone()
    write_signs(cache)
    assert torch.equal(cache.signs, written)


def _close_after_sum(out: Tensor, exact: Tensor) -> None:
    """A sum of two products may cancel: its error is relative to them, not to the result."""
    rounding = 2.0**-8 if out.dtype == torch.bfloat16 else 1e-6
    torch.testing.assert_close(out.double(), exact, rtol=rounding, atol=1e-5)
