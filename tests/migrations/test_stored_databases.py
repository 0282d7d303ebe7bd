"""A stored database of every revision is upgraded, and what it held is read by today's code."""

from __future__ import annotations

import ast
import math
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from autotuner.domain.errors import ConfigError
from autotuner.domain.experiment import Verdict
from autotuner.domain.explanation import Explanation
from autotuner.domain.knobs import Settings
from autotuner.domain.mode import Mode
from autotuner.history.records import DecisionOutcome
from autotuner.history.store import open_history
from autotuner.history.upgrade import current, downgrade, pending, upgrade
from autotuner.resources import resource_folder

STORED = sorted((Path(__file__).parent / "stored").glob("*.sql"))
START = 1_764_000_000.0
OLD = Settings({"max_num_seqs": 32, "schedule_policy": "fcfs"})
NEW = OLD.with_values(max_num_seqs=64)


def revisions() -> list[str]:
    config = Config()
    config.set_main_option("script_location", str(resource_folder("migrations")))
    walk = ScriptDirectory.from_config(config).walk_revisions()
    return [revision.revision for revision in walk][::-1]


@pytest.fixture(params=STORED, ids=lambda path: path.stem)
def restored(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """The URL of a stored database and its revision."""
    path = tmp_path / "history.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(request.param.read_text(encoding="utf-8"))
    return f"sqlite:///{path}", request.param.stem


def test_every_revision_has_a_stored_database() -> None:
    assert [path.stem for path in STORED] == revisions()


def test_what_is_pending_is_what_comes_after(restored: tuple[str, str]) -> None:
    url, revision = restored
    assert current(url) == revision
    assert pending(url) == revisions()[revisions().index(revision) + 1 :]


def test_what_was_stored_is_read(restored: tuple[str, str]) -> None:
    history = open_history(restored[0])
    try:
        assert history.incumbent("chat") == (NEW, START + 122, "accepted")
        experiment = history.experiment("exp-1")
        assert experiment is not None
        assert experiment.conclusion is not None
        assert experiment.conclusion.verdict is Verdict.ACCEPTED
        assert (experiment.control, experiment.treatment) == (OLD, NEW)
        assert [slot.generation for slot in experiment.slots] == [2, 3]
        assert experiment.pairs[0].treatment.good == 20
        assert experiment.looks[0].high == float("inf")
        (waiting,) = history.unfinished_decisions("chat")
        assert (waiting.settings, waiting.outcome) == (OLD, DecisionOutcome.PENDING)
        assert history.quarantined("chat", START + 1) == {OLD.digest}
        assert history.samples("chat", "rate_rps", since=0) == [(START, 1.5), (START + 60, 2.0)]
        assert history.latest_forecast("chat", "rate_rps") is not None
        assert len(history.anomalies("chat", since=0)) == 1
        assert [alert.labels for alert in history.firing_alerts("chat")] == [(("tier", "slo"),)]
        assert [message.receiver for message in history.due(START)] == ["hook"]
        assert history.asked_mode("chat") is Mode.PAUSED
        assert history.status("chat").verdicts == {"ACCEPTED": 1}
    finally:
        history.close()


def test_an_upgraded_database_is_written_on(restored: tuple[str, str]) -> None:
    history = open_history(restored[0])
    try:
        last = history.decisions("chat")[0].id
        assert history.record_decision("chat", "HOLD", "idle", at=START) > last
    finally:
        history.close()


def test_what_a_later_revision_added_reads_as_not_measured(restored: tuple[str, str]) -> None:
    history = open_history(restored[0])
    try:
        experiment = history.experiment("exp-1")
        assert experiment is not None
        old = restored[1] < "0003"
        assert [(slot.lane, slot.lanes) for slot in experiment.slots] == [(0, 1), (0, 1)]
        assert experiment.pairs[0].adjusted == pytest.approx(0.309 if old else 0.289)
        measured = experiment.pairs[0].treatment, experiment.slots[1].outcome
        for outcome in measured:
            assert outcome is not None
            assert outcome.quality == pytest.approx(math.nan if old else 0.97, nan_ok=True)
        guarded = [seen.measure for seen in experiment.looks[0].guardrails]
        assert guarded == [guard.measure for guard in experiment.plan.guardrails]
        assert guarded == ([] if old else ["error_share"])
        waiting = history.next_declared("chat")
        assert (waiting is None) == old
    finally:
        history.close()


def test_what_is_known_since_the_agent_learns(restored: tuple[str, str]) -> None:
    old = restored[1] < "0004"
    history = open_history(restored[0])
    try:
        assert (history.explanation("exp-1") is None) == old
        assert len(history.silences(START)) == (0 if old else 1)
        assert len(history.model_checks("chat", since=START)) == (0 if old else 2)
        assert (history.current_agent("chat") is None) == old
        (trial,) = history.trials("chat")
        assert (trial.id, trial.low, trial.high) == ("exp-1", 0.01, math.inf)
        # The experiment of an older version is added to, and stays what it was.
        experiment = history.experiment("exp-1")
        assert experiment is not None
        history.record_experiment(experiment, explanation=Explanation(method="policy"))
        again = history.experiment("exp-1")
        assert again is not None
        assert again.conclusion == experiment.conclusion
        told = history.explanation("exp-1")
        assert told is not None
        assert told.method == "policy"
    finally:
        history.close()


def test_what_is_known_since_models_learn(restored: tuple[str, str]) -> None:
    old = restored[1] < "0006"
    history = open_history(restored[0])
    try:
        assert len(history.intakes("chat")) == (0 if old else 1)
        tunes = history.fine_tunes("chat")
        assert [(one.name, one.versions) for one in tunes] == ([] if old else [("v1-a", (1,))])
    finally:
        history.close()


def test_a_declared_test_is_asked_of_an_upgraded_database(restored: tuple[str, str]) -> None:
    history = open_history(restored[0])
    try:
        before = history.declared("chat")
        asked = history.ask("chat", "experiment", "ana", START, payload={"changes": {}})
        assert [control.id for control in history.declared("chat")] == [
            asked,
            *(control.id for control in before),
        ]
        assert [control.what for control in history.take_controls("chat", START)] == ["pause"]
    finally:
        history.close()


def test_going_back_and_forth_loses_only_what_is_new(restored: tuple[str, str]) -> None:
    url, _ = restored
    upgrade(url)
    downgrade(url, "0002")
    upgrade(url)
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("SELECT what FROM controls").fetchall() == [("pause",)]
        (slots,) = connection.execute("SELECT count(*) FROM v_slots").fetchone()
        assert slots == 2
        assert connection.execute("SELECT count(*) FROM silences").fetchone() == (0,)
    history = open_history(url)
    try:
        experiment = history.experiment("exp-1")
        assert experiment is not None
        assert experiment.slots[1].outcome is not None
        assert math.isnan(experiment.slots[1].outcome.quality)
        assert [pair.adjustment for pair in experiment.pairs] == [0.0]
    finally:
        history.close()


def test_its_views_answer(restored: tuple[str, str]) -> None:
    url, revision = restored
    open_history(url).close()
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        views = [
            r[0] for r in connection.execute("SELECT name FROM sqlite_master WHERE type = 'view'")
        ]
        assert len(views) == 12
        silent = {v for v in views if not connection.execute(f"SELECT * FROM {v}").fetchall()}
        since = {
            "v_guardrails": "0003",
            **dict.fromkeys(("v_silences", "v_model_checks", "v_agents"), "0004"),
            **dict.fromkeys(("v_intakes", "v_fine_tunes"), "0006"),
        }
        assert silent == {view for view, first in since.items() if revision < first}


def test_revisions_never_import_the_live_code() -> None:
    for path in (resource_folder("migrations") / "versions").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
        modules += [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
        assert [name for name in modules if name.startswith("autotuner")] == []


def test_a_resource_folder_is_found_or_told() -> None:
    assert (resource_folder("migrations") / "env.py").is_file()
    with pytest.raises(ConfigError, match="'nothing' is missing"):
        resource_folder("nothing")
