"""What an adapter's config says: the factor of its change. Anything but plain LoRA is refused."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autotuner.worker.model_config import ModelError

CONFIG_FILE = "adapter_config.json"
MOST_BYTES = 2**20  # of a JSON file here; chosen

# Initial values that leave the base as it is. Others (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA) take
# something out of the base first, so that a sum with the untouched base would be another model.
PLAIN_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")
# What the merged weights do not depend on: how it was trained, and what the tensors' names tell.
SILENT = frozenset(
    {
        *("task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision"),
        *("inference_mode", "lora_dropout", "target_modules", "exclude_modules"),
        *("layers_to_transform", "layers_pattern", "megatron_core", "qalora_group_size"),
        *("eva_config", "ensure_weight_tying"),
    }
)
KNOWN = frozenset(
    {"peft_type", "r", "lora_alpha", "use_rslora", "bias", "init_lora_weights", *SILENT}
)


class AdapterError(ModelError):
    """An adapter that can't be used; the message names the file, the field, the value, the fix."""


@dataclass(frozen=True)
class AdapterConfig:
    """`scale` is the factor of the product of an adapter's two matrices, `rank` their width."""

    rank: int
    scale: float


def read_config(folder: Path) -> AdapterConfig:
    """What FOLDER/adapter_config.json says; raises AdapterError."""
    file = folder / CONFIG_FILE
    raw = read_json(file)
    if raw.get("peft_type") != "LORA":
        raise bad(file, "peft_type", raw.get("peft_type"), "only LORA is merged")
    _check_plain(raw, file)
    rank, alpha = raw.get("r"), raw.get("lora_alpha")
    if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
        raise bad(file, "r", rank, "give the rank, a whole number from 1")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise bad(file, "lora_alpha", alpha, "give a number")
    root = raw.get("use_rslora", False)
    if not isinstance(root, bool):
        raise bad(file, "use_rslora", root, "give true or false")
    # Rank-stabilised LoRA (arXiv 2312.03732) divides by the root of the rank.
    return AdapterConfig(rank, alpha / (math.sqrt(rank) if root else rank))


def _check_plain(raw: dict[str, Any], file: Path) -> None:
    if raw.get("bias", "none") != "none":
        raise bad(file, "bias", raw["bias"], 'biases are not changed: train with bias="none"')
    start = raw.get("init_lora_weights")
    if start not in PLAIN_STARTS:
        fix = "it changes the base weights: convert the adapter to plain LoRA when saving it"
        raise bad(file, "init_lora_weights", start, fix)
    for field in sorted(raw.keys() - KNOWN):
        if raw[field] not in (None, False, "", [], {}):
            raise bad(file, field, raw[field], "not supported: train plain LoRA without it")


def read_json(file: Path) -> dict[str, Any]:
    """The object of a small JSON file; raises AdapterError."""
    try:
        with file.open("rb") as opened:
            text = opened.read(MOST_BYTES + 1)
        value = json.loads(text) if len(text) <= MOST_BYTES else None
    except FileNotFoundError:
        raise AdapterError(f"{file}: there is none: give a folder in PEFT's layout") from None
    except (OSError, ValueError, RecursionError) as error:
        raise AdapterError(f"{file}: not to be read as JSON ({error}): save it again") from error
    if not isinstance(value, dict):
        raise AdapterError(f"{file}: no JSON object of at most {MOST_BYTES} bytes: save it again")
    return value


def bad(file: Path, field: str, value: object, fix: str) -> AdapterError:
    """The error of a field."""
    shown = repr(value)
    shown = shown if len(shown) <= 80 else shown[:79] + "…"
    return AdapterError(f"{file}: {field}={shown}: {fix}")
