"""Tiny random models of every supported kind, made with transformers."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

SIZES: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "eos_token_id": 2,
    "initializer_range": 0.3,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
LINEAR = {"rope_type": "linear", "rope_theta": 1000.0, "factor": 4.0}


def _llama(**changes: Any) -> Any:
    return LlamaConfig(**{**SIZES, **changes})


def _qwen(**changes: Any) -> Any:
    return Qwen2Config(**{**SIZES, **changes})


TINY = {
    "llama": _llama(),
    "llama-tied": _llama(tie_word_embeddings=True),
    "llama-biased": _llama(attention_bias=True, mlp_bias=True),
    "llama-wide-heads": _llama(head_dim=24),
    "llama-one-kv-head": _llama(num_key_value_heads=1),
    "llama-no-groups": _llama(num_key_value_heads=4),
    "llama-linear-rope": _llama(rope_parameters=LINEAR),
    "llama-llama3-rope": _llama(rope_parameters=LLAMA3),
    "qwen2": _qwen(),
    "qwen2-tied": _qwen(tie_word_embeddings=True),
}


def make_tiny(config: Any) -> Any:
    """A random model in which no weight is left at a value that would hide a mistake."""
    torch.manual_seed(3)
    kind: Any = Qwen2ForCausalLM if config.model_type == "qwen2" else LlamaForCausalLM
    model = kind(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 1:  # norms start at one and biases at zero
                weight.add_(torch.randn_like(weight) * (0.3 if "norm" in name else 1.0))
    return model
