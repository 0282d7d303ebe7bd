"""Llama's layers in one call of compiled code, where all of them can be."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from autotuner.worker.decoder import Block, Layers, OneByOne, Step
from autotuner.worker.kv import KVCache
from autotuner.worker.linear import Linear, PackedWeight
from autotuner.worker.models.llama_block import LlamaBlock
from autotuner.worker.ops.native import NativeOps
from autotuner.worker.ops.stack import LayerView, LinearView, LlamaStack


class FusedLlama:
    """Gives the same bits as the layers one by one, which take the steps that it can't."""

    def __init__(self, stack: LlamaStack, one_by_one: OneByOne) -> None:
        self._stack, self.one_by_one = stack, one_by_one

    def __call__(self, hidden: Tensor, step: Step, cache: KVCache) -> Tensor:
        out = self._stack(hidden, step.cos, step.sin, step.cache_rows, step.attention, cache)
        return self.one_by_one(hidden, step, cache) if out is None else out


def fused(blocks: Sequence[Block]) -> Layers:
    """One call of all layers if each is compiled code throughout and no other rank has a part."""
    one_by_one = OneByOne(blocks)
    views = [_view(block) for block in blocks if isinstance(block, LlamaBlock)]
    known = [view for view in views if view is not None]
    ops = _common_ops(blocks)
    if ops is None or len(known) < len(blocks):
        return one_by_one
    return FusedLlama(LlamaStack(ops, known), one_by_one)


def _common_ops(blocks: Sequence[Block]) -> NativeOps | None:
    """The compiled operations that all layers share, if they do."""
    found = {
        id(ops): ops
        for block in blocks
        if isinstance(block, LlamaBlock)
        for ops in (block.attention.ops, block.mlp.ops)
    }
    ops = next(iter(found.values()), None)
    return ops if len(found) == 1 and isinstance(ops, NativeOps) else None


def _view(block: LlamaBlock) -> LayerView | None:
    """What the compiled code reads of a layer; None if it can't, or if ranks share the layer."""
    attention, mlp = block.attention, block.mlp
    norms = (attention.norm, mlp.norm)
    linears = (attention.qkv, attention.output.linear, mlp.gate_up, mlp.down.linear)
    packed = [weight for linear in linears if (weight := _packed(linear)) is not None]
    shared = attention.output.reduce is not None or mlp.down.reduce is not None
    plain = all(norm.dtype is torch.bfloat16 and norm.is_contiguous() for norm in norms)
    if shared or not plain or len(packed) < len(linears):
        return None
    return LayerView(
        *(norm.data_ptr() for norm in norms),
        *(LinearView(weight.address, weight.is_int8, weight.outputs) for weight in packed),
        attention.heads,
        attention.eps,
        mlp.eps,
        attention.scale,
    )


def _packed(linear: Linear) -> PackedWeight | None:
    packed = getattr(linear, "packed", None)
    return packed if isinstance(packed, PackedWeight) else None
