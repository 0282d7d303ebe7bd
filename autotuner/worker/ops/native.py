"""The operations in compiled code, for a CPU; what it does not take goes to the reference."""

from __future__ import annotations

import ctypes
from ctypes import c_float, c_void_p
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from autotuner.worker.attention_inputs import AttentionInputs
from autotuner.worker.kv import LayerCache
from autotuner.worker.ops.reference import ReferenceOps
from autotuner.worker.ops.views import CacheViews, StepViews


@dataclass(frozen=True)
class _Functions:
    """The compiled functions of one dtype."""

    rms_norm: Any
    silu_mul: Any
    rotate_and_store: Any
    attend: Any


class NativeOps:
    """See `interface.Ops`. `num_threads` of torch's own pool work on a call that is worth it."""

    name = "native"

    def __init__(self, library: ctypes.CDLL, num_threads: int) -> None:
        self._functions = {
            torch.float32: _functions(library, "f32"),
            torch.bfloat16: _functions(library, "bf16"),
        }
        self.library, self.num_threads = library, num_threads
        self._reference = ReferenceOps()
        self.caches, self.steps = CacheViews(), StepViews()

    def rms_norm(self, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        functions = self._functions.get(x.dtype)
        if functions is None or not x.is_cpu or x.stride(1) != 1 or weight.dtype is not x.dtype:
            return self._reference.rms_norm(x, weight, eps)
        rows, width = x.shape
        out = torch.empty(rows, width, dtype=x.dtype)
        functions.rms_norm(
            out.data_ptr(),
            x.data_ptr(),
            x.stride(0),
            weight.data_ptr(),
            rows,
            width,
            eps,
            self.num_threads,
        )
        return out

    def silu_mul(self, gate_up: Tensor) -> Tensor:
        functions = self._functions.get(gate_up.dtype)
        if functions is None or not gate_up.is_cpu or gate_up.stride(1) != 1:
            return self._reference.silu_mul(gate_up)
        rows, width = gate_up.size(0), gate_up.size(1) // 2
        out = torch.empty(rows, width, dtype=gate_up.dtype)
        functions.silu_mul(
            out.data_ptr(), gate_up.data_ptr(), gate_up.stride(0), rows, width, self.num_threads
        )
        return out

    def rotate_and_store(
        self, qkv: Tensor, cos: Tensor, sin: Tensor, heads: int, cache: LayerCache, rows: Tensor
    ) -> Tensor:
        functions = self._functions.get(qkv.dtype)
        view = self.caches.address(cache, qkv.dtype)
        if functions is None or view is None or not rotary_fits(qkv, cos, sin, rows):
            return self._rotate_and_store_in_torch(qkv, cos, sin, heads, cache, rows)
        tokens = qkv.size(0)
        functions.rotate_and_store(
            qkv.data_ptr(),
            qkv.stride(0),
            tokens,
            heads,
            view,
            cos.data_ptr(),
            sin.data_ptr(),
            rows.data_ptr(),
            self.num_threads,
        )
        dim = cos.size(-1)
        return qkv.as_strided((tokens, heads, dim), (qkv.stride(0), dim, 1))

    def attend(self, q: Tensor, cache: LayerCache, inputs: AttentionInputs, scale: float) -> Tensor:
        functions = self._functions.get(q.dtype)
        view, step = self.caches.address(cache, q.dtype), self.steps.address(inputs)
        if functions is None or view is None or step is None or q.stride(2) != 1 or scale <= 0:
            return self._reference.attend(q, cache, inputs, scale)
        tokens, heads, _ = q.shape
        out = torch.empty(tokens, heads * cache.values.size(2), dtype=q.dtype)
        functions.attend(
            out.data_ptr(),
            q.data_ptr(),
            q.stride(0),
            q.stride(1),
            heads,
            view,
            step,
            scale,
            self.num_threads,
        )
        return out

    def _rotate_and_store_in_torch(
        self, qkv: Tensor, cos: Tensor, sin: Tensor, heads: int, cache: LayerCache, rows: Tensor
    ) -> Tensor:
        """The reference, and the sign bits that it leaves out."""
        q = self._reference.rotate_and_store(qkv, cos, sin, heads, cache, rows)
        cache.signs.index_copy_(0, rows, packed_signs(cache.keys[rows]))
        return q


def packed_signs(keys: Tensor) -> Tensor:
    """Sign bits of [..., dim], lowest bit first: [..., ceil(dim / 8)] uint8."""
    bits = functional.pad(torch.signbit(keys).to(torch.uint8), (0, -keys.shape[-1] % 8))
    places = 2 ** torch.arange(8, dtype=torch.uint8, device=keys.device)
    return (bits.view(*bits.shape[:-1], -1, 8) * places).sum(-1, dtype=torch.uint8)


def rotary_fits(x: Tensor, cos: Tensor, sin: Tensor, rows: Tensor) -> bool:
    """Whether the compiled code reads rows x, of qkv or before it, and what goes with them."""
    return (
        x.stride(1) == 1
        and cos.dtype is sin.dtype is x.dtype
        and cos.is_contiguous()
        and sin.is_contiguous()
        and rows.dtype is torch.int64
        and rows.is_contiguous()
    )


def _functions(library: ctypes.CDLL, suffix: str) -> _Functions:
    """Argument types are set once: a plain int would be cut to 32 bits.

    Counts go as addresses do, which the C ABI passes alike: ctypes converts them in half the time.
    """
    arguments: dict[str, tuple[Any, ...]] = {
        "rms_norm": (*(c_void_p,) * 6, c_float, c_void_p),
        "silu_mul": (c_void_p,) * 6,
        "rotate_and_store": (c_void_p,) * 9,
        "attend": (*(c_void_p,) * 7, c_float, c_void_p),
    }
    functions = {}
    for name, types in arguments.items():
        functions[name] = library[f"{name}_{suffix}"]
        functions[name].argtypes, functions[name].restype = types, None
    return _Functions(**functions)
