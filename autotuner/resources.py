"""Where the folders that ship with autotuner lie: in the installed package or in a checkout."""

from __future__ import annotations

from pathlib import Path

from autotuner.domain.errors import ConfigError


def resource_folder(name: str) -> Path:
    """The folder `name` ("migrations", "policies"): the package's own, else the checkout's.

    Raises ConfigError where neither is there.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise ConfigError(f"folder {name!r} is missing beside {package}: install autotuner again")
