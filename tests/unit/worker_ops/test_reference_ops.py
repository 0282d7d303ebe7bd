"""The reference operations against their formulas, token by token."""

from __future__ import annotations

import pytest
import torch

from autotuner.worker.attention_inputs import TOP_KEYS, WINDOW_TOKENS
from autotuner.worker.kv import KVCache, KVShape
from autotuner.worker.ops.reference import ReferenceOps
from autotuner.worker.settings import ATTENTION_MODES, AttentionMode
from tests.unit.worker_ops.paged import (
    DTYPES,
    SHAPES,
    SMOLLM,
    Case,
    attention_by_token,
    make_case,
    write_signs,
)

# Of the weighted magnitudes. The reference rounds scores to bfloat16, which moves weights by some
# per cent.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2**-4}

ops = ReferenceOps()


def check(case: Case) -> None:
    expected = attention_by_token(case)
    out = ops.attend(case.q, case.cache, case.inputs, case.scale)
    assert out.shape == expected.out.shape
    assert out.dtype == case.q.dtype
    error = ((out.double() - expected.out).abs() / expected.size).max()
    assert error < TOLERANCE[case.q.dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", ATTENTION_MODES)
@pytest.mark.parametrize("shape", SHAPES)
def test_attention_of_singles_and_chunks(
    shape: str, mode: AttentionMode, dtype: torch.dtype
) -> None:
    sequences = [(1, 1), (50, 1), (90, 20), (40, 40)]
    check(make_case(SHAPES[shape], sequences, dtype, mode, padded_rows=2))


@pytest.mark.parametrize("tokens", [WINDOW_TOKENS - 1, WINDOW_TOKENS, WINDOW_TOKENS + 1, 1100])
def test_the_window_is_of_exactly_its_size(tokens: int) -> None:
    check(make_case(SMOLLM, [(tokens, 1), (tokens, 3)], mode="sliding_window"))


def test_the_token_that_leaves_the_window_has_no_weight() -> None:
    case = make_case(SMOLLM, [(WINDOW_TOKENS + 1, 1)], mode="sliding_window")
    before = ops.attend(case.q, case.cache, case.inputs, case.scale)
    first_row = int(case.inputs.block_table[0, 0]) * 16
    case.cache.values[first_row] += 100.0
    assert torch.equal(ops.attend(case.q, case.cache, case.inputs, case.scale), before)
    case.cache.values[first_row + 1] += 100.0
    assert not torch.equal(ops.attend(case.q, case.cache, case.inputs, case.scale), before)


@pytest.mark.parametrize("tokens", [TOP_KEYS - 1, TOP_KEYS, TOP_KEYS + 1, 200])
def test_top_k_keeps_exactly_its_number(tokens: int) -> None:
    check(make_case(SMOLLM, [(tokens, 1), (tokens, 3)], mode="top_k"))


@pytest.mark.parametrize("rows", [1, 5])
def test_equal_scores_keep_the_earlier_keys(rows: int) -> None:
    case = make_case(SMOLLM, [(100, rows)], mode="top_k")
    case.cache.keys.copy_(case.cache.keys[:1].abs().expand_as(case.cache.keys))
    write_signs(case.cache)
    check(case)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rms_norm(dtype: torch.dtype) -> None:
    x, weight = torch.randn(5, 96).to(dtype), torch.randn(96).to(dtype)
    wide = x.double()
    expected = wide / (wide.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight.double()
    torch.testing.assert_close(ops.rms_norm(x, weight, 1e-5), expected.to(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_silu_mul(dtype: torch.dtype) -> None:
    x = torch.randn(5, 2 * 40).to(dtype)
    gate, up = x[:, :40].double(), x[:, 40:].double()
    expected = (gate / (1.0 + torch.exp(-gate)) * up).to(dtype)
    torch.testing.assert_close(ops.silu_mul(x), expected, rtol=2e-2, atol=1e-5)


def test_rotate_and_store() -> None:
    heads, kv_heads, dim, tokens = 4, 2, 8, 3
    cache = KVCache(KVShape(1, kv_heads, dim, dim), 2, torch.float32, torch.device("cpu")).layers[0]
    qkv = torch.randn(tokens, (heads + 2 * kv_heads) * dim)
    angles = torch.randn(tokens, dim // 2)
    cos = torch.cat((angles.cos(), angles.cos()), -1)[:, None]
    sin = torch.cat((-angles.sin(), angles.sin()), -1)[:, None]
    split = qkv.clone().view(tokens, -1, dim)
    rows = torch.tensor([20, 3, 17])
    q = ops.rotate_and_store(qkv, cos, sin, heads, cache, rows)
    pairs = torch.complex(split[..., : dim // 2], split[..., dim // 2 :])
    turned = pairs * torch.polar(torch.ones_like(angles), angles)[:, None]
    expected = torch.cat((turned.real, turned.imag), -1)
    torch.testing.assert_close(q, expected[:, :heads])
    torch.testing.assert_close(cache.keys[rows], expected[:, heads : heads + kv_heads])
    assert torch.equal(cache.values[rows], split[:, heads + kv_heads :])
    untouched = [row for row in range(32) if row not in {20, 3, 17}]
    assert not cache.keys[untouched].any()
