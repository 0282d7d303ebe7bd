"""What the compiled code reads of a cache and of a step: native/layout.h, field by field.

A view holds addresses, so it lives no longer than the tensors that it was made from.
"""

from __future__ import annotations

import ctypes
import weakref
from ctypes import c_int64, c_void_p
from dataclasses import dataclass

import torch
from torch import Tensor

from autotuner.worker.attention_inputs import (
    BLOCK_TOKENS,
    TOP_KEYS,
    WINDOW_TOKENS,
    AttentionInputs,
)
from autotuner.worker.kv import LayerCache

MAX_DIM = 4096  # of a key or value: packing.h


class CacheView(ctypes.Structure):
    """`Cache` of layout.h."""

    _fields_ = (
        ("keys", c_void_p),
        ("values", c_void_p),
        ("signs", c_void_p),
        ("key_row", c_int64),
        ("key_head", c_int64),
        ("value_row", c_int64),
        ("value_head", c_int64),
        ("sign_row", c_int64),
        ("sign_head", c_int64),
        ("kv_heads", c_int64),
        ("key_dim", c_int64),
        ("value_dim", c_int64),
    )


class SpanView(ctypes.Structure):
    """`Span` of layout.h."""

    _fields_ = (
        ("sequence", c_int64),
        ("first", c_int64),
        ("last", c_int64),
        ("length", c_int64),
    )


class StepView(ctypes.Structure):
    """`Step` of layout.h."""

    _fields_ = (
        ("block_table", c_void_p),
        ("lengths", c_void_p),
        ("spans", c_void_p),
        ("table_row", c_int64),
        ("singles", c_int64),
        ("chunks", c_int64),
        ("block_tokens", c_int64),
        ("window", c_int64),
        ("top_keys", c_int64),
    )


@dataclass(frozen=True)
class _Known:
    """A cache's view and its address; no address for a cache that can't be read."""

    view: CacheView
    address: int | None
    dtype: torch.dtype


class CacheViews:
    """The views of the caches in use, each made once; one goes when its cache does."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}

    def address(self, cache: LayerCache, dtype: torch.dtype) -> int | None:
        """Where the cache's view is; None for a cache that the compiled code can't read."""
        known = self._known.get(id(cache)) or self._add(cache)
        return known.address if known.dtype is dtype else None

    def _add(self, cache: LayerCache) -> _Known:
        view = _cache_view(cache)
        address = ctypes.addressof(view) if _is_readable(cache) else None
        known = self._known[id(cache)] = _Known(view, address, cache.keys.dtype)
        weakref.finalize(cache, self._known.pop, id(cache), None)
        return known


class StepViews:
    """The view of the step at hand, which all layers share."""

    def __init__(self) -> None:
        self._inputs: AttentionInputs | None = None
        self._view: tuple[StepView, object] | None = None
        self._address: int | None = None

    def address(self, inputs: AttentionInputs) -> int | None:
        """Where the step's view is; None for tables that the compiled code can't read."""
        if inputs is not self._inputs:
            self._make(inputs)
        return self._address

    def _make(self, inputs: AttentionInputs) -> None:
        self._inputs, self._view, self._address = inputs, None, None
        tables = (inputs.block_table, inputs.lengths)
        if any(t.dtype != torch.int32 or not t.is_cpu or t.stride(-1) != 1 for t in tables):
            return
        spans = (SpanView * len(inputs.chunks))(
            *(SpanView(s.sequence, s.first, s.last, s.length) for s in inputs.chunks)
        )
        view = StepView(
            inputs.block_table.data_ptr(),
            inputs.lengths.data_ptr(),
            ctypes.addressof(spans),
            inputs.block_table.stride(0),
            inputs.singles,
            len(inputs.chunks),
            BLOCK_TOKENS,
            WINDOW_TOKENS if inputs.mode == "sliding_window" else 0,
            TOP_KEYS if inputs.mode == "top_k" else 0,
        )
        self._view, self._address = (view, spans), ctypes.addressof(view)


def shares_memory(cache: LayerCache) -> bool:
    """Whether the values are a part of the keys: such a cache is not filled by rotate_and_store,
    so that nobody writes its sign bits.
    """
    return cache.keys.data_ptr() == cache.values.data_ptr()


def _is_readable(cache: LayerCache) -> bool:
    tensors = (cache.keys, cache.values, cache.signs)
    widest = max(cache.keys.shape[-1], cache.values.shape[-1])
    return widest <= MAX_DIM and all(t.is_cpu and t.stride(-1) == 1 for t in tensors)


def _cache_view(cache: LayerCache) -> CacheView:
    keys, values, signs = cache.keys, cache.values, cache.signs
    return CacheView(
        keys.data_ptr(),
        values.data_ptr(),
        None if shares_memory(cache) else signs.data_ptr(),
        *_row_and_head(keys),
        *_row_and_head(values),
        *_row_and_head(signs),
        *keys.shape[1:],
        values.shape[2],
    )


def _row_and_head(tensor: Tensor) -> tuple[int, int]:
    return tensor.stride(0), tensor.stride(1)
