"""One filled history for all tests that only read."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from autotuner.history.store import History, open_history
from autotuner.web.pages.shows import Pages
from tests.unit.web_pages.filled import filled, sources


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a filled history."""
    folder = tmp_path_factory.mktemp("filled")
    filled(folder).close()
    return folder


@pytest.fixture(scope="session")
def history(made_once: Path) -> Iterator[History]:
    found = open_history(f"sqlite:///{made_once / 'history.sqlite3'}", migrate=False)
    yield found
    found.close()


@pytest.fixture
def own(made_once: Path, tmp_path: Path) -> Iterator[History]:
    """A copy of it, to be written to."""
    shutil.copy(made_once / "history.sqlite3", tmp_path / "history.sqlite3")
    found = open_history(f"sqlite:///{tmp_path / 'history.sqlite3'}", migrate=False)
    yield found
    found.close()


@pytest.fixture(scope="session")
def pages(history: History) -> Pages:
    return Pages(sources(history))


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[History]:
    found = open_history(f"sqlite:///{tmp_path / 'empty.sqlite3'}")
    yield found
    found.close()
