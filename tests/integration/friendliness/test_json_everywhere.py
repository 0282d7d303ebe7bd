"""Every command that prints facts has --json, and then nothing else is on the standard output."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autotuner.cli import app
from autotuner.domain.experiment import Plan, Verdict
from autotuner.history.store import open_history
from deploy.reference import commands
from tests.integration.commands.support import closed, daemon_lives, experiment

# By their last word, so that a command that comes later is held to it as well.
TELL = {
    "list", "show", "status", "check", "checks", "plan", "evaluate", "calibrate", "doctor",
    "simulate", "report", "load", "improve", "init", "aa", "stop", "pause", "resume", "rollback",
}  # fmt: skip
# What can be asked of a history alone, without a worker.
ASKED = {
    "status": [], "history list": [], "history show": ["e1"], "experiment list": [],
    "experiment show": ["e1"], "silence list": [], "agent checks": [], "pause": [], "resume": [],
    "rollback": [],
}  # fmt: skip


def test_every_command_that_tells_something_has_json() -> None:
    without = [
        words
        for words, command in commands()
        if words.split()[-1] in TELL and not any("--json" in one.opts for one in command.params)
    ]
    assert not without


@pytest.fixture
def config(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'h.sqlite3'}"
    path = tmp_path / "a.yaml"
    path.write_text(f"history: {url}\ntargets: [{{name: chat, url: 'http://127.0.0.1:9'}}]\n")
    history = open_history(url)
    daemon_lives(history)
    test = closed(experiment("e1", [0.1, 0.2], Plan()), Verdict.INCONCLUSIVE)
    history.record_experiment(test, at=1200.0)
    history.close()
    return str(path)


@pytest.mark.parametrize("words", ASKED)
def test_its_standard_output_is_json(words: str, config: str) -> None:
    asked = [*words.split(), *ASKED[words], "-c", config, "--json"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout, parse_constant=pytest.fail) is not None


def test_names_are_completed_from_configuration_and_history(config: str) -> None:
    def completed(words: str, path: str = config) -> list[str]:
        """As bash asks: the line so far, and the place of its last word."""
        line = f"autotuner {words.replace('CONFIG', path)}"
        place = str(len(line.split(" ")) - 1)
        asked = {"_AUTOTUNER_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": place}
        told = CliRunner(env=asked).invoke(app, [], prog_name="autotuner")
        return told.stdout.split()

    assert completed("status -c CONFIG -t ch") == ["chat"]
    assert completed("status -c CONFIG -t x") == []
    assert completed("history show -c CONFIG e") == ["e1"]
    assert completed("status -c CONFIG -t ch", f"{config}.absent") == []
    assert completed("history show -c CONFIG e", f"{config}.absent") == []
