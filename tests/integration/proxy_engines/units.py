"""A folder of systemd units, with stand-ins of systemctl and journalctl first on PATH."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

_STAND_IN = Path(__file__).with_name("systemctl.py")


def stand_in_units(home: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> Path:
    """The folder, under `home`; `command` is what every unit starts."""
    folder, programs = home / "units", home / "bin"
    folder.mkdir()
    programs.mkdir()
    for name in ("systemctl", "journalctl"):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {_STAND_IN} {name} "$@"\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("UNITS", str(folder))
    monkeypatch.setenv("UNIT_COMMAND", command)
    return folder
