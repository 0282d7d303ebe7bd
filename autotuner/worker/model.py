"""The decoder of Llama and Qwen2 over a flat batch of tokens; nothing of requests or sampling.

A batch mixes single tokens of decoding sequences and chunks of prompts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from autotuner.worker import ops
from autotuner.worker.attention import AttentionPlan, attend
from autotuner.worker.kv import KVCache
from autotuner.worker.linear import Linear, make_linear
from autotuner.worker.model_config import ModelConfig
from autotuner.worker.weights import TensorFiles


@dataclass(frozen=True)
class Batch:
    """What one forward pass reads: token_ids, positions and cache_rows by token.

    `cache_rows` are KVCache.flat_rows; `logits_rows` the tokens whose next token is wanted.
    """

    token_ids: Tensor
    positions: Tensor
    cache_rows: Tensor
    logits_rows: Tensor
    attention: AttentionPlan


@dataclass(frozen=True)
class Layer:
    """One layer's weights, with q, k, v fused and gate, up fused."""

    input_norm: Tensor
    qkv: Linear
    output: Linear
    mlp_norm: Tensor
    gate_up: Linear
    down: Linear


class Decoder:
    """Weights on one device, and the pass over them."""

    def __init__(
        self,
        config: ModelConfig,
        embedding: Tensor,
        layers: list[Layer],
        final_norm: Tensor,
        head: Linear,
        max_len: int,
    ) -> None:
        self.config = config
        self.dtype, self.device = embedding.dtype, embedding.device
        self._embedding, self._layers = embedding, layers
        self._final_norm, self._head = final_norm, head
        cos, sin = ops.rotary_tables(config, max_len, self.dtype)
        self._cos, self._sin = cos.to(self.device), sin.to(self.device)

    def forward(self, batch: Batch, cache: KVCache) -> Tensor:
        """Logits [len(logits_rows), vocab_size]; K and V of the batch are written to the cache."""
        hidden = functional.embedding(batch.token_ids, self._embedding)
        cos = self._cos.index_select(0, batch.positions)
        sin = self._sin.index_select(0, batch.positions)
        for index, layer in enumerate(self._layers):
            hidden = self._attention(index, layer, hidden, cos, sin, batch, cache)
            gate_up = layer.gate_up(ops.rms_norm(hidden, layer.mlp_norm, self.config.rms_norm_eps))
            hidden = layer.down.add_to(hidden, ops.silu_mul(gate_up))
        wanted = hidden.index_select(0, batch.logits_rows)
        return self._head(ops.rms_norm(wanted, self._final_norm, self.config.rms_norm_eps))

    def _attention(
        self,
        index: int,
        layer: Layer,
        hidden: Tensor,
        cos: Tensor,
        sin: Tensor,
        batch: Batch,
        cache: KVCache,
    ) -> Tensor:
        config = self.config
        qkv = layer.qkv(ops.rms_norm(hidden, layer.input_norm, config.rms_norm_eps))
        heads = qkv.view(len(qkv), -1, config.head_dim)
        first_v = config.num_heads + config.num_kv_heads
        rotated = ops.rotate(heads[:, :first_v], cos, sin)
        k = rotated[:, config.num_heads :].reshape(-1, config.head_dim)
        v = heads[:, first_v:].reshape(-1, config.head_dim)
        cache.flat_keys[index].index_copy_(0, batch.cache_rows, k)
        cache.flat_values[index].index_copy_(0, batch.cache_rows, v)
        q = rotated[:, : config.num_heads]
        mixed = attend(q, cache.keys[index], cache.values[index], batch.attention)
        return layer.output.add_to(hidden, mixed)


def load_decoder(folder: Path, dtype: torch.dtype, device: torch.device, max_len: int) -> Decoder:
    """The model of `folder`, its weights as `dtype` on `device`; raises ModelError."""
    config = ModelConfig.from_folder(folder)
    files = TensorFiles(folder)

    def get(*names: str) -> Tensor:
        parts = [files.get(name).to(dtype) for name in names]
        return (parts[0] if len(parts) == 1 else torch.cat(parts)).to(device)

    def linear(prefix: str, *parts: str, bias: bool) -> Linear:
        weight = get(*(f"{prefix}.{part}.weight" for part in parts))
        return make_linear(
            weight, get(*(f"{prefix}.{part}.bias" for part in parts)) if bias else None
        )

    def layer(index: int) -> Layer:
        prefix = f"model.layers.{index}"
        attention, mlp = f"{prefix}.self_attn", f"{prefix}.mlp"
        return Layer(
            get(f"{prefix}.input_layernorm.weight"),
            linear(attention, "q_proj", "k_proj", "v_proj", bias=config.qkv_bias),
            linear(attention, "o_proj", bias=config.output_bias),
            get(f"{prefix}.post_attention_layernorm.weight"),
            linear(mlp, "gate_proj", "up_proj", bias=config.mlp_bias),
            linear(mlp, "down_proj", bias=config.mlp_bias),
        )

    embedding = get("model.embed_tokens.weight")
    head = embedding if config.tie_word_embeddings else get("lm_head.weight")
    return Decoder(
        config,
        embedding,
        [layer(index) for index in range(config.num_layers)],
        get("model.norm.weight"),
        make_linear(head),
        max_len,
    )
