"""All layers in one call against the same layers one by one: the same bits, outputs and cache."""

from __future__ import annotations

import ctypes
import random
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from autotuner.worker.bf16_linear import Bf16Factory
from autotuner.worker.decoder import Block, OneByOne, Step
from autotuner.worker.int8_linear import Int8Factory
from autotuner.worker.kv import KVCache, KVShape
from autotuner.worker.linear import Linear, PlainLinear
from autotuner.worker.models.fused_llama import FusedLlama, fused
from autotuner.worker.models.llama_block import GroupedQueryAttention, LlamaBlock
from autotuner.worker.models.load import load_decoder
from autotuner.worker.models.mlp import GatedMlp
from autotuner.worker.models.parts import LinearFactory, Residual
from autotuner.worker.ops.native import NativeOps
from autotuner.worker.ops.reference import ReferenceOps
from autotuner.worker.settings import ATTENTION_MODES, AttentionMode
from autotuner.worker.weights import resolve_model
from tests.unit.worker_ops.paged import make_inputs

CPU = torch.device("cpu")
BLOCKS = 90


@dataclass(frozen=True)
class Sizes:
    width: int
    inner: int
    heads: int
    kv_heads: int
    dim: int
    has_bias: bool = False

    @property
    def qkv(self) -> int:
        return (self.heads + 2 * self.kv_heads) * self.dim


SIZES = {
    "round": Sizes(128, 192, 4, 2, 32),
    "smollm": Sizes(576, 1536, 9, 3, 64),
    "odd": Sizes(44, 50, 3, 1, 20, has_bias=True),
    "odder": Sizes(33, 17, 6, 3, 10),
}


class Maker:
    """Random layers of one size."""

    def __init__(self, sizes: Sizes, ops: NativeOps | ReferenceOps, linears: LinearFactory) -> None:
        self._sizes, self._ops, self._linears = sizes, ops, linears
        self._random = torch.Generator().manual_seed(5)

    def block(self) -> LlamaBlock:
        sizes = self._sizes
        output = Residual(self._linear(sizes.width, sizes.heads * sizes.dim), None)
        down = Residual(self._linear(sizes.width, sizes.inner), None)
        qkv, gate_up = (self._linear(rows, sizes.width) for rows in (sizes.qkv, 2 * sizes.inner))
        return LlamaBlock(
            GroupedQueryAttention(
                self._ops, self._norm(), 1e-5, sizes.heads, sizes.dim**-0.5, qkv, output
            ),
            GatedMlp(self._ops, self._norm(), 1e-6, gate_up, down),
        )

    def draw(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._random).bfloat16()

    def _norm(self) -> Tensor:
        return 1 + self.draw(self._sizes.width) / 8

    def _linear(self, outputs: int, inputs: int) -> Linear:
        bias = self.draw(outputs) if self._sizes.has_bias else None
        return self._linears("any", self.draw(outputs, inputs) * inputs**-0.5, bias, slice(None))


def factories(compiled: ctypes.CDLL, threads: int) -> dict[str, LinearFactory]:
    return {
        "bfloat16": Bf16Factory(compiled, threads),
        "int8": Int8Factory({}, compiled, threads),
    }


def make_cache(sizes: Sizes, layers: int, seed: int) -> KVCache:
    """Filled with random numbers, signs too: what the bits mean does not matter here."""
    shape = KVShape(layers, sizes.kv_heads, sizes.dim, sizes.dim)
    cache, source = KVCache(shape, BLOCKS, torch.bfloat16, CPU), torch.Generator().manual_seed(seed)
    for layer in cache.layers:
        layer.keys.copy_(torch.randn(layer.keys.shape, generator=source))
        layer.values.copy_(torch.randn(layer.values.shape, generator=source))
        layer.signs.random_(generator=source)
    return cache


def same(one: KVCache, other: KVCache) -> bool:
    return all(
        a.keys.equal(b.keys) and a.values.equal(b.values) and a.signs.equal(b.signs)
        for a, b in zip(one.layers, other.layers, strict=True)
    )


