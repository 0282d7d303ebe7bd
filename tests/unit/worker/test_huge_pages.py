"""Tensors kept one behind the other."""

from __future__ import annotations

import torch

from autotuner.worker.huge_pages import REGION_BYTES, Arena, huge_zeros


def test_zeros_can_be_written() -> None:
    zeros = huge_zeros(1000, torch.bfloat16)
    assert zeros.shape == (1000,)
    assert not zeros.any()
    zeros[7] = 3
    assert zeros.sum() == 3


def test_small_tensors_lie_side_by_side_and_keep_their_values() -> None:
    arena = Arena(torch.int32)
    tensors = [torch.arange(6, dtype=torch.int32).view(2, 3) + 10 * i for i in range(3)]
    kept = [arena.keep(tensor.T) for tensor in tensors]
    assert [k.data_ptr() - kept[0].data_ptr() for k in kept] == [0, 24, 48]
    for copy, tensor in zip(kept, tensors, strict=True):
        assert copy.is_contiguous()
        assert copy.equal(tensor.T)


def test_what_does_not_fit_gets_a_region_of_its_own() -> None:
    arena, count = Arena(torch.uint8), REGION_BYTES + 1
    small = arena.keep(torch.ones(5, dtype=torch.uint8))
    large = arena.keep(torch.zeros(1, dtype=torch.uint8).expand(count))
    after = arena.keep(torch.full((5,), 2, dtype=torch.uint8))
    assert large.shape == (count,)
    assert not large.any()
    assert small.eq(1).all()
    assert after.eq(2).all()
