"""An adapter that goes on from an earlier one's weights instead of from none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from autotuner.finetune.errors import TrainingError
from autotuner.finetune.training.plan import TrainingPlan


def continue_from(model: Any, plan: TrainingPlan) -> None:
    """Gives `model`'s fresh adapter the weights of the one in the folder `plan.start`.

    Raises TrainingError for one of another shape, or that can't be read.
    """
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    folder = Path(plan.start)
    try:
        _check(json.loads((folder / "adapter_config.json").read_bytes()), plan)
        state = load_file(folder / "adapter_model.safetensors")
        found: Any = set_peft_model_state_dict(model, state)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise TrainingError(f"start={plan.start!r}: can't be gone on from ({error})") from error
    missing = [name for name in found.missing_keys if ".lora_" in name]
    if missing or found.unexpected_keys:
        other = (missing or found.unexpected_keys)[0]
        raise TrainingError(f"start={plan.start!r}: of other layers ({other}): begin without it")


def _check(told: dict[str, Any], plan: TrainingPlan) -> None:
    targets = told["target_modules"]
    wanted = {
        "r": (plan.rank, "rank"),
        "lora_alpha": (plan.alpha, "alpha"),
        "target_modules": (sorted(plan.targets), "targets"),
    }
    found = {**told, "target_modules": sorted(targets) if isinstance(targets, list) else targets}
    for key, (value, name) in wanted.items():
        if found[key] != value:
            raise TrainingError(
                f"{name}={value!r}: the adapter {plan.start!r}, which is to be gone on from, has "
                f"{found[key]!r}: give that, or begin from the base"
            )
