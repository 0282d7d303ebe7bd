"""Starts the processes of a run with torchrun and waits for them. No torch in this process."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from autotuner.finetune.errors import TrainingError
from autotuner.finetune.training.progress import Progress
from autotuner.finetune.training.run_folder import RunFolder

MODULE = "autotuner.finetune.training"
POLL_S = 0.2
GRACE_S = 15.0  # for torchrun to end its processes
_SHOWN_LINES = 5
_PR_SET_PDEATHSIG = 1


def run_processes(folder: RunFolder, progress: Callable[[Progress], None]) -> None:
    """Runs the folder's task in as many processes as its plan says; raises TrainingError.

    They end with this process, however it ends.
    """
    plan = folder.task().plan
    command = [
        *(sys.executable, "-m", "torch.distributed.run"),
        *("--standalone", "--nproc-per-node", str(plan.processes), "-m", MODULE),
        str(folder.path),
    ]
    seen = _Seen(folder, progress)
    environment = {**os.environ, "OMP_NUM_THREADS": str(plan.threads)}
    with folder.log.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            preexec_fn=end_with_parent,
        )
        try:
            while process.poll() is None:
                time.sleep(POLL_S)
                seen.tell()
        finally:
            _end(process)
    seen.tell()
    if process.returncode:
        raise TrainingError(folder.failure() or _last_words(folder.log, process.returncode))


def end_with_parent() -> None:
    """Has the system end this process when the one that started it ends (on Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class _Seen:
    """Tells of updates once each, as they stand in the file."""

    def __init__(self, folder: RunFolder, progress: Callable[[Progress], None]) -> None:
        self._file, self._progress, self._last = folder.progress, progress, 0

    def tell(self) -> None:
        for item in self._file.read():
            if item.step > self._last:
                self._last = item.step
                self._progress(item)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last_words(log: Path, returncode: int) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    told = " / ".join(line.strip() for line in lines[-_SHOWN_LINES:])
    return f"a training process ended with status {returncode}: {told}: see {log}"
