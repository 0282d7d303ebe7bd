"""A history in a file, empty or filled; tables are made once, which takes longer than a test."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from autotuner.history.store import History, open_history
from tests.unit.web.house import NOW, fill, history_in


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `empty`, `filled` (at NOW) and `recent` (filled just now)."""
    folder = tmp_path_factory.mktemp("history")
    for name, at in (("empty", None), ("filled", NOW), ("recent", time.time())):
        history = history_in(folder)
        if at is not None:
            fill(history, at)
        history.close()
        (folder / "h.sqlite3").rename(folder / name)
    return folder


def opened(source: Path, folder: Path) -> Iterator[History]:
    shutil.copy(source, folder / "h.sqlite3")
    history = open_history(f"sqlite:///{folder / 'h.sqlite3'}", migrate=False)
    yield history
    history.close()


@pytest.fixture
def history(made_once: Path, tmp_path: Path) -> Iterator[History]:
    yield from opened(made_once / "empty", tmp_path)


@pytest.fixture
def filled(made_once: Path, tmp_path: Path) -> Iterator[History]:
    yield from opened(made_once / "filled", tmp_path)


@pytest.fixture
def recent(made_once: Path, tmp_path: Path) -> Iterator[History]:
    yield from opened(made_once / "recent", tmp_path)
