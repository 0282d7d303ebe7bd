"""A model's config.json, or the name of a well-known one, as an architecture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autotuner.domain.errors import ConfigError
from autotuner.planner.architecture import Architecture, Experts, Latent

MODELS_FILE = "models.yaml"
LATENT_TYPES = ("deepseek_v2", "deepseek_v3")
KNOWN_TYPES = ("llama", "qwen2", *LATENT_TYPES)
Size = Annotated[int, Field(gt=0)]


class _Config(BaseModel):
    """The fields of Hugging Face's layout that sizes depend on; the rest is left alone."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    model_type: str
    vocab_size: Size
    hidden_size: Size
    intermediate_size: Size
    num_hidden_layers: Size
    num_attention_heads: Size
    num_key_value_heads: Size | None = None
    head_dim: Size | None = None
    max_position_embeddings: Size
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    q_lora_rank: Size | None = None
    kv_lora_rank: Size | None = None
    qk_nope_head_dim: Size | None = None
    qk_rope_head_dim: Size | None = None
    v_head_dim: Size | None = None
    n_routed_experts: Size | None = None
    num_experts_per_tok: Size | None = None
    n_shared_experts: int | None = None
    moe_intermediate_size: Size | None = None
    first_k_dense_replace: int = 0


def read_model(word: str, tables: Path) -> Architecture:
    """The model in a folder or a config.json, or one of TABLES/models.yaml by its name.

    Raises ConfigError where it is neither, of an unknown architecture, or lacks a field.
    """
    path = Path(word)
    if path.is_dir():
        path = path / "config.json"
    if path.is_file():
        return architecture_of(_json(path), path.parent.resolve().name, str(path))
    named = _named(tables)
    found = {name.casefold(): name for name in named}.get(word.rpartition("/")[2].casefold())
    if found is None:
        raise ConfigError(
            f"model={word!r}: no folder, no config.json and no known name: give one of these, or "
            f"one of {', '.join(named)}"
        )
    return architecture_of(named[found]["config"], found, f"{MODELS_FILE}: {found}")


def architecture_of(raw: dict[str, Any], name: str, where: str) -> Architecture:
    """Raises ConfigError, which names `where` and the field."""
    kind = raw.get("model_type")
    if kind not in KNOWN_TYPES:
        raise ConfigError(
            f"{where}: model_type={kind!r}: this architecture is not known: "
            f"known are {', '.join(KNOWN_TYPES)}"
        )
    try:
        config = _Config.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{where}: {field}: {first['msg']} (got {first['input']!r})") from error
    return _architecture(config, raw, name, where)


def _architecture(config: _Config, raw: dict[str, Any], name: str, where: str) -> Architecture:
    heads, qwen = config.num_attention_heads, config.model_type == "qwen2"
    return Architecture(
        name=name,
        model_type=config.model_type,
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_layers=config.num_hidden_layers,
        num_heads=heads,
        num_kv_heads=config.num_key_value_heads or heads,
        head_dim=config.head_dim or config.hidden_size // heads,
        context_tokens=config.max_position_embeddings,
        tied=config.tie_word_embeddings,
        qkv_bias=qwen or config.attention_bias,
        output_bias=config.attention_bias and not qwen,
        mlp_bias=config.mlp_bias,
        latent=_latent(config, where) if config.model_type in LATENT_TYPES else None,
        experts=_experts(config, raw, where) if config.n_routed_experts else None,
    )


def _latent(config: _Config, where: str) -> Latent:
    return Latent(
        config.q_lora_rank,
        _needed(config, "kv_lora_rank", where),
        _needed(config, "qk_nope_head_dim", where),
        _needed(config, "qk_rope_head_dim", where),
        _needed(config, "v_head_dim", where),
    )


def _experts(config: _Config, raw: dict[str, Any], where: str) -> Experts:
    if raw.get("moe_layer_freq", 1) != 1:
        raise ConfigError(f"{where}: moe_layer_freq={raw['moe_layer_freq']!r}: only 1 is known")
    return Experts(
        config.first_k_dense_replace,
        _needed(config, "n_routed_experts", where),
        _needed(config, "num_experts_per_tok", where),
        config.n_shared_experts or 0,
        _needed(config, "moe_intermediate_size", where),
        corrected=raw.get("topk_method") == "noaux_tc",
    )


def _needed(config: _Config, field: str, where: str) -> int:
    value = getattr(config, field)
    if value is None:
        raise ConfigError(f"{where}: {field}: missing: a {config.model_type} needs it")
    return int(value)


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: can't be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: give a JSON object, as a model's config.json is")
    return value


def _named(tables: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((tables / MODELS_FILE).read_text("utf-8"))["models"]
    return found
