"""What a finished run leaves: a folder with its weights and autotuner.json, and its figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autotuner.finetune.errors import TrainingError
from autotuner.whole_files import write_whole

DESCRIPTION_FILE = "autotuner.json"
FORMAT = 1


@dataclass(frozen=True)
class Trained:
    """`folder` holds the adapter in PEFT's layout (method "full": the whole model in Hugging
    Face's), with autotuner.json. Losses are means over the first and the last tenth of updates
    (nats per answer token). Seconds count all attempts, pauses too, without what crashes lost.
    """

    folder: Path
    steps: int
    examples: int
    answer_tokens: int
    first_loss: float
    last_loss: float
    seconds: float
    cpu_seconds: float  # of process 0
    gradient_update_s: float  # median
    resumed: int  # how often it went on from a checkpoint


def read_trained(folder: Path) -> Trained:
    """The figures of a finished run's result; raises TrainingError."""
    return Trained(folder=folder, **read_description(folder)["training"])


def description(trained: Trained, **parts: Any) -> dict[str, Any]:
    """The content of autotuner.json: `parts` are base, plan and facts."""
    figures = asdict(trained)
    del figures["folder"]
    return {"format": FORMAT, **parts, "training": figures}


def read_description(folder: Path) -> dict[str, Any]:
    """What autotuner.json says; raises TrainingError where it can't be read."""
    path = folder / DESCRIPTION_FILE
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path}: can't be read ({error}): train the adapter again") from error
    return raw


def write_description(folder: Path, content: Mapping[str, Any]) -> None:
    write_whole(folder / DESCRIPTION_FILE, (json.dumps(content, indent=1) + "\n").encode())


def add_facts(folder: Path, **facts: Any) -> None:
    """Adds to the `facts` of a result's autotuner.json, in one step; raises TrainingError."""
    content = read_description(folder)
    content["facts"] = {**content.get("facts", {}), **facts}
    write_description(folder, content)
