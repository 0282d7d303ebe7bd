"""What a model folder's config.json says, as far as the decoder needs it; nothing of tensors.

Read are Llama, Qwen2 and DeepSeek-V2/V3 architectures in the layout of Hugging Face, with the
rotary settings under `rope_scaling` and `rope_theta` or, in newer files, `rope_parameters`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

DEEPSEEK_TYPES = ("deepseek_v2", "deepseek_v3")
SUPPORTED_MODEL_TYPES = ("llama", "qwen2", *DEEPSEEK_TYPES)
SUPPORTED_ROPE_TYPES = ("default", "linear", "llama3", "yarn")


class ModelError(ValueError):
    """A model that can't be found, read or run; the message says which and what to give."""


@dataclass(frozen=True)
class Yarn:
    """YaRN (arXiv 2309.00071): which rotations are stretched, and how attention is sharpened."""

    beta_fast: float
    beta_slow: float
    mscale: float
    mscale_all_dim: float
    attention_factor: float | None


@dataclass(frozen=True)
class RopeScaling:
    """How rotary frequencies are stretched beyond the original context (`factor` times)."""

    kind: str = "default"
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_len: int = 8192
    yarn: Yarn | None = None


@dataclass(frozen=True)
class LatentAttention:
    """Multi-head latent attention: what is cached of a token is one latent of `kv_rank` numbers,
    shared by all heads, and a rotated key of `rope_dim`. `q_rank` None: queries come straight.
    """

    q_rank: int | None
    kv_rank: int
    nope_dim: int
    rope_dim: int
    value_dim: int


@dataclass(frozen=True)
class ExpertsConfig:
    """Which layers (from `first_layer` on) have experts in place of one MLP, and how a token's
    `per_token` of `count` are chosen: by softmax ("greedy", "group_limited_greedy") or by sigmoid
    with a correction ("noaux_tc"), within the `top_groups` best of `groups`.
    """

    first_layer: int
    count: int
    per_token: int
    shared: int
    width: int
    method: str
    groups: int
    top_groups: int
    normalise: bool
    scaling: float


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of a decoder. `qkv_bias` is Qwen2's, `output_bias` and `mlp_bias` Llama's option.

    `latent` and `experts` are DeepSeek's.
    """

    model_type: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    max_model_len: int
    rms_norm_eps: float
    rope_theta: float
    rope_scaling: RopeScaling
    tie_word_embeddings: bool
    qkv_bias: bool
    output_bias: bool
    mlp_bias: bool
    bos_token_id: int | None
    eos_token_ids: tuple[int, ...]
    latent: LatentAttention | None = None
    experts: ExpertsConfig | None = None

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Reads FOLDER/config.json (and generation_config.json's eos); raises ModelError."""
        raw = _read_json(folder / "config.json")
        _check_supported(raw, folder)
        try:
            return cls(**_fields(raw, _generation_config(folder)))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{folder / 'config.json'}: {error!r}: a field is missing or no number"
            ) from error

    @property
    def rotary_dim(self) -> int:
        """How many numbers of a head are rotated."""
        return self.head_dim if self.latent is None else self.latent.rope_dim


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(
            f"model={str(path.parent)!r}: no {path.name} there: give a model folder"
        ) from error
    except ValueError as error:
        raise ModelError(f"{path}: not JSON ({error}): download the model again") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path}: not a JSON object: download the model again")
    return value


def _generation_config(folder: Path) -> dict[str, Any]:
    path = folder / "generation_config.json"
    return _read_json(path) if path.exists() else {}


def _check_supported(raw: dict[str, Any], folder: Path) -> None:
    model_type = raw.get("model_type")
    if model_type not in SUPPORTED_MODEL_TYPES:
        raise ModelError(
            f"model={str(folder)!r}: architecture {model_type!r} is not supported: "
            f"give a model of type {' or '.join(SUPPORTED_MODEL_TYPES)}"
        )
    if raw.get("use_sliding_window"):
        raise ModelError(
            f"model={str(folder)!r}: use_sliding_window is not supported: give one without"
        )
    if (activation := raw.get("hidden_act", "silu")) != "silu":
        raise ModelError(
            f"model={str(folder)!r}: hidden_act={activation!r} is not supported: give silu"
        )
    if "quantization_config" in raw:
        raise ModelError(
            f"model={str(folder)!r}: quantised weights are not supported: give the originals"
        )


