"""The demo with a fake engine in its worker: run as a script, it may press Ctrl-C in an act.

    performance.py FOLDER MINUTES CUE DELAY_S

Once the demo has printed a line with CUE in it (none: never), it gets a real SIGINT after
DELAY_S. Everything else is the demo itself: worker, load and daemon are real processes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from autotuner.demo.play import DemoOptions, perform
from autotuner.demo.stage import Stage

FAKE_ENGINE = Path(__file__).parents[1] / "worker_front" / "fake_engine.py"
PROBE_S = 3.0


class FakeStage(Stage):
    """The same stage, whose worker has an engine that only repeats its prompt."""

    def start(
        self, name: str, arguments: Sequence[str], *, niceness: int = 0
    ) -> subprocess.Popen[bytes]:
        if name != "worker":
            return super().start(name, arguments, niceness=niceness)
        words = [str(self.folder / "model"), "--step-s", "0.01"]
        return self.launch(name, [sys.executable, str(FAKE_ENGINE), *words], niceness)


class Cued(Console):
    """A console that presses Ctrl-C once its cue has been printed."""

    cue = ""
    delay_s = 0.0

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*objects, **options)
        if self.cue and objects and self.cue in str(objects[0]):
            self.cue = ""
            threading.Timer(self.delay_s, os.kill, (os.getpid(), signal.SIGINT)).start()


def main() -> int:
    # A shell that starts a job in the background has it ignore Ctrl-C; the test presses it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder, minutes, cue, delay_s = sys.argv[1:]
    console = Cued(width=200)
    console.cue, console.delay_s = cue, float(delay_s)
    options = DemoOptions(Path(folder), float(minutes), probe_s=PROBE_S)
    return perform(options, console, FakeStage)


if __name__ == "__main__":
    sys.exit(main())
