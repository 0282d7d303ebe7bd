"""Where a run stood: a folder per checkpoint with a file per process, whole or not there.

Processes may differ (PowerSGD's memory, weights between two averagings), so each keeps its own.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from autotuner.finetune.errors import TrainingError
from autotuner.whole_files import publish_folder


class Checkpoints:
    """Those of the process number `rank`; number 0 publishes what all have written."""

    def __init__(self, folder: Path, rank: int, barrier: Callable[[], None]) -> None:
        self._folder, self._rank, self._barrier = folder, rank, barrier

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Writes the state after update `step`; only then are older ones removed."""
        made = self._folder / f"{step}.partial"
        if self._rank == 0:
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir(parents=True)
        self._barrier()
        torch.save(state, made / self._file)
        self._barrier()
        if self._rank == 0:
            older = list(self._folder.iterdir())
            publish_folder(made, self._folder / str(step))
            for path in older:
                shutil.rmtree(path, ignore_errors=True)
        self._barrier()

    def load(self) -> dict[str, Any] | None:
        """The latest state, None where there is none; raises TrainingError for one out of order."""
        steps = [int(path.name) for path in self._folder.glob("*") if path.name.isdigit()]
        if not steps:
            return None
        path = self._folder / str(max(steps)) / self._file
        try:
            # Tensors and numbers alone are unpickled.
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise TrainingError(
                f"checkpoint {path}: can't be read ({error}): remove {self._folder} to begin anew"
            ) from error
        return state

    @property
    def _file(self) -> str:
        return f"process{self._rank}.pt"
