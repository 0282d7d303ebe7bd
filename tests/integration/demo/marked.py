"""Finds every process that a test's command started, children of children included.

They all inherit a mark in their environment; Linux shows it in /proc.
"""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

VARIABLE = "AUTOTUNER_TEST_MARK"


@dataclass(frozen=True)
class Mark:
    """`environment` for the command; `alive` are the processes with the mark."""

    value: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, VARIABLE: self.value}

    def alive(self) -> dict[int, str]:
        """Command lines by process id; a zombie has no environment and is not among them."""
        wanted = f"{VARIABLE}={self.value}".encode()
        found = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    words = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(folder.name)] = words.decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
        return found

    def gone_within(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not self.alive():
                return True
            time.sleep(0.05)
        return False
