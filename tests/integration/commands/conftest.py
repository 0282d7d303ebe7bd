"""A history in a file, a configuration that names it, and plans to run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from autotuner.cli import app
from autotuner.history.store import History, open_history
from tests.integration.commands.support import (
    WISH,
    Command,
)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    opened = open_history(f"sqlite:///{tmp_path / 'h.sqlite3'}")
    yield opened
    opened.close()


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Runs `autotuner experiment …` with a configuration of two targets."""
    config = tmp_path / "a.yaml"
    targets = [
        {"name": "chat", "url": "http://127.0.0.1:9"},
        {"name": "pair", "replicas": ["http://127.0.0.1:9", "http://127.0.0.1:10"]},
    ]
    told = {"history": f"sqlite:///{tmp_path / 'h.sqlite3'}", "targets": targets}
    config.write_text(yaml.safe_dump(told))

    def run(*words: str) -> Result:
        return CliRunner(env={"COLUMNS": "250"}).invoke(
            app, ["experiment", *words, "-c", str(config)]
        )

    return run


@pytest.fixture
def plan_file(tmp_path: Path) -> Callable[..., str]:
    def written(**changed: Any) -> str:
        path = tmp_path / "plan.yaml"
        path.write_text(yaml.safe_dump({**WISH, **changed}))
        return str(path)

    return written