def make_step(maker: Maker, dim: int, mode: AttentionMode, source: random.Random) -> Step:
    """Single rows, then chunks; each sequence in blocks of its own, in any order."""
    sequences = [(source.randint(1, 150), 1) for _ in range(source.randint(0, 9))]
    for _ in range(source.randint(0 if sequences else 1, 2)):
        rows = source.randint(2, 130)
        sequences.append((rows + source.randint(0, 40), rows))
    order = source.sample(range(1, BLOCKS), BLOCKS - 1)
    owned = [[order.pop() for _ in range(-(-tokens // 16))] for tokens, _ in sequences]
    cache_rows = [
        blocks[position // 16] * 16 + position % 16
        for (tokens, rows), blocks in zip(sequences, owned, strict=True)
        for position in range(tokens - rows, tokens)
    ]
    cos, sin = (maker.draw(len(cache_rows), 1, dim) for _ in range(2))
    return Step(cos, sin, torch.tensor(cache_rows), make_inputs(sequences, owned, mode))


@pytest.mark.parametrize("mode", ATTENTION_MODES)
@pytest.mark.parametrize("kind", ["bfloat16", "int8"])
@pytest.mark.parametrize("size", SIZES)
def test_random_steps_give_the_bits_of_layers_one_by_one(
    compiled: ctypes.CDLL, size: str, kind: str, mode: AttentionMode
) -> None:
    sizes, source = SIZES[size], random.Random(f"{size} {kind} {mode}")
    threads = source.choice([1, 2])
    maker = Maker(sizes, NativeOps(compiled, threads), factories(compiled, threads)[kind])
    blocks = [maker.block() for _ in range(2)]
    layers = fused(blocks)
    assert isinstance(layers, FusedLlama)
    fused_cache, plain_cache = (make_cache(sizes, 2, seed=1) for _ in range(2))
    for _ in range(3):
        step = make_step(maker, sizes.dim, mode, source)
        hidden = maker.draw(len(step.cache_rows), sizes.width)
        kept = hidden.clone()
        out = layers(hidden, step, fused_cache)
        assert out.isfinite().all()
        assert out.equal(OneByOne(blocks)(hidden, step, plain_cache))
        assert same(fused_cache, plain_cache)
        assert hidden.equal(kept)


def test_what_it_can_not_read_goes_through_the_layers_one_by_one(compiled: ctypes.CDLL) -> None:
    sizes = SIZES["round"]
    maker = Maker(sizes, NativeOps(compiled, 1), Bf16Factory(compiled, 1))
    blocks = [maker.block()]
    layers, one_by_one = fused(blocks), OneByOne(blocks)
    cache, other = make_cache(sizes, 1, seed=1), make_cache(sizes, 1, seed=1)
    step = make_step(maker, sizes.dim, "full", random.Random(2))
    hidden = maker.draw(len(step.cache_rows), sizes.width)
    strided = torch.cat((hidden, hidden), 1)[:, : sizes.width]
    apart = replace(step, cache_rows=step.cache_rows.repeat_interleave(2)[::2])
    for odd_hidden, odd_step in ((strided, step), (hidden, apart)):
        out = layers(odd_hidden, odd_step, cache)
        assert out.equal(one_by_one(odd_hidden, odd_step, other))
        assert same(cache, other)


def test_a_new_cache_is_seen(compiled: ctypes.CDLL) -> None:
    sizes = SIZES["round"]
    maker = Maker(sizes, NativeOps(compiled, 1), Bf16Factory(compiled, 1))
    layers = fused([maker.block()])
    step = make_step(maker, sizes.dim, "full", random.Random(3))
    hidden = maker.draw(len(step.cache_rows), sizes.width)
    outs = []
    for seed in (1, 2, 1):
        cache = make_cache(sizes, 1, seed)
        outs.append(layers(hidden, step, cache))
        del cache
    assert outs[0].equal(outs[2])
    assert not outs[0].equal(outs[1])


def test_not_a_number_stays_in_its_sequence(compiled: ctypes.CDLL) -> None:
    sizes = SIZES["odd"]
    maker = Maker(sizes, NativeOps(compiled, 1), Bf16Factory(compiled, 1))
    layers = fused([maker.block(), maker.block()])
    rows = 7
    inputs = make_inputs([(5, 1)] * rows, [[1 + i] for i in range(rows)], "full")
    cos, sin = (maker.draw(rows, 1, sizes.dim) for _ in range(2))
    step = Step(cos, sin, torch.arange(1, 1 + rows) * 16 + 4, inputs)
    hidden = maker.draw(rows, sizes.width)
    fine = layers(hidden, step, make_cache(sizes, 2, seed=1))
    hidden[3, 2] = torch.nan
    out = layers(hidden, step, make_cache(sizes, 2, seed=1))
    assert out[3].isnan().all()
    others = [row for row in range(rows) if row != 3]
    assert out[others].equal(fine[others])


def test_layers_of_other_code_or_of_several_ranks_are_not_fused(compiled: ctypes.CDLL) -> None:
    def is_fused(*blocks: Block) -> bool:
        return isinstance(fused(blocks), FusedLlama)

    def plain(name: str, weight: Tensor, bias: Tensor | None, inputs: slice) -> PlainLinear:
        del name, inputs
        return PlainLinear(weight, bias)

    sizes, native, factory = SIZES["round"], NativeOps(compiled, 1), Bf16Factory(compiled, 1)
    maker = Maker(sizes, native, factory)
    block = maker.block()
    assert is_fused(block)
    shared = Residual(block.mlp.down.linear, lambda partial: partial)
    assert not is_fused(block, replace(block, mlp=replace(block.mlp, down=shared)))
    assert not is_fused(block, Maker(sizes, native, plain).block())
    assert not is_fused(Maker(sizes, ReferenceOps(), factory).block())
    assert not is_fused(block, Maker(sizes, NativeOps(compiled, 1), factory).block())
    assert not is_fused(lambda hidden, step, cache: hidden)


@pytest.mark.model
def test_a_real_model_gives_the_bits_of_its_layers_one_by_one(compiled: ctypes.CDLL) -> None:
    decoder = load_decoder(
        resolve_model(None),
        torch.bfloat16,
        CPU,
        64,
        NativeOps(compiled, 1),
        linears=Bf16Factory(compiled, 1),
    )
    layers = decoder.layers
    assert isinstance(layers, FusedLlama)
    source = torch.Generator().manual_seed(4)
    hidden = torch.randn(40, 576, generator=source).bfloat16()
    cos, sin = (torch.randn(40, 1, 64, generator=source).bfloat16() for _ in range(2))
    step = Step(cos, sin, torch.arange(16, 56), make_inputs([(40, 40)], [[1, 2, 3]], "full"))
    caches = [KVCache(decoder.kv_shape, 4, torch.bfloat16, CPU) for _ in range(2)]
    assert layers(hidden, step, caches[0]).equal(layers.one_by_one(hidden, step, caches[1]))
    assert same(*caches)
