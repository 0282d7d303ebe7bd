"""An engine's own process: loads once, then answers a job a line until its input ends.

`python -m experiments.studies.worker_throughput.serve ENGINE MODEL DTYPE`, with ENGINE a module
beside this one. Only the standard library here: it runs in the environment of every peer.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from experiments.studies.worker_throughput.jobs import Answer, Job, Loaded


def main() -> None:
    """Says {"ready": …} or {"failed": …}, then one answer a job."""
    engine, model, dtype = sys.argv[1:]
    answers = _take_output()
    try:
        module = importlib.import_module(f"experiments.studies.worker_throughput.{engine}")
        loaded: Loaded = module.load(Path(model), dtype)
    except Exception as error:
        _say(answers, {"failed": f"{type(error).__name__}: {error}"})
        raise
    _say(answers, {"ready": {"versions": loaded.versions, "note": loaded.note}})
    for line in sys.stdin:
        job = Job(**json.loads(line))
        _say(answers, asdict(_timed(loaded, job)))


def _timed(loaded: Loaded, job: Job) -> Answer:
    wall, cpu = time.perf_counter(), time.process_time()
    times = loaded.generate(job)
    return Answer(times, time.perf_counter() - wall, time.process_time() - cpu)


def _take_output() -> TextIO:
    """Standard output for the answers alone: whatever else is printed goes to the log."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _say(answers: TextIO, content: dict[str, object]) -> None:
    print(json.dumps(content), file=answers, flush=True)


if __name__ == "__main__":
    main()
