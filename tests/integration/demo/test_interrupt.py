"""Ctrl-C and `kill -9` in the acts of the demo: the right exit status, and nothing left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.demo.marked import Mark

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]
SCRIPT = Path(__file__).with_name("performance.py")
ROOT = Path(__file__).parents[3]
# act: (the line that begins it, seconds of it before Ctrl-C, minutes of the demo)
ACTS = {
    "starting": ("starting the worker", 0.3, 5.0),
    "measuring": ("measuring this machine", 1.0, 5.0),
    "choosing": ("choosing a load", 0.1, 5.0),
    "raising the curtain": ("this machine:", 0.05, 5.0),
    "tuning": ("00:", 2.0, 5.0),
    "telling": ("no change was proven", 0.0, 0.5),
}


@pytest.fixture
def mark() -> Iterator[Mark]:
    made = Mark()
    yield made
    for number in made.alive():
        os.kill(number, signal.SIGKILL)


def perform(
    mark: Mark, folder: Path, minutes: float, cue: str, delay_s: float
) -> subprocess.Popen[str]:
    words = [str(SCRIPT), str(folder), f"{minutes:g}", cue, f"{delay_s:g}"]
    return subprocess.Popen(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**mark.environment, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize("act", ACTS)
def test_ctrl_c_in_each_act(act: str, mark: Mark, tmp_path: Path) -> None:
    cue, delay_s, minutes = ACTS[act]
    demo = perform(mark, tmp_path, minutes, cue, delay_s)
    said, _ = demo.communicate(timeout=120)
    assert demo.returncode == 130, said
    lines = said.splitlines()
    assert any(cue in line for line in lines), said
    assert lines[-1] == "stopped; nothing is left running"
    assert mark.gone_within(5), mark.alive()


def test_a_killed_demo_takes_its_processes_along(mark: Mark, tmp_path: Path) -> None:
    demo = perform(mark, tmp_path, 5.0, "", 0.0)
    assert demo.stdout is not None
    while not demo.stdout.readline().startswith("00:"):
        assert demo.poll() is None
    started = " ".join(mark.alive().values())
    for part in ("fake_engine.py", "autotuner load", "autotuner run", "spawn_main"):
        assert part in started
    demo.send_signal(signal.SIGKILL)
    demo.wait()
    demo.stdout.close()
    assert mark.gone_within(30), mark.alive()
