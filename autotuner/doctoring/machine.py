"""Looks at this machine: Python, packages, disk, compiler, port, units. I/O; judges nothing."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import sys
import warnings
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

import requests
from packaging.requirements import Requirement

from autotuner.config import Config
from autotuner.doctoring import judge
from autotuner.doctoring.finding import Finding
from autotuner.doctoring.judge import PortState

_COMPILERS = ("c++", "g++", "clang++")
_UNIT_FOLDERS = ("/etc/systemd/system", "/lib/systemd/system", "/usr/lib/systemd/system")


def machine_findings() -> Iterator[Finding]:
    """What can be said without a configuration."""
    yield judge.python_version(sys.version_info[:2], f"Python {sys.version.split()[0]}")
    yield from judge.packages(*_required())
    yield judge.compiler(_compiler(os.environ))
    yield judge.unit(Path("/run/systemd/system").is_dir(), _units())


def extra_findings(config: Config) -> Iterator[Finding]:
    """The optional packages that the configuration asks for; those of the worker always."""
    yield judge.optional("worker", _missing("worker"), "the bundled worker", needed=False)
    asked = {
        "postgres": ("a PostgreSQL history", config.history.startswith("postgres")),
        "chat": ("chat receivers", bool(config.chats)),
        "gpu": ("metrics.nvml", any(target.metrics.nvml for target in config.targets)),
        "ray": ("forecast.backend: joblib", config.forecast.backend == "joblib"),
    }
    for name, (why, needed) in asked.items():
        if needed:
            yield judge.optional(name, _missing(name), why, needed=True)


def free_bytes(folder: Path) -> int:
    """Of the disk that the folder, or the nearest one above it that there is, lies on."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free


def port_state(host: str, port: int, *, tls: bool = False) -> PortState:
    """Whether the address can be listened on, or what answers there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as problem:
            told = problem.strerror or str(problem)
        else:
            return PortState(free=True)
    return PortState(
        free=False, ours=_is_ours(host, port, "https" if tls else "http"), problem=told.lower()
    )


def _is_ours(host: str, port: int, scheme: str) -> bool:
    shown = f"[{host}]" if ":" in host else host
    shown = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(shown, shown)  # noqa: S104 - compared
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # urllib3's about the certificate, which names no loopback
        try:
            told = requests.get(
                f"{scheme}://{shown}:{port}/health",
                timeout=2,
                allow_redirects=False,
                verify=False,  # noqa: S501 - nothing is sent
            )
            return "seconds_since_cycle" in told.json()
        except (requests.RequestException, ValueError, TypeError):
            return False


def _required() -> tuple[list[Requirement], dict[str, str | None]]:
    wanted = [one for one in _requirements() if one.marker is None or one.marker.evaluate()]
    return wanted, {one.name: _version(one.name) for one in wanted}


def _missing(extra: str) -> list[str]:
    return [
        one.name
        for one in _requirements()
        if one.marker is not None
        and f'extra == "{extra}"' in str(one.marker)
        and one.marker.evaluate({"extra": extra})
        and _version(one.name) is None
    ]


def _requirements() -> list[Requirement]:
    try:
        return [Requirement(text) for text in metadata.requires("autotuner") or ()]
    except metadata.PackageNotFoundError:  # run from a folder, not installed
        return []


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _compiler(environment: Mapping[str, str]) -> str | None:
    named = shlex.split(environment.get("CXX", ""))
    found = (shutil.which(name) for name in (named[:1] or _COMPILERS))
    return next((path for path in found if path), None)


def _units() -> list[str]:
    folders = [*map(Path, _UNIT_FOLDERS), Path.home() / ".config" / "systemd" / "user"]
    return sorted({unit.name for folder in folders for unit in folder.glob("autotuner*.service")})
