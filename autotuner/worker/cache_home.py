"""Where files lie that can be made again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def cache_home(environment: Mapping[str, str] = os.environ) -> Path:
    """$XDG_CACHE_HOME (or ~/.cache)/autotuner; raises RuntimeError where there is no home."""
    return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autotuner"
