from __future__ import annotations

import torch

from autotuner.worker.cpu_features import cpu_has_bf16_units, default_weight_dtype
from autotuner.worker.dtypes import activation_dtype
from autotuner.worker.kv import blocks_for
from autotuner.worker.model_config import ModelConfig, RopeScaling
from autotuner.worker.models.load import kv_shape
from autotuner.worker.sharding import WHOLE, Shard, split

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


def test_blocks_follow_from_the_budget() -> None:
    # 2 x 30 layers x 3 heads x 64 = 11,520 numbers a token; 16 tokens in bfloat16 are 360 KiB.
    shape = kv_shape(SMALL, WHOLE)
    assert shape.numbers_per_token == 11520
    assert blocks_for(shape, 2048, 4.0, torch.bfloat16) == 11650
    assert blocks_for(shape, 2048, 4.0, torch.float32) == 5825
    assert blocks_for(shape, 2048, 0.0, torch.float32) == 129  # one sequence, and the scratch block


def test_parts_are_whole_and_the_first_are_longer() -> None:
    assert [split(3, 2, i) for i in range(2)] == [(0, 2), (2, 3)]
    assert [split(8, 3, i) for i in range(3)] == [(0, 3), (3, 6), (6, 8)]


def test_a_rank_keeps_its_heads_of_its_layers() -> None:
    shape = kv_shape(SMALL, Shard(rank=1, size=2, stage=1, stages=4))
    assert (shape.layers, shape.heads) == (8, 1)


def test_int8_weights_are_computed_with_in_the_devices_best_dtype() -> None:
    best = torch.bfloat16 if cpu_has_bf16_units() else torch.float32
    assert activation_dtype("int8", CPU) == best
    assert activation_dtype("float32", CPU) == torch.float32
    assert activation_dtype("bfloat16", CPU) == torch.bfloat16
    assert activation_dtype("int8", torch.device("cuda")) == torch.bfloat16
    assert default_weight_dtype("cuda") == "bfloat16"
