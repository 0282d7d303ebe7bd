"""A random two-layer Llama of a few thousand weights, whose tokens are bytes; and examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from autotuner.finetune.examples import Example
from experiments.studies.gradient_compression.model import END, byte_tokenizer

__all__ = ["END", "byte_tokenizer", "examples", "make_model"]


def make_model(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """The model's folder, as transformers writes it; random weights of `seed`."""
    tokenizer = byte_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        initializer_range=0.2,
        **changes,
    )
    torch.manual_seed(seed)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def examples(count: int) -> list[Example]:
    """Of different lengths, all with one rule: the answer is the prompt's last letter, thrice."""
    letters = "abcdefgh"
    return [
        Example(
            prompt="say " + letters[i % 8] * (1 + i % 5) + letters[i * 3 % 8],
            answer=letters[i * 3 % 8] * 3,
        )
        for i in range(count)
    ]
