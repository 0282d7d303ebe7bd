"""Writes a finished run's weights, in the layout that PEFT and Hugging Face's tools read."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from statistics import fmean, median
from typing import Any

from autotuner.finetune.training.base import Base
from autotuner.finetune.training.loop import Record
from autotuner.finetune.training.run_folder import RunFolder, Task
from autotuner.finetune.training.trained import Trained, description, write_description
from autotuner.whole_files import publish_folder

_LAYER = re.compile(r"base_model\.model\.(?P<name>.+)\.lora_[AB]\.weight")  # PEFT's names
_COPIED = ("*.json", "*.jinja")
_NOT_COPIED = {"model.safetensors.index.json"}  # told what files the weights were in


def write_result(folder: RunFolder, task: Task, model: Any, record: Record, examples: int) -> None:
    """Puts the result into its place, whole: what is under that name is finished."""
    place = folder.result(task.plan.method)
    made = place.with_name(f"{place.name}.partial")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    base = {"name": task.base.name, "files_sha256": task.base.files_sha256}
    if task.plan.method == "lora":
        base["sha256"] = task.base.weights_sha256(_write_adapter(made, model, task.base))
    else:
        _write_model(made, model, task.base)
    trained = _trained(place, record, examples)
    write_description(
        made,
        description(trained, base=base, plan=task.plan.as_dict(), facts=dict(task.facts)),
    )
    publish_folder(made, place)


def _write_adapter(made: Path, model: Any, base: Base) -> set[str]:
    """The names of the weights that it changes, as in the base's files."""
    from peft import get_peft_model_state_dict

    # Copies: weights that were averaged over processes share one piece of memory.
    state = {
        name: item.detach().cpu().clone()
        for name, item in get_peft_model_state_dict(model, save_embedding_layers=False).items()
    }
    _save_tensors(state, made / "adapter_model.safetensors")
    config = model.peft_config["default"]
    config.inference_mode = True
    config.base_model_name_or_path = base.name  # PEFT has put the path on this machine there
    config.target_modules = sorted(config.target_modules)
    config.save_pretrained(made)
    layers = (_LAYER.fullmatch(name) for name in state)
    return {f"{layer['name']}.weight" for layer in layers if layer is not None}


def _write_model(made: Path, model: Any, base: Base) -> None:
    if base.path.is_file():
        base.load_tokenizer().save_pretrained(made)
        model.config.save_pretrained(made)
    else:
        for path in (path for pattern in _COPIED for path in base.path.glob(pattern)):
            if path.name not in _NOT_COPIED:
                shutil.copyfile(path, made / path.name)
    tied = set(model.all_tied_weights_keys)  # the embedding under the output layer's name
    state = {
        name: item.detach().cpu().clone()
        for name, item in model.state_dict().items()
        if name not in tied
    }
    _save_tensors(state, made / "model.safetensors")


def _save_tensors(state: dict[str, Any], path: Path) -> None:
    from safetensors.torch import save_file

    save_file(state, path, metadata={"format": "pt"})
    path.chmod(0o644)  # the worker that reads it may be another user's


def _trained(place: Path, record: Record, examples: int) -> Trained:
    tenth = max(1, len(record.losses) // 10)
    return Trained(
        folder=place,
        steps=record.step,
        examples=examples,
        answer_tokens=record.answer_tokens,
        first_loss=fmean(record.losses[:tenth]),
        last_loss=fmean(record.losses[-tenth:]),
        seconds=record.seconds,
        cpu_seconds=record.cpu_seconds,
        gradient_update_s=median(record.gradient_update_s),
        resumed=record.resumed,
    )
