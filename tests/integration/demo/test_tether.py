"""A tethered command ends with its parent, however that ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from autotuner.demo.tether import tethered
from tests.integration.demo.marked import Mark

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux's kernel watches a parent"),
]
PARENT = """
import subprocess, sys, time
from autotuner.demo.tether import tethered
child = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
subprocess.Popen(tethered(child) if sys.argv[1] == "tethered" else child, start_new_session=True)
time.sleep(600)
"""


def with_child(mark: Mark, how: str) -> subprocess.Popen[str]:
    """A parent whose child of another session is up."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, how], stdout=subprocess.PIPE, text=True,
        env=mark.environment,
    )  # fmt: skip
    assert parent.stdout is not None
    assert parent.stdout.readline() == "up\n"
    parent.stdout.close()
    return parent


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_child_ends_with_its_killed_parent() -> None:
    mark = Mark()
    parent = with_child(mark, "tethered")
    assert len(mark.alive()) == 2
    kill(parent)
    assert mark.gone_within(10)


def test_an_untethered_child_stays() -> None:
    """What the tether is there for; should this fail, the test above shows nothing."""
    mark = Mark()
    kill(with_child(mark, "loose"))
    [child] = mark.alive()
    os.kill(child, signal.SIGKILL)
    assert mark.gone_within(10)


def test_nothing_is_started_for_a_parent_that_is_gone_already(tmp_path: Path) -> None:
    told = tmp_path / "told"
    module, parent = tethered(["touch", str(told)])[1:3], os.getppid()
    words = [sys.executable, *module, str(parent), "0", "touch", str(told)]
    done = subprocess.run(words, check=False)
    assert done.returncode == 128 + signal.SIGTERM
    assert not told.exists()


def test_the_command_is_run_as_it_is_and_nicer() -> None:
    tell = [sys.executable, "-c", "import os, sys; print(os.nice(0), sys.argv[1:])", "a b"]
    done = subprocess.run(tethered(tell, 3), capture_output=True, text=True, check=True)
    assert done.stdout == f"{os.nice(0) + 3} ['a b']\n"
    failed = subprocess.run(tethered([sys.executable, "-c", "raise SystemExit(7)"]), check=False)
    assert failed.returncode == 7
