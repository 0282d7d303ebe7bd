"""A front that starts an engine on the folder it is given, tells its process id, and waits."""

from __future__ import annotations

import multiprocessing
import sys
import time
from pathlib import Path

from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.engine_process import run_engine


def main() -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    engine = context.Process(target=run_engine, args=(theirs, EngineOptions(Path(sys.argv[1]))))
    engine.start()
    theirs.close()
    ours.recv()
    print(engine.pid, flush=True)
    time.sleep(600)


if __name__ == "__main__":
    main()
