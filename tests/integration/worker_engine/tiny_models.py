"""Tiny random models of every supported kind, made with transformers."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    DeepseekV2Config,
    DeepseekV3Config,
    LlamaConfig,
    Qwen2Config,
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


YARN = {
    "rope_type": "yarn",
    "rope_theta": 1000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 64,
    "beta_fast": 8,
    "beta_slow": 1,
    "mscale": 0.7,
    "mscale_all_dim": 1.2,
}
LATENT: dict[str, Any] = {
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 12,
    "qk_rope_head_dim": 8,
    "v_head_dim": 10,
    "num_key_value_heads": 4,
    "head_dim": 8,
    "first_k_dense_replace": 1,
    "n_routed_experts": 8,
    "n_shared_experts": 2,
    "num_experts_per_tok": 3,
    "moe_intermediate_size": 20,
    "routed_scaling_factor": 1.7,
}


def _deepseek_v2(**changes: Any) -> Any:
    """V2-Lite's kind unless changed: queries without a latent, experts chosen without groups."""
    return DeepseekV2Config(**{**SIZES, **LATENT, "q_lora_rank": None, **changes})


def _deepseek_v3(**changes: Any) -> Any:
    grouped = {"q_lora_rank": 24, "n_group": 4, "topk_group": 2}
    return DeepseekV3Config(**{**SIZES, **LATENT, **grouped, **changes})


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
    "deepseek-v2-lite": _deepseek_v2(),
    "deepseek-v2-lite-yarn": _deepseek_v2(rope_parameters=YARN),
    "deepseek-v2": _deepseek_v2(
        q_lora_rank=24, topk_method="group_limited_greedy", n_group=4, topk_group=2
    ),
    "deepseek-v3": _deepseek_v3(),
    "deepseek-v3-yarn": _deepseek_v3(rope_parameters=YARN),
}


def make_tiny(config: Any) -> Any:
    """A random model in which no weight is left at a value that would hide a mistake."""
    torch.manual_seed(3)
    make: Any = AutoModelForCausalLM
    model = make.from_config(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 1:  # norms start at one and biases at zero
                weight.add_(torch.randn_like(weight) * (0.3 if "norm" in name else 1.0))
            elif not weight.any():
                weight.normal_(std=SIZES["initializer_range"])
        for name, buffer in model.named_buffers():
            if "correction_bias" in name:
                buffer.normal_(std=0.3)
    return model
