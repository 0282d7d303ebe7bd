from __future__ import annotations

import pytest
import torch

from autotuner.worker.decoder import Batch
from autotuner.worker.parallel.packing import (
    Kind,
    kind_of,
    pack_batch,
    pack_blocks,
    unpack_batch,
    unpack_blocks,
)
from autotuner.worker.settings import AttentionMode
from tests.unit.worker_parallel.batches import make

BATCHES = {
    "mixed": make([(1, 5), (1, 33), (7, 7), (40, 90)]),
    "singles": make([(1, 1), (1, 16), (1, 17)]),
    "chunks that answer nothing": make([(20, 20), (16, 48)], wanted=[]),
    "scored": make([(30, 30)], wanted=list(range(10, 30))),
}


def assert_same(got: Batch, batch: Batch) -> None:
    for name in ("token_ids", "positions", "cache_rows", "logits_rows"):
        assert torch.equal(getattr(got, name), getattr(batch, name))
        assert getattr(got, name).dtype == torch.int64
    mine, theirs = got.attention, batch.attention
    for name in ("block_table", "lengths", "query_starts"):
        assert torch.equal(getattr(mine, name), getattr(theirs, name))
        assert getattr(mine, name).dtype == torch.int32
    for name in ("mode", "singles", "chunks", "max_length", "max_rows"):
        assert getattr(mine, name) == getattr(theirs, name)


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_comes_out_as_it_went_in(name: str) -> None:
    message = pack_batch(BATCHES[name])
    assert kind_of(message) is Kind.FORWARD
    assert_same(unpack_batch(message), BATCHES[name])


@pytest.mark.parametrize("mode", ["full", "sliding_window", "top_k"])
def test_the_mode_goes_with_it(mode: AttentionMode) -> None:
    batch = make([(1, 5), (3, 9)], mode)
    assert_same(unpack_batch(pack_batch(batch)), batch)


def test_blocks_to_clear_are_another_kind() -> None:
    message = pack_blocks([3, 70000, 5])
    assert kind_of(message) is Kind.CLEAR
    assert unpack_blocks(message) == [3, 70000, 5]
