"""A deterministic model with a paged memory: each token it gives depends on all tokens before.

It checks, row by row, that a sequence's blocks hold what that sequence's text gave.
"""

from __future__ import annotations

from collections.abc import Sequence as Texts
from dataclasses import dataclass

from autotuner.worker.kv_layout import BLOCK_TOKENS, SCRATCH_BLOCK
from autotuner.worker.sequence import Chunk, Sequence, StepPlan

EOS = 2
POISON = 1  # a text with this token has output that is not finite
FIRST_WORD, WORDS = 3, 40


@dataclass(frozen=True)
class Row:
    """What the memory holds for a token: a digest of the text up to it, and the modes used."""

    digest: int
    modes: frozenset[str]


START = Row(0, frozenset())


class PagedModel:
    """`rows` are the memory; a row that was never written or was zeroed is None."""

    def __init__(self, blocks: int) -> None:
        self.rows: list[Row | None] = [None] * (blocks * BLOCK_TOKENS)

    def run(self, plan: StepPlan) -> list[tuple[Sequence, int | None]]:
        for chunk in plan.chunks:
            self.check(chunk.sequence, chunk.start)
            self._write(chunk, plan.attention)
        return [(c.sequence, next_token(c.sequence.tokens)) for c in plan.chunks if c.yields_token]

    def zero(self, blocks: Texts[int]) -> None:
        for block in blocks:
            self.rows[block * BLOCK_TOKENS : (block + 1) * BLOCK_TOKENS] = [None] * BLOCK_TOKENS

    def check(self, sequence: Sequence, tokens: int, mode: str | None = None) -> None:
        """Its first tokens are in its blocks and, where a mode is given, of that mode alone."""
        digest = START.digest
        for position in range(tokens):
            digest = _digest(digest, sequence.tokens[position])
            row = self.rows[_row(sequence, position)]
            assert row is not None, f"{sequence.request_id}: row {position} holds nothing"
            assert row.digest == digest, f"{sequence.request_id}: row {position} is not its own"
            assert mode is None or row.modes == {mode}

    def _write(self, chunk: Chunk, mode: str) -> None:
        sequence = chunk.sequence
        for position in range(chunk.start, chunk.end):
            before = self.rows[_row(sequence, position - 1)] if position else START
            assert before is not None
            self.rows[_row(sequence, position)] = Row(
                _digest(before.digest, sequence.tokens[position]), before.modes | {mode}
            )


def next_token(tokens: Texts[int]) -> int | None:
    """What the model says after these tokens; None is not finite."""
    if POISON in tokens:
        return None
    digest = START.digest
    for token in tokens:
        digest = _digest(digest, token)
    return EOS if digest % 61 == 0 else FIRST_WORD + digest % WORDS


def answer(prompt: Texts[int], max_tokens: int) -> list[int]:
    """All that the model answers to a prompt, the last token included."""
    tokens = list(prompt)
    while len(tokens) < len(prompt) + max_tokens:
        token = next_token(tokens)
        if token is None:
            break
        tokens.append(token)
        if token == EOS:
            break
    return tokens[len(prompt) :]


def _row(sequence: Sequence, position: int) -> int:
    block = sequence.blocks[position // BLOCK_TOKENS]
    assert block != SCRATCH_BLOCK
    return block * BLOCK_TOKENS + position % BLOCK_TOKENS


def _digest(before: int, token: int) -> int:
    return (before * 6364136223846793005 + token + 1442695040888963407) % (1 << 64) >> 1
