"""Trains a model on examples: the one entry, whatever the number of processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autotuner.finetune.errors import TrainingError
from autotuner.finetune.examples import Example
from autotuner.finetune.training.base import Base
from autotuner.finetune.training.plan import TrainingPlan
from autotuner.finetune.training.processes import run_processes
from autotuner.finetune.training.progress import Progress
from autotuner.finetune.training.run_folder import RunFolder, Task
from autotuner.finetune.training.trained import Trained, read_trained


def train(
    base: Path,
    examples: Sequence[Example],
    plan: TrainingPlan,
    out: Path,
    progress: Callable[[Progress], None] = lambda _: None,
    facts: Mapping[str, Any] | None = None,
) -> Trained:
    """Trains `base` on `examples` as `plan` says, or goes on with what a killed run left in `out`.

    The result is what an uninterrupted run would have given; a finished one is returned as it is.
    `base` is a folder in Hugging Face's layout or a GGUF file. `facts` (JSON) go into the result's
    autotuner.json. With one process it is this one that trains, and torch keeps the plan's number
    of threads. Raises TrainingError, with nothing in the result's place.
    """
    plan.check()
    if not examples:
        raise TrainingError("examples: none: give at least one")
    folder = RunFolder(out)
    folder.prepare(Task(Base.find(base), plan, facts or {}), examples)
    result = folder.result(plan.method)
    if not result.exists():
        if plan.processes > 1:
            run_processes(folder, progress)
        else:
            _run_here(folder, progress)
    return read_trained(result)


def _run_here(folder: RunFolder, progress: Callable[[Progress], None]) -> None:
    # It brings torch, which whoever only plans has no use for.
    from autotuner.finetune.training.rank import run_rank

    try:
        run_rank(folder, progress)
    except TrainingError as error:
        folder.note_failure(str(error))
        raise
