"""Decode steps recorded once and replayed: one launch in place of hundreds (GPU place).

A recording needs the same tensors in the same memory each time, so a step's inputs are copied into
buffers of fixed size: rows as `batch_sizes` pads them, block tables cut to a bucket of lengths.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from autotuner.worker.attention_inputs import BLOCK_TOKENS, SCRATCH_BLOCK
from autotuner.worker.decoder import Batch, map_tensors
from autotuner.worker.executor import Executor
from autotuner.worker.settings import AttentionMode

FIRST_BUCKET_TOKENS = 256
MOST_RECORDINGS = 64  # each holds its buffers and some MiB of workspace
WARM_UP_RUNS = 2  # lets libraries choose their kernels before they are recorded

Forward = Callable[[Batch], Tensor]


class Recording(Protocol):
    """A forward pass over fixed inputs that can be run again."""

    def replay(self) -> Tensor:
        """Runs it on what its inputs hold now; the result stays valid until the next replay."""
        ...


Record = Callable[[Forward, Batch], Recording]


@dataclass(frozen=True)
class _Key:
    rows: int
    wanted: int
    bucket: int
    mode: AttentionMode


class GraphExecutor:
    """Replays pure decode steps; whatever else comes is run as it is."""

    def __init__(self, executor: Executor, record: Record) -> None:
        self._executor, self._record = executor, record
        self._recordings: OrderedDict[_Key, tuple[Batch, Recording]] = OrderedDict()
        self.weight_bytes, self.ops_name = executor.weight_bytes, executor.ops_name
        self.batch_device = executor.batch_device

    def forward(self, batch: Batch) -> Tensor:
        if batch.attention.chunks:
            return self._executor.forward(batch)
        bucket = bucket_tokens(batch.attention.max_length)
        key = _Key(len(batch.token_ids), len(batch.logits_rows), bucket, batch.attention.mode)
        if key not in self._recordings:
            self._add(key, static_copy(batch, bucket))
        self._recordings.move_to_end(key)
        static, recording = self._recordings[key]
        fill(static, batch)
        return recording.replay()

    def clear(self, blocks: list[int]) -> None:
        self._executor.clear(blocks)

    def close(self) -> None:
        self._recordings.clear()
        self._executor.close()

    def _add(self, key: _Key, static: Batch) -> None:
        self._recordings[key] = (static, self._record(self._executor.forward, static))
        if len(self._recordings) > MOST_RECORDINGS:
            self._recordings.popitem(last=False)


def bucket_tokens(length: int) -> int:
    """The power of two, times FIRST_BUCKET_TOKENS, that holds this length."""
    bucket = FIRST_BUCKET_TOKENS
    while bucket < length:
        bucket *= 2
    return bucket


def static_copy(batch: Batch, bucket: int) -> Batch:
    """A batch of the same kind in memory of its own, its block table as wide as the bucket."""
    own = map_tensors(batch, Tensor.clone)
    shape = (len(own.attention.block_table), bucket // BLOCK_TOKENS)
    table = own.attention.block_table.new_full(shape, SCRATCH_BLOCK)
    static = replace(own, attention=replace(own.attention, block_table=table, max_length=bucket))
    fill(static, batch)
    return static


def fill(static: Batch, batch: Batch) -> None:
    """Copies a batch's inputs into those of `static_copy`.

    Blocks beyond the batch's own table may be another step's: lengths hide what they hold.
    """
    static.token_ids.copy_(batch.token_ids)
    static.positions.copy_(batch.positions)
    static.cache_rows.copy_(batch.cache_rows)
    static.logits_rows.copy_(batch.logits_rows)
    static.attention.lengths.copy_(batch.attention.lengths)
    table = batch.attention.block_table
    static.attention.block_table[:, : table.shape[1]].copy_(table)


class _CudaRecording:
    def __init__(self, forward: Forward, batch: Batch) -> None:
        side: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_RUNS):
                forward(batch)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._logits = forward(batch)

    def replay(self) -> Tensor:
        self._graph.replay()
        return self._logits


def record_on_cuda(forward: Forward, batch: Batch) -> Recording:
    """A CUDA graph of the pass; the warm-up writes the same K and V as the first replay."""
    return _CudaRecording(forward, batch)
