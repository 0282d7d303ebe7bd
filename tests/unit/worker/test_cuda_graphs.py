from __future__ import annotations

import torch
from torch import Tensor

from autotuner.worker.batching import make_batch
from autotuner.worker.cuda_graphs import Forward, GraphExecutor, bucket_tokens
from autotuner.worker.decoder import Batch
from autotuner.worker.messages import SamplingParams
from autotuner.worker.sequence import Chunk, Sequence


class Sums:
    """A model whose logits tell all that it read: token, position, row, length and blocks."""

    weight_bytes, ops_name, batch_device = 0, "sums", torch.device("cpu")

    def __init__(self) -> None:
        self.passes = 0

    def forward(self, batch: Batch) -> Tensor:
        self.passes += 1
        inputs = batch.attention
        owner = torch.repeat_interleave(inputs.query_starts.diff())
        lengths = inputs.lengths[owner]
        columns = (batch.token_ids, batch.positions, batch.cache_rows, lengths)
        own = torch.stack([c.double() for c in columns], 1)
        blocks = inputs.block_table.double()[owner]
        held = -(-lengths // 16)
        seen = (torch.arange(blocks.shape[1]) < held[:, None]) * blocks
        return torch.cat([own, seen.sum(1, keepdim=True)], 1)[batch.logits_rows]

    def clear(self, blocks: list[int]) -> None: ...

    def close(self) -> None: ...


class Replays:
    """A recording that reads its fixed inputs at each replay, as a graph does."""

    def __init__(self, forward: Forward, batch: Batch) -> None:
        self._forward, self._batch = forward, batch

    def replay(self) -> Tensor:
        return self._forward(self._batch)


def step(*rows: tuple[int, list[int]]) -> Batch:
    chunks = []
    for length, blocks in rows:
        sequence = Sequence("s", list(range(length)), length, SamplingParams(), 0, 0.0)
        sequence.blocks = blocks
        chunks.append(Chunk(sequence, length - 1, 1))
    return make_batch(chunks, "full", torch.device("cpu"))


def test_a_replay_reads_the_new_steps_inputs_and_nothing_of_the_old() -> None:
    made: list[Replays] = []

    def record(forward: Forward, batch: Batch) -> Replays:
        made.append(Replays(forward, batch))
        return made[-1]

    executor = GraphExecutor(Sums(), record)
    steps = [
        step((40, [9, 8, 7]), (3, [5])),
        step((2, [4]), (17, [1, 2])),
        step((1, [3]), (1, [6])),
    ]
    for batch in steps:
        assert torch.equal(executor.forward(batch), Sums().forward(batch))
    assert len(made) == 1


def test_another_size_or_bucket_is_recorded_anew_and_prompts_never() -> None:
    recorded: list[Batch] = []

    def record(forward: Forward, batch: Batch) -> Replays:
        recorded.append(batch)
        return Replays(forward, batch)

    executor = GraphExecutor(Sums(), record)
    executor.forward(step((3, [5])))
    executor.forward(step((3, [5]), (3, [6])))
    executor.forward(step((300, list(range(1, 20)))))
    assert [b.attention.max_length for b in recorded] == [256, 256, 512]
    prompt = Sequence("p", [1, 2, 3], 3, SamplingParams(), 0, 0.0)
    prompt.blocks = [1]
    executor.forward(make_batch([Chunk(prompt, 0, 3)], "full", torch.device("cpu")))
    assert len(recorded) == 3


def test_buckets_double() -> None:
    assert [bucket_tokens(n) for n in (1, 256, 257, 2049)] == [256, 256, 512, 4096]
