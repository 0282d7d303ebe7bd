"""Puts a rank's layers between the embedding and the head."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from autotuner.worker.decoder import Block, Decoder, Head, Layers, OneByOne
from autotuner.worker.kv import KVShape
from autotuner.worker.model_config import ModelConfig
from autotuner.worker.models.parts import Source
from autotuner.worker.ops.interface import Ops
from autotuner.worker.ops.rotary import rotary_tables
from autotuner.worker.sharding import Shard

EMBEDDING = "model.embed_tokens"


def make_decoder(
    config: ModelConfig,
    source: Source,
    shard: Shard,
    ops: Ops,
    max_len: int,
    kv_shape: KVShape,
    block: Callable[[int], Block],
    join: Callable[[Sequence[Block]], Layers] = OneByOne,
) -> Decoder:
    """The rank's stage: `block` builds the layer of an index, `join` makes one of them all; raises
    ModelError.
    """
    embedding = source.tensor(f"{EMBEDDING}.weight") if shard.is_first_stage else None
    blocks = [block(index) for index in shard.layers(config.num_layers)]
    head = _head(config, source) if shard.is_last_stage else None
    cos, sin = rotary_tables(config, max_len, source.dtype)
    rotary = (cos.to(source.device), sin.to(source.device))
    return Decoder(ops, kv_shape, embedding, join(blocks), head, rotary, source.nbytes)


def _head(config: ModelConfig, source: Source) -> Head:
    norm = source.tensor("model.norm.weight")
    name = EMBEDDING if config.tie_word_embeddings else "lm_head"
    return Head(norm, config.rms_norm_eps, source.whole(name))
