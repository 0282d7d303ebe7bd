"""What attention over the paged KV cache reads in one step; plain tensors, the same for all layers.

Rows are the step's tokens, sequence by sequence: first the sequences with a single token, then
the chunks.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from autotuner.worker.kv_layout import BLOCK_TOKENS, SCRATCH_BLOCK, TOP_KEYS, WINDOW_TOKENS
from autotuner.worker.settings import AttentionMode

__all__ = [
    "BLOCK_TOKENS",
    "SCRATCH_BLOCK",
    "TOP_KEYS",
    "WINDOW_TOKENS",
    "AttentionInputs",
    "Span",
]


@dataclass(frozen=True)
class Span:
    """Rows [first, last) belong to sequence `sequence`, which has `length` tokens after them.

    The row r sees the sequence's first `length - (last - 1 - r)` tokens (itself included), as
    far as the attention mode lets it.
    """

    sequence: int
    first: int
    last: int
    length: int


@dataclass(frozen=True)
class AttentionInputs:
    """`block_table` [sequences, blocks] int32 names each sequence's KV blocks in order, padded with
    SCRATCH_BLOCK; `lengths` [sequences] int32 its tokens after this step; `query_starts`
    [sequences + 1] int32 its rows. The first `singles` sequences have one row each, and `chunks`
    are the spans of the others. `max_length` is the greatest of `lengths`, `max_rows` the most rows
    of a sequence: both are host numbers, so that no device is asked.
    """

    mode: AttentionMode
    block_table: Tensor
    lengths: Tensor
    query_starts: Tensor
    singles: int
    chunks: tuple[Span, ...]
    max_length: int
    max_rows: int
