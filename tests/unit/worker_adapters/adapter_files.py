"""A tiny model's and an adapter's files, with shapes that tell every side from every other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

WIDTH, INNER, RANK = 6, 10, 2
SHAPES: Mapping[str, tuple[int, ...]] = {
    "model.embed_tokens.weight": (11, WIDTH),
    "model.layers.0.self_attn.q_proj.weight": (8, WIDTH),
    "model.layers.0.mlp.down_proj.weight": (WIDTH, INNER),
    "model.norm.weight": (WIDTH,),
    "lm_head.weight": (11, WIDTH),
}
TARGETS = ("model.layers.0.self_attn.q_proj", "model.layers.0.mlp.down_proj")
CONFIG: dict[str, Any] = {"peft_type": "LORA", "r": RANK, "lora_alpha": 3, "bias": "none"}
Tensors = dict[str, np.ndarray[Any, Any]]


def write_base(folder: Path, *, tied: bool = False) -> Path:
    """A model's folder as far as an adapter's check reads it; creates the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "model_type": "llama",
        "vocab_size": 11,
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": tied,
    }
    (folder / "config.json").write_text(json.dumps(config))
    draws = np.random.default_rng(0)
    tensors = {name: draws.normal(size=shape).astype("f4") for name, shape in SHAPES.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def lora_tensors(*layers: str, rank: int = RANK) -> Tensors:
    """Both parts of the change of each layer."""
    draws, tensors = np.random.default_rng(1), Tensors()
    for layer in layers or TARGETS:
        outputs, inputs = SHAPES[f"{layer}.weight"]
        for part, shape in (("A", (rank, inputs)), ("B", (outputs, rank))):
            name = f"base_model.model.{layer}.lora_{part}.weight"
            tensors[name] = draws.normal(size=shape).astype("f4")
    return tensors


def write_adapter(folder: Path, tensors: Tensors | None = None, **config: Any) -> Path:
    """An adapter's folder; `config` changes its config; creates the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(CONFIG | config))
    given = lora_tensors() if tensors is None else tensors
    save_file(given, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    return folder
