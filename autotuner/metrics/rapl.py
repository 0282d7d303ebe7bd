"""The processors of this machine and their memory, by the energy counters that Linux tells (RAPL).

The kernel's powercap tree: https://docs.kernel.org/power/powercap/powercap.html
"""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from autotuner.domain.energy import Meter
from autotuner.domain.errors import TargetUnavailableError
from autotuner.domain.telemetry import Snapshot

POWERCAP = Path("/sys/class/powercap")
SOURCE = "rapl"

# `intel-rapl:0` is a socket's zone and `intel-rapl:0:1` a part of it, on AMD's processors too;
# `intel-rapl-mmio:0` tells the same socket by another way.
_ZONE = re.compile(r"([a-z]+-rapl(?:-[a-z]+)?):(\d+)(?::(\d+))?")
_ALLOW = "let the daemon's group read it (docs/energy.md has the udev rule), or run it as root"
_J_PER_UJ = 1e-6


@dataclass(frozen=True)
class Domain:
    """One energy counter: its device name (`package-0`, `package-0/dram`) and its folder."""

    name: str
    folder: Path

    def counter_j(self) -> float:
        return _number(self.folder / "energy_uj") * _J_PER_UJ

    def range_j(self) -> float:
        return _number(self.folder / "max_energy_range_uj") * _J_PER_UJ


class RaplSource:
    """Implements `domain.ports.MetricsSource`; its snapshots have energy alone.

    Each socket's package domain counts, and its DRAM beside it. Left out: `core` and `uncore`,
    which are parts of the package; `psys`, which is the whole platform with all of these in it;
    a domain that a second interface tells again. `root`: the powercap tree. For one thread at a
    time.
    """

    def __init__(self, root: Path = POWERCAP, clock: Callable[[], float] = time.time) -> None:
        self._root, self._clock = root, clock
        self._seen: frozenset[str] = frozenset()

    def snapshot(self) -> Snapshot:
        """The counters now.

        Raises TargetUnavailableError where there are none, where they may not be read, or where
        one that was there before is gone: without it the rest would read as a saving.
        """
        domains = tuple(domains_of(self._root))
        if not domains:
            raise TargetUnavailableError(
                f"RAPL: {self._root} has no package domain: this processor or kernel has no RAPL, "
                "or a container or virtual machine hides it"
            )
        counters = {domain.name: domain.counter_j() for domain in domains}
        if gone := self._seen - counters.keys():
            raise TargetUnavailableError(f"RAPL: {', '.join(sorted(gone))} vanished: {self._root}")
        self._seen = frozenset(counters)
        ranges = {domain.name: domain.range_j() for domain in domains}
        return Snapshot(self._clock(), energy={SOURCE: Meter(counters, ranges)})


def domains_of(root: Path = POWERCAP) -> Iterator[Domain]:
    """The domains that count, each once; none where the tree is missing.

    Raises TargetUnavailableError where it may not be looked at.
    """
    told: set[str] = set()
    sockets: dict[tuple[str, int], str] = {}
    for (control, zone, part), folder in sorted(_zones(root).items()):
        name = _text(folder / "name")
        if part == _WHOLE:
            sockets[control, zone] = name
        elif name == "dram":
            name = f"{sockets.get((control, zone), '')}/dram"
        else:
            continue
        if name.startswith("package") and name not in told:
            told.add(name)
            yield Domain(name, folder)


_WHOLE = -1


def _zones(root: Path) -> dict[tuple[str, int, int], Path]:
    """Folders by interface, zone and part; in order, a zone comes before its parts.

    `intel-rapl` comes before `intel-rapl-mmio`, which is left the domains that it alone tells.
    """
    found = {}
    for folder in _entries(root):
        if match := _ZONE.fullmatch(folder.name):
            control, zone, part = match.groups(default=str(_WHOLE))
            found[control, int(zone), int(part)] = folder
    return found


def _entries(root: Path) -> list[Path]:
    try:
        # A container hides the counters behind links that lead nowhere.
        return [path for path in root.iterdir() if (path / "name").exists()]
    except FileNotFoundError:
        return []
    except OSError as problem:
        raise _unreadable(root, problem) from problem


def _number(path: Path) -> float:
    text = _text(path)
    if not text.isdigit():
        raise TargetUnavailableError(f"RAPL: {path} holds {text!r}, not a number of microjoules")
    return float(text)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as problem:
        raise _unreadable(path, problem) from problem


def _unreadable(path: Path, problem: OSError) -> TargetUnavailableError:
    text = f"RAPL: {path}: {problem.strerror or problem}"
    if problem.errno in (errno.EACCES, errno.EPERM):
        text = f"{text}: since Linux 5.10 the kernel lets only root read it: {_ALLOW}"
    return TargetUnavailableError(text)
