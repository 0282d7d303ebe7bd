from __future__ import annotations

from collections.abc import Sequence

import torch

from autotuner.worker.attention_inputs import BLOCK_TOKENS, SCRATCH_BLOCK, Span
from autotuner.worker.batching import in_row_order, make_batch
from autotuner.worker.messages import SamplingParams
from autotuner.worker.sequence import Chunk
from autotuner.worker.sequence import Sequence as RequestSequence

CPU = torch.device("cpu")


def sequence(name: str, tokens: int, blocks: Sequence[int]) -> RequestSequence:
    made = RequestSequence(
        name, [100 * len(blocks) + t for t in range(tokens)], tokens, SamplingParams(), 0, 0.0
    )
    made.blocks = list(blocks)
    return made


def test_single_tokens_come_first_and_keep_their_order() -> None:
    a, b = sequence("a", 40, [1, 2, 3]), sequence("b", 5, [4])
    chunks = [Chunk(a, 0, 20), Chunk(b, 4, 1), Chunk(a, 39, 1)]
    assert in_row_order(chunks) == [chunks[1], chunks[2], chunks[0]]


def test_a_batch_names_tokens_places_and_lengths() -> None:
    one, long = sequence("one", 18, [7, 3]), sequence("long", 40, [5, 2, 9])
    batch = make_batch([Chunk(one, 17, 1), Chunk(long, 14, 4)], "full", CPU)
    assert batch.token_ids.tolist() == [217, 314, 315, 316, 317]
    assert batch.positions.tolist() == [17, 14, 15, 16, 17]
    rows = [(3, 1), (5, 14), (5, 15), (2, 0), (2, 1)]
    assert batch.cache_rows.tolist() == [block * BLOCK_TOKENS + at for block, at in rows]
    assert batch.logits_rows.tolist() == [0]  # the chunk does not reach its prompt's end
    inputs = batch.attention
    assert inputs.block_table.tolist() == [[7, 3], [5, 2]]
    assert inputs.lengths.tolist() == [18, 18]
    assert inputs.query_starts.tolist() == [0, 1, 5]
    assert (inputs.singles, inputs.max_length, inputs.max_rows) == (1, 18, 4)
    assert inputs.chunks == (Span(1, 1, 5, 18),)


def test_padding_rows_live_in_the_scratch_block_between_singles_and_chunks() -> None:
    one, long = sequence("one", 1, [7]), sequence("long", 3, [5])
    batch = make_batch([Chunk(one, 0, 1), Chunk(long, 0, 3)], "full", CPU, padded_singles=4)
    assert batch.token_ids.tolist() == [100, 0, 0, 0, 100, 101, 102]
    assert batch.cache_rows[1:4].tolist() == [SCRATCH_BLOCK * BLOCK_TOKENS] * 3
    assert batch.logits_rows.tolist() == [0, 6]
    assert batch.attention.singles == 4
    assert batch.attention.lengths.tolist() == [1, 1, 1, 1, 3]
    assert batch.attention.block_table[:, 0].tolist() == [7, 0, 0, 0, 5]
    assert batch.attention.chunks == (Span(4, 4, 7, 3),)


def test_a_scored_text_wants_logits_before_each_scored_token() -> None:
    text = sequence("text", 10, [1])
    text.score_from = 4
    assert make_batch([Chunk(text, 0, 6)], "full", CPU).logits_rows.tolist() == [3, 4, 5]
    assert make_batch([Chunk(text, 6, 4)], "full", CPU).logits_rows.tolist() == [0, 1, 2, 3]
    assert make_batch([Chunk(text, 0, 2)], "full", CPU).logits_rows.tolist() == []
