"""Runs the process that is measured and watches it from outside: CPU time and resident memory.

Knows nothing of forecasts.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from autotuner.studies import ROOT
from experiments.studies.worker_soak.watch import PROC, descendants, resident_mib

_EVERY_S = 0.2
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass
class Peak:
    """The most resident memory seen, in MiB: of the process, of all below it, and together.

    Pages that processes share count once for each of them.
    """

    parent_mib: float = 0.0
    children_mib: float = 0.0
    together_mib: float = 0.0

    def see(self, parent_mib: float, children_mib: float) -> None:
        self.parent_mib = max(self.parent_mib, parent_mib)
        self.children_mib = max(self.children_mib, children_mib)
        self.together_mib = max(self.together_mib, parent_mib + children_mib)


def watched(module: str, argument: Mapping[str, Any]) -> dict[str, Any]:
    """What `python -m module` told in its two lines, with the CPU time and memory of its tree.

    CPU seconds are those between the lines. Raises RuntimeError when it ends before the second.
    """
    with subprocess.Popen(  # the study's own module
        (sys.executable, "-m", module, json.dumps(dict(argument))),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        try:
            return _followed(process)
        except BaseException:
            process.kill()
            raise


def _followed(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    with _peak_of(process.pid) as peak:
        told = _line(process.stdout)
        before_s = tree_cpu_s(process.pid)
        told |= _line(process.stdout)
        cpu_s = tree_cpu_s(process.pid) - before_s
        tree = (process.pid, *descendants(process.pid))
        high_water_mib = sum(map(high_water, tree))
    process.stdin.close()
    process.wait()
    return {
        **told,
        "cpu_s": cpu_s,
        "parent_mib": peak.parent_mib,
        "workers_mib": peak.children_mib,
        "high_water_mib": high_water_mib,
        # Looks may miss a short peak; the system's own marks do not, but are of different moments
        # and leave out the processes that have ended.
        "peak_mib": max(peak.together_mib, high_water_mib),
    }


def _line(stdout: IO[str]) -> dict[str, Any]:
    text = stdout.readline()
    if not text:
        raise RuntimeError("the measured process ended early; its error is above")
    told: dict[str, Any] = json.loads(text)
    return told


@contextlib.contextmanager
def _peak_of(pid: int) -> Iterator[Peak]:
    """Looks at the tree below `pid`, itself included, until the block ends."""
    peak, ended = Peak(), threading.Event()

    def look() -> None:
        while not ended.wait(_EVERY_S):
            children = with_own_memory(descendants(pid))
            peak.see(resident_mib(pid), sum(map(resident_mib, children)))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def tree_cpu_s(pid: int) -> float:
    """CPU seconds of a process, all below it, and all that these have waited for."""
    return sum(map(_cpu_s, (pid, *descendants(pid))))


def with_own_memory(pids: Iterable[int]) -> list[int]:
    """Without those between fork and exec, which show their parent's memory once more."""
    return [pid for pid in pids if _command(pid) != _command(_parent(pid))]


def _command(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / "cmdline").read_bytes()
    return b""


def _parent(pid: int) -> int:
    return int((_stat(pid) or ("", "0"))[1])


def _cpu_s(pid: int) -> float:
    """User and system seconds, those of children that it has waited for included."""
    return sum(map(int, _stat(pid)[11:15])) / _TICKS_PER_S


def _stat(pid: int) -> Sequence[str]:
    """The fields of /proc/PID/stat from the third on; none once the process is gone."""
    with contextlib.suppress(OSError):
        # The name, in brackets, may hold anything: what follows the last one is regular.
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return ()


def high_water(pid: int) -> float:
    """The most resident memory that a living process has had, in MiB; 0 once it is gone."""
    with contextlib.suppress(OSError):
        for line in (PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0
