from __future__ import annotations

import torch

from autotuner.worker.dtypes import resolve_dtype
from autotuner.worker.kv import MAX_SLOTS, slots_for
from autotuner.worker.model_config import ModelConfig, RopeScaling

CPU = torch.device("cpu")
SMALL = ModelConfig(
    model_type="llama",
    vocab_size=49152,
    hidden_size=576,
    intermediate_size=1536,
    num_layers=30,
    num_heads=9,
    num_kv_heads=3,
    head_dim=64,
    max_model_len=8192,
    rms_norm_eps=1e-5,
    rope_theta=100000.0,
    rope_scaling=RopeScaling(),
    tie_word_embeddings=True,
    qkv_bias=False,
    output_bias=False,
    mlp_bias=False,
    bos_token_id=1,
    eos_token_ids=(2,),
)


def test_slots_follow_from_the_budget() -> None:
    # 2 x 30 layers x 3 heads x 64 = 11,520 numbers a token; 2,048 tokens in bfloat16 are 45 MiB.
    assert slots_for(SMALL, 2048, 4.0, torch.bfloat16) == 91
    assert slots_for(SMALL, 2048, 4.0, torch.float32) == 45
    assert slots_for(SMALL, 2048, 0.0, torch.float32) == 1
    assert slots_for(SMALL, 16, 4.0, torch.float32) == MAX_SLOTS


def test_a_named_dtype_is_taken_as_it_is() -> None:
    assert resolve_dtype("float32", CPU) == torch.float32
    assert resolve_dtype("bfloat16", CPU) == torch.bfloat16
    assert resolve_dtype("auto", torch.device("cuda")) == torch.bfloat16
