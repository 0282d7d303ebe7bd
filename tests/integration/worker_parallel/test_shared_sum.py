"""Sums through shared memory, with threads in the place of processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from autotuner.worker.parallel import shared_sum
from autotuner.worker.parallel.grid import Grid
from autotuner.worker.parallel.shared_sum import SLOT_NUMBERS, SharedSum


@pytest.fixture
def memory() -> Iterator[str]:
    descriptor = shared_sum.open_shared_memory()
    if descriptor is None:
        pytest.skip("this machine has no such memory: ranks sum over gloo")
    yield shared_sum.path_of(descriptor)
    os.close(descriptor)


def run(memory: str, grid: Grid, inputs: list[list[Tensor]]) -> list[list[Tensor]]:
    """Of each rank, the sums of its inputs."""

    def one(rank: int) -> list[Tensor]:
        reduce = SharedSum(memory, grid, rank)
        return [reduce(x).clone() for x in inputs[rank]]

    with ThreadPoolExecutor(grid.size) as pool:
        return list(pool.map(one, range(grid.size)))


@pytest.mark.parametrize("grid", [Grid(2, 1), Grid(3, 1), Grid(2, 2)])
def test_every_rank_of_a_stage_gets_the_same_sum(memory: str, grid: Grid) -> None:
    torch.manual_seed(0)
    shapes = [(1, 5), (7, 48), (1, 1)] * 40
    inputs = [[torch.randn(shape) for shape in shapes] for _ in range(grid.size)]
    results = run(memory, grid, inputs)
    for stage in range(grid.stages):
        own = grid.stage_ranks(stage)
        for turn in range(len(shapes)):
            expected = sum((inputs[rank][turn] for rank in own), torch.zeros(()))
            for rank in own:
                assert torch.equal(results[rank][turn], results[own[0]][turn])
                torch.testing.assert_close(results[rank][turn], expected)


@pytest.mark.parametrize(
    ("value", "count", "behind"),
    [
        (0, 1, True),
        (1, 1, False),
        (2, 1, False),
        (2**32 - 1, 2**32, True),
        (0, 2**32, False),
        (1, 2**32, False),
        (2**32 - 1, 2**32 - 1, False),
    ],
)
def test_counts_may_run_over(value: int, count: int, behind: bool) -> None:
    assert shared_sum.is_behind(value, count) == behind


def test_long_tensors_go_in_pieces_and_dtypes_stay(memory: str) -> None:
    x = torch.arange(SLOT_NUMBERS + 100, dtype=torch.float32).view(1, -1)
    results = run(memory, Grid(2, 1), [[x, x.bfloat16()], [x, x.bfloat16()]])
    assert torch.equal(results[1][0], x * 2)
    assert torch.equal(results[0][1], x.bfloat16() * 2)
    assert results[0][1].dtype == torch.bfloat16


def test_bfloat16_is_summed_in_float32(memory: str) -> None:
    """One and two halves of its last digit: in bfloat16 each half is rounded away."""
    parts = [torch.tensor([[1.0]]), torch.tensor([[2.0**-8]]), torch.tensor([[2.0**-8]])]
    results = run(memory, Grid(3, 1), [[part.bfloat16()] for part in parts])
    assert results[0][0].item() == 1.0 + 2.0**-7
