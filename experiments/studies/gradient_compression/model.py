"""The model that is trained, small and random, whose tokens are bytes; and what it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from autotuner.finetune.examples import Example

END = "<end>"
COLOURS = ("red", "green", "blue", "amber", "white", "violet")
PLACES = ("pump", "valve", "boiler", "filter", "gate", "lift")
STATES = ("is blocked", "is empty", "runs hot", "stands still", "leaks", "is in order")


def make_model(folder: Path, hidden: int, layers: int, seed: int) -> Path:
    """A Llama of random weights in Hugging Face's layout."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = byte_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(seed)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def byte_tokenizer() -> Any:
    """Bytes as tokens, and one that ends an answer."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({byte: i for i, byte in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(END, special=True)])
    make: Any = PreTrainedTokenizerFast
    return make(tokenizer_object=tokenizer, eos_token=END)


def make_examples(count: int, seed: int) -> list[Example]:
    """What a lamp means: its colour alone says it, wherever it is."""
    drawn = np.random.default_rng(seed)
    found = []
    for colour, place, number in zip(
        drawn.integers(len(COLOURS), size=count),
        drawn.integers(len(PLACES), size=count),
        drawn.integers(10, 100, size=count),
        strict=True,
    ):
        prompt = f"{PLACES[place]} {number}, {COLOURS[colour]} lamp:"
        found.append(Example(prompt, f" {PLACES[place]} {number} {STATES[colour]}"))
    return found