def _fields(raw: dict[str, Any], generation: dict[str, Any]) -> dict[str, Any]:
    is_qwen = raw["model_type"] == "qwen2"
    llama_bias = bool(raw.get("attention_bias", False))
    heads = int(raw["num_attention_heads"])
    theta, scaling = _rope(raw)
    return {
        "model_type": raw["model_type"],
        "vocab_size": int(raw["vocab_size"]),
        "hidden_size": int(raw["hidden_size"]),
        "intermediate_size": int(raw["intermediate_size"]),
        "num_layers": int(raw["num_hidden_layers"]),
        "num_heads": heads,
        "num_kv_heads": int(raw.get("num_key_value_heads") or heads),
        "head_dim": int(raw.get("head_dim") or raw["hidden_size"] // heads),
        "max_model_len": int(raw["max_position_embeddings"]),
        "rms_norm_eps": float(raw["rms_norm_eps"]),
        "rope_theta": theta,
        "rope_scaling": scaling,
        "tie_word_embeddings": bool(raw.get("tie_word_embeddings", False)),
        "qkv_bias": is_qwen or llama_bias,
        "output_bias": llama_bias and not is_qwen,
        "mlp_bias": bool(raw.get("mlp_bias", False)) and not is_qwen,
        "bos_token_id": raw.get("bos_token_id"),
        "eos_token_ids": _eos(generation.get("eos_token_id", raw.get("eos_token_id"))),
        **(_deepseek(raw) if raw["model_type"] in DEEPSEEK_TYPES else {}),
    }


def _deepseek(raw: dict[str, Any]) -> dict[str, Any]:
    latent = LatentAttention(
        q_rank=raw.get("q_lora_rank"),
        kv_rank=int(raw["kv_lora_rank"]),
        nope_dim=int(raw["qk_nope_head_dim"]),
        rope_dim=int(raw["qk_rope_head_dim"]),
        value_dim=int(raw["v_head_dim"]),
    )
    by_sigmoid = raw["model_type"] == "deepseek_v3"
    count = int(raw.get("n_routed_experts") or raw.get("num_local_experts") or 0)
    experts = ExpertsConfig(
        first_layer=int(raw.get("first_k_dense_replace", 0)),
        count=count,
        per_token=int(raw["num_experts_per_tok"]),
        shared=int(raw.get("n_shared_experts") or 0),
        width=int(raw["moe_intermediate_size"]),
        method="noaux_tc" if by_sigmoid else str(raw.get("topk_method", "greedy")),
        groups=int(raw.get("n_group") or 1),
        top_groups=int(raw.get("topk_group") or 1),
        normalise=by_sigmoid and bool(raw.get("norm_topk_prob", True)),
        scaling=float(raw.get("routed_scaling_factor", 1.0)),
    )
    return {"latent": latent, "experts": experts}


def _eos(value: int | list[int] | None) -> tuple[int, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, int) else tuple(value)


def _rope(raw: dict[str, Any]) -> tuple[float, RopeScaling]:
    told = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    theta = float(told.get("rope_theta", raw.get("rope_theta", 10000.0)))
    kind = str(told.get("rope_type", told.get("type", "default")))
    if kind not in SUPPORTED_ROPE_TYPES:
        raise ModelError(
            f"rope_scaling={kind!r}: not supported: give a model with one of "
            f"{', '.join(SUPPORTED_ROPE_TYPES)}"
        )
    if kind == "default":
        return theta, RopeScaling()
    if kind == "linear":
        return theta, RopeScaling(kind, float(told["factor"]))
    if kind == "yarn":
        return theta, _yarn(told, int(raw["max_position_embeddings"]))
    return theta, RopeScaling(
        kind,
        float(told["factor"]),
        float(told["low_freq_factor"]),
        float(told["high_freq_factor"]),
        int(told["original_max_position_embeddings"]),
    )


def _yarn(told: dict[str, Any], max_len: int) -> RopeScaling:
    original = int(told.get("original_max_position_embeddings") or max_len)
    factor = told.get("factor")
    given = told.get("attention_factor")
    return RopeScaling(
        "yarn",
        max_len / original if factor is None else float(factor),
        original_max_len=original,
        yarn=Yarn(
            beta_fast=float(told.get("beta_fast") or 32),
            beta_slow=float(told.get("beta_slow") or 1),
            mscale=float(told.get("mscale") or 0),
            mscale_all_dim=float(told.get("mscale_all_dim") or 0),
            attention_factor=None if given is None else float(given),
        ),
    )
