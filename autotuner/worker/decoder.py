"""A stack of decoder layers over a flat batch of tokens; nothing of requests or sampling.

A batch mixes single tokens of decoding sequences and chunks of prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor
from torch.nn import functional

from autotuner.worker.attention_inputs import AttentionInputs
from autotuner.worker.kv import KVCache, KVShape, LayerCache
from autotuner.worker.linear import Linear
from autotuner.worker.ops.interface import Ops


@dataclass(frozen=True)
class Batch:
    """What one forward pass reads: token_ids, positions and cache_rows by token, all int64.

    `cache_rows` are the rows of the paged cache that take each token's K and V; `logits_rows` the
    tokens whose next token is wanted.
    """

    token_ids: Tensor
    positions: Tensor
    cache_rows: Tensor
    logits_rows: Tensor
    attention: AttentionInputs


def map_tensors(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """The batch with each of its tensors changed; the numbers of the host stay."""
    inputs = batch.attention
    return Batch(
        token_ids=change(batch.token_ids),
        positions=change(batch.positions),
        cache_rows=change(batch.cache_rows),
        logits_rows=change(batch.logits_rows),
        attention=replace(
            inputs,
            block_table=change(inputs.block_table),
            lengths=change(inputs.lengths),
            query_starts=change(inputs.query_starts),
        ),
    )


@dataclass(frozen=True)
class Step:
    """What every layer of one pass shares: rotary rows [tokens, 1, dim], cache rows, attention."""

    cos: Tensor
    sin: Tensor
    cache_rows: Tensor
    attention: AttentionInputs


class Block(Protocol):
    """One layer: the hidden states after it, [tokens, width], and its K and V in the cache."""

    def __call__(self, hidden: Tensor, step: Step, cache: LayerCache) -> Tensor: ...


class Layers(Protocol):
    """All layers of a stage, as `Block` says of one."""

    def __call__(self, hidden: Tensor, step: Step, cache: KVCache) -> Tensor: ...


@dataclass(frozen=True)
class OneByOne:
    blocks: Sequence[Block]

    def __call__(self, hidden: Tensor, step: Step, cache: KVCache) -> Tensor:
        for block, layer in zip(self.blocks, cache.layers, strict=True):
            hidden = block(hidden, step, layer)
        return hidden


@dataclass(frozen=True)
class Head:
    """From the last layer's hidden states to logits."""

    norm: Tensor
    eps: float
    linear: Linear


class Decoder:
    """The layers of one pipeline stage: with the embedding if it is the first, the head if last."""

    def __init__(
        self,
        ops: Ops,
        kv_shape: KVShape,
        embedding: Tensor | None,
        layers: Layers,
        head: Head | None,
        rotary: tuple[Tensor, Tensor],
        weight_bytes: int,
    ) -> None:
        self.ops, self.kv_shape, self.weight_bytes = ops, kv_shape, weight_bytes
        self.layers = layers
        self._embedding, self._head = embedding, head
        self._cos, self._sin = rotary
        self.dtype, self.device = self._cos.dtype, self._cos.device

    def forward(self, batch: Batch, cache: KVCache, hidden: Tensor | None = None) -> Tensor:
        """Logits [len(logits_rows), vocab_size] of the last stage, else hidden [tokens, width].

        `hidden` is what the stage before returned. K and V of the batch are written to the cache.
        """
        if hidden is None:
            assert self._embedding is not None
            hidden = functional.embedding(batch.token_ids, self._embedding)
        step = Step(
            self._cos.index_select(0, batch.positions),
            self._sin.index_select(0, batch.positions),
            batch.cache_rows,
            batch.attention,
        )
        hidden = self.layers(hidden, step, cache)
        return hidden if self._head is None else self._logits(self._head, hidden, batch)

    def _logits(self, head: Head, hidden: Tensor, batch: Batch) -> Tensor:
        wanted = hidden.index_select(0, batch.logits_rows)
        return head.linear(self.ops.rms_norm(wanted, head.norm, head.eps))
