"""Adapters of tiny models, made with PEFT, and PEFT's own merged model as the oracle."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

LLAMA_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def save_adapter(
    model: Any, folder: Path, layers: Sequence[str] = LLAMA_LAYERS, seed: int = 5, **config: Any
) -> Any:
    """Fills `folder` with a random adapter that changes answers; the model with it merged in."""
    torch.manual_seed(seed)
    lora = LoraConfig(
        **({"r": 4, "lora_alpha": 6} | config),
        target_modules=list(layers),
        init_lora_weights=False,  # else the change would be none
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT and transformers tell each other what is deprecated
        adapted = get_peft_model(copy.deepcopy(model), lora)
        with torch.no_grad():
            for name, weight in adapted.named_parameters():
                if ".lora_" in name:
                    weight.normal_(std=0.3)
        adapted.save_pretrained(str(folder), save_embedding_layers=False)
        merged: Any = adapted.merge_and_unload()
    return merged.eval()
