"""`autotuner agent checks | improve` from a configuration file, and where what was learnt lies."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autotuner.cli import app
from autotuner.config import Config
from autotuner.domain.errors import AgentError, ConfigError
from autotuner.domain.learning import AgentRelease, ModelCheck
from autotuner.history.store import open_history
from autotuner.learning_setup import target_folder


def written(folder: Path, targets: tuple[str, ...] = ("t",), policy: str = "default") -> str:
    lines = [f"history: sqlite:///{folder / 'history.sqlite3'}", "targets:"]
    lines += [f"  - {{name: {t}, url: 'http://127.0.0.1:9', policy: {policy}}}" for t in targets]
    path = folder / "autotuner.yaml"
    path.write_text("\n".join(lines))
    return str(path)


def test_checks_and_releases_are_shown_by_figure(tmp_path: Path) -> None:
    config, now = written(tmp_path), time.time()
    history = open_history(f"sqlite:///{tmp_path / 'history.sqlite3'}")
    history.record_target("t", kind="worker", url="x:", at=now)
    history.record_model_checks("t", [ModelCheck(now - i, "ttft_s", 0.2, 0.3) for i in range(5)])
    history.release_agent(AgentRelease(now, "t", "ppo-t-1", "ppo", "", "/x", "it is better"))
    shown = CliRunner().invoke(app, ["agent", "checks", "-c", config])
    assert shown.exit_code == 0, shown.output
    assert "5 checks, median error   50%, predicted 0.2, measured 0.3" in shown.output
    assert "ppo-t-1 (from ppo): it is better" in shown.output


def test_nothing_checked_is_said(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["agent", "checks", "-c", written(tmp_path)])
    assert "t: nothing was checked in the last 24 hours" in shown.output


def test_users_mistakes_are_told_with_the_fix(tmp_path: Path) -> None:
    config = written(tmp_path, ("a", "b"))
    several = CliRunner().invoke(app, ["agent", "checks", "-c", config])
    assert isinstance(several.exception, ConfigError)
    assert "--target: needed, since there are several: a, b" in str(several.exception)
    unknown = CliRunner().invoke(app, ["agent", "improve", "-c", config, "-t", "x"])
    assert "--target='x': unknown; give one of a, b" in str(unknown.exception)
    early = CliRunner().invoke(app, ["agent", "improve", "-c", config, "-t", "a"])
    assert isinstance(early.exception, AgentError)
    assert "nothing to learn from yet" in str(early.exception)


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        ({"state_folder": "/s"}, {"STATE_DIRECTORY": "/d"}, "/s/learning/t"),
        ({}, {"STATE_DIRECTORY": "/d:/e"}, "/d/learning/t"),
        ({"history": "sqlite:////h/x.sqlite3"}, {}, "/h/learning/t"),
        ({"history": "postgresql://x/y"}, {"XDG_STATE_HOME": "/g"}, "/g/autotuner/learning/t"),
    ],
)
def test_what_was_learnt_lies_in_the_first_place_that_there_is(
    given: dict[str, str], environment: dict[str, str], expected: str
) -> None:
    targets = [{"name": "t", "url": "http://x"}]
    config = Config.model_validate({"targets": targets, **given})
    assert target_folder(config, "t", environment) == Path(expected)
