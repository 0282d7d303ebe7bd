"""What a run tells while it goes on, and the file of it that outlives the run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from autotuner.whole_files import write_whole


@dataclass(frozen=True)
class Progress:
    """One update. `loss` is the mean over the batch's answer tokens (nats); with hierarchical
    averaging, of those of process 0's group. `step_s` is the time of the update without pauses,
    `gradient_update_s` what of it was no forward pass: gradients, their averaging over processes,
    the change of the weights. `paused_s` is how long it slept to keep to its share.
    """

    at: float  # seconds since the epoch
    step: int  # from 1
    steps: int  # of the whole run
    epoch: float
    loss: float
    answer_tokens: int
    tokens: int  # with prompts, without padding
    step_s: float
    gradient_update_s: float
    paused_s: float


class ProgressFile:
    """A JSON object a line. Lines of updates that a crash lost are taken out when it goes on."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, progress: Progress) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(progress)) + "\n")

    def forget_after(self, step: int) -> None:
        """Keeps the lines up to update `step`."""
        kept = [json.dumps(asdict(item)) + "\n" for item in self.read() if item.step <= step]
        write_whole(self._path, "".join(kept).encode())

    def read(self) -> Iterator[Progress]:
        """All that was told; a last line that is being written is left out."""
        if not self._path.exists():
            return
        for line in self._path.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                yield Progress(**json.loads(line))
