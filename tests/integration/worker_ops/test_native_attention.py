"""Compiled attention against the formula, token by token, and against the reference."""

from __future__ import annotations

import ctypes
import dataclasses
import itertools
import random

import pytest
import torch

from autotuner.worker.attention_inputs import TOP_KEYS, WINDOW_TOKENS
from autotuner.worker.ops.native import NativeOps
from autotuner.worker.ops.reference import ReferenceOps
from autotuner.worker.settings import ATTENTION_MODES, AttentionMode
from tests.unit.worker_ops.paged import (
    DTYPES,
    LATENT,
    ODD,
    SHAPES,
    SMOLLM,
    Case,
    Heads,
    attention_by_token,
    make_case,
    write_signs,
)

# Of the weighted magnitudes. In bfloat16 each weight and the result are rounded, by 2**-8 together.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2**-7}


@pytest.fixture(params=[1, 2], ids=["1 thread", "2 threads"])
def native(compiled: ctypes.CDLL, request: pytest.FixtureRequest) -> NativeOps:
    return NativeOps(compiled, request.param)


def check(native: NativeOps, case: Case, looser: float = 1.0) -> None:
    expected = attention_by_token(case)
    out = native.attend(case.q, case.cache, case.inputs, case.scale)
    assert out.shape == expected.out.shape
    assert out.dtype == case.q.dtype
    error = ((out.double() - expected.out).abs() / expected.size).max()
    assert error < TOLERANCE[case.q.dtype] * looser


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", ATTENTION_MODES)
@pytest.mark.parametrize("shape", SHAPES)
def test_singles_and_chunks(
    native: NativeOps, shape: str, mode: AttentionMode, dtype: torch.dtype
) -> None:
    sequences = [(1, 1), (16, 1), (150, 1), (90, 20), (40, 40), (300, 7)]
    check(native, make_case(SHAPES[shape], sequences, dtype, mode, padded_rows=2))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", ATTENTION_MODES)
@pytest.mark.parametrize("rows", [1, 9])
def test_one_long_sequence(
    native: NativeOps, rows: int, mode: AttentionMode, dtype: torch.dtype
) -> None:
    check(native, make_case(SMOLLM, [(1700, rows)], dtype, mode))


@pytest.mark.parametrize("mode", ATTENTION_MODES)
def test_a_long_chunk_of_a_latent(native: NativeOps, mode: AttentionMode) -> None:
    check(native, make_case(LATENT, [(200, 33)], torch.bfloat16, mode))


def test_random_steps_agree_with_the_reference(native: NativeOps) -> None:
    draw, reference = random.Random(7), ReferenceOps()
    for seed, mode, _ in itertools.product(range(2), ATTENTION_MODES, range(5)):
        kv_heads, group = draw.randint(1, 3), draw.randint(1, 5)
        dims = draw.choice([8, 40, 64, 128]), draw.choice([8, 40, 64, 128])
        sequences = [(draw.randint(1, 1300), 1) for _ in range(draw.randint(0, 3))]
        for _ in range(draw.randint(0 if sequences else 1, 2)):
            before, rows = draw.randint(0, 1100), draw.randint(2, 160)
            sequences.append((before + rows, rows))
        heads = Heads(kv_heads * group, kv_heads, *dims)
        case = make_case(heads, sequences, mode=mode, padded_rows=draw.randint(0, 2), seed=seed)
        out = native.attend(case.q, case.cache, case.inputs, case.scale)
        expected = reference.attend(case.q, case.cache, case.inputs, case.scale)
        torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tokens", [WINDOW_TOKENS - 1, WINDOW_TOKENS, WINDOW_TOKENS + 1, 1100])
def test_the_window_is_of_exactly_its_size(native: NativeOps, tokens: int) -> None:
    check(native, make_case(SMOLLM, [(tokens, 1), (tokens, 3)], mode="sliding_window"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tokens", [TOP_KEYS - 1, TOP_KEYS, TOP_KEYS + 1, 200])
def test_top_k_keeps_exactly_its_number(native: NativeOps, tokens: int, dtype: torch.dtype) -> None:
    check(native, make_case(SMOLLM, [(tokens, 1), (tokens, 3)], dtype, mode="top_k"))


@pytest.mark.parametrize("shape", [SMOLLM, ODD, LATENT], ids=["smollm", "odd", "latent"])
@pytest.mark.parametrize("rows", [1, 5])
def test_equal_scores_keep_the_earlier_keys(native: NativeOps, rows: int, shape: Heads) -> None:
    case = make_case(shape, [(500, rows)], mode="top_k")
    case.cache.keys.copy_(case.cache.keys[:1].abs().expand_as(case.cache.keys))
    write_signs(case.cache)
    check(native, case)


def test_top_k_reads_the_signs_and_not_the_keys(native: NativeOps) -> None:
    case = make_case(SMOLLM, [(500, 1)], mode="top_k")
    before = native.attend(case.q, case.cache, case.inputs, case.scale)
    case.cache.signs.bitwise_not_()
    worst = native.attend(case.q, case.cache, case.inputs, case.scale)
    assert not torch.allclose(worst, before)


@pytest.mark.parametrize("mode", ATTENTION_MODES)
def test_not_a_number_stays_with_its_sequence(native: NativeOps, mode: AttentionMode) -> None:
    case = make_case(SMOLLM, [(100, 1), (80, 1), (90, 20)], mode=mode)
    case.q[1] = torch.nan
    out = native.attend(case.q, case.cache, case.inputs, case.scale)
    assert out[1].isnan().all()
    assert out[[0, *range(2, 22)]].isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_great_scores_do_not_overflow(native: NativeOps, dtype: torch.dtype) -> None:
    case = make_case(SMOLLM, [(300, 1), (300, 4)], dtype)
    check(native, dataclasses.replace(case, q=case.q * 100), looser=100)


def test_queries_may_be_a_view_of_wider_rows(native: NativeOps) -> None:
    case = make_case(SMOLLM, [(30, 1), (60, 5)])
    wide = torch.cat((case.q, torch.full((len(case.q), 6, 64), torch.nan)), 1)
    out = native.attend(wide[:, :9], case.cache, case.inputs, case.scale)
    assert torch.equal(out, native.attend(case.q, case.cache, case.inputs, case.scale))


def test_each_step_is_read_afresh(native: NativeOps) -> None:
    cases = [make_case(SMOLLM, [(40 + i, 1)], seed=i) for i in range(3)]
    for case in (*cases, *cases):
        check(native, case)
        check(native, case.with_mode("top_k"))


def test_another_dtype_goes_to_the_reference(native: NativeOps) -> None:
    case = make_case(SMOLLM, [(40, 1), (60, 5)], torch.float64)
    out = native.attend(case.q, case.cache, case.inputs, case.scale)
    torch.testing.assert_close(out, attention_by_token(case).out, rtol=1e-5, atol=1e-5)
