"""`autotuner silence`: add, list, end, and what the status says of silenced alerts."""

from __future__ import annotations

import getpass
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from autotuner.cli import app
from autotuner.domain.forecasts import Alert
from autotuner.history.store import History
from tests.integration.commands.support import mistake

Silence = Callable[..., Result]


@pytest.fixture
def config(tmp_path: Path) -> str:
    target = {"name": "chat", "url": "http://127.0.0.1:9"}
    told = {"history": f"sqlite:///{tmp_path / 'h.sqlite3'}", "targets": [target]}
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(told))
    return str(path)


@pytest.fixture
def silence(config: str) -> Silence:
    def run(*words: str) -> Result:
        runner = CliRunner(env={"COLUMNS": "200"})
        return runner.invoke(app, ["silence", *words, "-c", config])

    return run


def answered(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_one_is_added_listed_and_ended(silence: Silence, history: History) -> None:
    before = time.time()
    words = ("--for", "2h", "--target", "chat", "--alert", "Hot", "--label", "rack=7")
    made = answered(silence("add", *words, "--comment", "moving racks", "--json"))
    assert before <= made["starts_at"] <= time.time()
    assert made["ends_at"] - made["starts_at"] == 7200.0
    assert (made["author"], made["state"]) == (getpass.getuser(), "active")
    (kept,) = history.silences()
    assert (kept.target, kept.alert, kept.labels) == ("chat", "Hot", (("rack", "7"),))
    assert answered(silence("list", "--json")) == [made]
    shown = silence("list").stdout
    assert "target=chat, alert=Hot, rack=7" in shown
    assert "moving racks" in shown
    assert silence("end", str(made["id"])).stdout == "ended\n"
    assert silence("list").stdout == "no silences\n"
    (over,) = answered(silence("list", "--ended", "--json"))
    assert (over["id"], over["state"]) == (made["id"], "ended")
    assert "there is none that has not ended" in mistake(silence("end", str(made["id"])))


def test_everything_is_silenced_only_on_demand(silence: Silence, history: History) -> None:
    told = mistake(silence("add", "--for", "1h", "--comment", "x"))
    assert told.startswith("this would silence every alert")
    assert history.silences() == ()
    done = silence("add", "--for", "1h", "--comment", "x", "--all", "--author", "ana")
    assert "everything" in done.stdout
    (kept,) = history.silences()
    assert kept.matches_all
    assert kept.author == "ana"


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (("--for", "2", "--all"), "--for='2': a unit is missing"),
        (("--for", "soon", "--all"), "--for='soon': no duration"),
        (("--for", "1h", "--label", "rack"), "--label='rack': give NAME=VALUE"),
        (("--for", "1h", "--label", "=7"), "--label='=7': give NAME=VALUE"),
        (("--for", "1h", "--target", "chta"), "--target='chta': unknown; give one of chat"),
        (("--for", "1h", "--alert", "Hot", "--all"), "--all: contradicts alert=Hot"),
    ],
)
def test_a_mistake_is_told(
    silence: Silence, history: History, words: tuple[str, ...], wrong: str
) -> None:
    assert wrong in mistake(silence("add", *words, "--comment", "x"))
    assert history.silences() == ()


def test_an_empty_comment_is_refused(silence: Silence) -> None:
    assert "--comment=' '" in mistake(silence("add", "--for", "1h", "--all", "--comment", " "))


def test_it_says_what_it_silences_and_the_status_counts_it(
    silence: Silence, history: History, config: str
) -> None:
    history.record_target("chat", kind="worker", url="http://127.0.0.1:9", at=1.0)
    for number, name in enumerate(("Hot", "Slow")):
        history.record_alert(Alert(f"f{number}", name, "warning", "chat", "-", 5.0), 5.0)
    none = silence("add", "--for", "1h", "--alert", "hot", "--comment", "misspelt").stdout
    assert "no alert that fires now matches" in none
    one = silence("add", "--for", "1h", "--alert", "Hot", "--comment", "known").stdout
    assert "1 alert that fires now matches it" in one
    runner = CliRunner(env={"COLUMNS": "200"})
    shown = runner.invoke(app, ["status", "-c", config]).stdout
    assert "2 firing (1 silenced), 0 undelivered" in shown
    (status,) = json.loads(runner.invoke(app, ["status", "-c", config, "--json"]).stdout)
    assert (status["firing_alerts"], status["silenced_alerts"]) == (2, 1)
