"""The operations on a GPU: torch's own, with paged FlashAttention where it takes the shapes.

`fits` tries the kernel against plain torch once, since which page sizes, head sizes and cards it
takes depends on the build.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from autotuner.worker.attention_inputs import BLOCK_TOKENS, WINDOW_TOKENS, AttentionInputs
from autotuner.worker.kv import KVShape, LayerCache
from autotuner.worker.ops.interface import Ops
from autotuner.worker.ops.reference import ReferenceOps

log = logging.getLogger(__name__)

TRIAL_TOLERANCE = 0.03  # bfloat16 outputs of about 1


class FlashOps(ReferenceOps):
    """Attention reads the cache through the block table; nothing is gathered."""

    name = "flash"

    def attend(self, q: Tensor, cache: LayerCache, inputs: AttentionInputs, scale: float) -> Tensor:
        if inputs.mode == "top_k":
            return super().attend(q, cache, inputs, scale)
        from torch.nn.attention.varlen import varlen_attn

        left = WINDOW_TOKENS - 1 if inputs.mode == "sliding_window" else -1
        out = varlen_attn(
            q.contiguous(),
            _pages(cache.keys),
            _pages(cache.values),
            inputs.query_starts,
            None,
            inputs.max_rows,
            inputs.max_length,
            scale=scale,
            window_size=(left, 0),
            enable_gqa=True,
            seqused_k=inputs.lengths,
            block_table=inputs.block_table,
        )
        assert isinstance(out, Tensor)
        return out.flatten(1)


def _pages(rows: Tensor) -> Tensor:
    """The cache's rows [tokens, heads, dim] as [blocks, tokens, heads, dim]."""
    return rows.view(-1, BLOCK_TOKENS, *rows.shape[1:])


def cuda_ops(shape: KVShape, heads: int, dtype: torch.dtype, device: torch.device) -> Ops:
    """FlashOps where a trial with these shapes agrees with plain torch, else plain torch."""
    reference = ReferenceOps()
    if shape.values_in_keys or dtype == torch.float32:
        return reference
    try:
        difference = _difference(FlashOps(), reference, shape, heads, dtype, device)
    except (RuntimeError, ValueError, ImportError) as error:
        log.warning("paged FlashAttention does not run here (%s): plain torch is used", error)
        return reference
    if not difference <= TRIAL_TOLERANCE:
        log.warning("paged FlashAttention is off by %.3f here: plain torch is used", difference)
        return reference
    return FlashOps()


@torch.inference_mode()
def _difference(
    one: Ops, other: Ops, shape: KVShape, heads: int, dtype: torch.dtype, device: torch.device
) -> float:
    """The greatest difference of two implementations, over a few sequences in shuffled blocks."""
    rows = torch.Generator(device="cpu").manual_seed(0)
    blocks = 9
    keys, values = (
        torch.randn(blocks * BLOCK_TOKENS, shape.heads, dim, generator=rows).to(device, dtype)
        for dim in (shape.key_dim, shape.value_dim)
    )
    cache = LayerCache(keys, values, torch.empty(0, dtype=torch.uint8, device=device))
    table = torch.tensor([[8, 3, 5, 1], [2, 7, 4, 6]], dtype=torch.int32, device=device)
    inputs = AttentionInputs(
        mode="full",
        block_table=table,
        lengths=torch.tensor([37, 64], dtype=torch.int32, device=device),
        query_starts=torch.tensor([0, 1, 2], dtype=torch.int32, device=device),
        singles=2,
        chunks=(),
        max_length=64,
        max_rows=1,
    )
    q = torch.randn(2, heads, shape.key_dim, generator=rows).to(device, dtype)
    scale = shape.key_dim**-0.5
    first, second = (ops.attend(q, cache, inputs, scale).float() for ops in (one, other))
    return float((first - second).abs().max())
