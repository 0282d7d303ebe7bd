"""The decoder's small operations: what an implementation offers."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from autotuner.worker.attention_inputs import AttentionInputs
from autotuner.worker.kv import LayerCache


class Ops(Protocol):
    """All dtypes of one call are the same, float32 or bfloat16; sums are kept in float32."""

    @property
    def name(self) -> str: ...

    def rms_norm(self, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        """Returns x / sqrt(mean(x²) + eps) * weight over the last dimension of [tokens, width]."""
        ...

    def silu_mul(self, gate_up: Tensor) -> Tensor:
        """silu(gate) * up, of [tokens, 2 * width], the gate in the first half: [tokens, width]."""
        ...

    def rotate_and_store(
        self, qkv: Tensor, cos: Tensor, sin: Tensor, heads: int, cache: LayerCache, rows: Tensor
    ) -> Tensor:
        """Rotated queries [tokens, heads, dim]; rotated K, and V, written to the cache's `rows`.

        `qkv` is [tokens, (heads + 2 * kv_heads) * dim]; its memory may be overwritten. cos and sin
        are rows of `rotary.rotary_tables`, one a token: [tokens, 1, dim]. `rows` [tokens] int64.
        """
        ...

    def attend(self, q: Tensor, cache: LayerCache, inputs: AttentionInputs, scale: float) -> Tensor:
        """Attention of q [tokens, heads, key_dim] over the cache: [tokens, heads * value_dim].

        Query head h reads K/V head h // (heads / kv_heads). The step's own K and V are in the cache
        already.

        full: every token up to itself. sliding_window: the last WINDOW_TOKENS of these. top_k: the
        TOP_KEYS of these with the greatest cheap score, ties to the earlier token; the cheap score
        of a key is the sum over its numbers of q where the key's sign bit is clear, of -q where it
        is set. The softmax is over q.k * scale of the keys kept.
        """
        ...
