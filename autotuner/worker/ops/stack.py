"""A stack of Llama layers as one call of compiled code: what stack.cpp reads, field by field.

A structure holds addresses, so it lives no longer than what it was made from.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from ctypes import c_float, c_int64, c_void_p

import torch
from torch import Tensor

from autotuner.worker.attention_inputs import AttentionInputs
from autotuner.worker.kv import KVCache, LayerCache
from autotuner.worker.ops.native import NativeOps, rotary_fits
from autotuner.worker.ops.views import shares_memory

KERNEL = "llama_stack_bf16"


class LinearView(ctypes.Structure):
    """`Linear` of stack.cpp."""

    _fields_ = (("weight", c_void_p), ("is_int8", c_int64), ("outputs", c_int64))


class LayerView(ctypes.Structure):
    """`LlamaLayer` of stack.cpp."""

    _fields_ = (
        ("attention_norm", c_void_p),
        ("mlp_norm", c_void_p),
        ("qkv", LinearView),
        ("output", LinearView),
        ("gate_up", LinearView),
        ("down", LinearView),
        ("heads", c_int64),
        ("attention_eps", c_float),
        ("mlp_eps", c_float),
        ("scale", c_float),
    )


class TokensView(ctypes.Structure):
    """`Tokens` of stack.cpp."""

    _fields_ = (
        ("cos", c_void_p),
        ("sin", c_void_p),
        ("cache_rows", c_void_p),
        ("step", c_void_p),
        ("count", c_int64),
        ("width", c_int64),
    )


class LlamaStack:
    """The layers of `views`, whose memory the caller keeps; bfloat16, on a CPU."""

    def __init__(self, ops: NativeOps, views: Sequence[LayerView]) -> None:
        self._ops, self._count = ops, len(views)
        self._views = (LayerView * len(views))(*views)
        self._caches: weakref.WeakKeyDictionary[KVCache, ctypes.Array[c_void_p] | None]
        self._caches = weakref.WeakKeyDictionary()
        self._kernel = ops.library[KERNEL]
        self._kernel.argtypes, self._kernel.restype = (c_void_p,) * 7, None

    def __call__(
        self,
        hidden: Tensor,
        cos: Tensor,
        sin: Tensor,
        rows: Tensor,
        inputs: AttentionInputs,
        cache: KVCache,
    ) -> Tensor | None:
        """The hidden states after all layers, [tokens, width]; None, and nothing done, for tensors
        that the compiled code can't read. Arguments are those of `interface.Ops`.
        """
        step, caches = self._ops.steps.address(inputs), self._addresses(cache)
        fits = hidden.is_contiguous() and rotary_fits(hidden, cos, sin, rows)
        if step is None or caches is None or hidden.dtype is not torch.bfloat16 or not fits:
            return None
        tokens, width = hidden.shape
        out = torch.empty(tokens, width, dtype=torch.bfloat16)
        view = TokensView(cos.data_ptr(), sin.data_ptr(), rows.data_ptr(), step, tokens, width)
        self._kernel(
            ctypes.addressof(self._views),
            ctypes.addressof(caches),
            self._count,
            ctypes.addressof(view),
            hidden.data_ptr(),
            out.data_ptr(),
            self._ops.num_threads,
        )
        return out

    def _addresses(self, cache: KVCache) -> ctypes.Array[c_void_p] | None:
        """Of the cache's views, layer by layer; None for a cache that can't be read."""
        if cache not in self._caches:
            self._caches[cache] = self._find(cache.layers)
        return self._caches[cache]

    def _find(self, layers: Sequence[LayerCache]) -> ctypes.Array[c_void_p] | None:
        found = [self._ops.caches.address(layer, torch.bfloat16) for layer in layers]
        if None in found or len(found) != self._count or any(map(shares_memory, layers)):
            return None
        return (c_void_p * len(found))(*found)
