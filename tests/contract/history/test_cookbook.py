"""Every query of docs/sql-cookbook.md answers, on both databases, with what was recorded."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autotuner.domain.experiment import Design, Experiment, Guardrail, GuardrailLook, Verdict
from autotuner.domain.explanation import Explanation
from autotuner.domain.fine_tuning import FineTune, Intake, Scores, Stage
from autotuner.domain.forecasts import Alert
from autotuner.domain.learning import AgentRelease, ModelCheck
from autotuner.domain.silences import Silence
from autotuner.history.engine import Database, open_engine
from autotuner.history.records import OutboxMessage
from autotuner.history.store import History

COOKBOOK = Path(__file__).parents[3] / "docs" / "sql-cookbook.md"
QUERIES = re.findall(r"```sql\n(.*?)```", COOKBOOK.read_text(encoding="utf-8"), re.DOTALL)
DAY = 86400.0

Ask = Callable[[str], list[dict[str, Any]]]


def guarded(experiment: Experiment) -> Experiment:
    """An A/A on two lanes, with one guardrail whose bounds are not finite."""
    seen = GuardrailLook("quality", 2, 3.5, -math.inf, math.nan, -math.inf, 0.1)
    plan = replace(experiment.plan, design=Design.SPLIT, guardrails=(Guardrail("quality", 0.02),))
    return replace(
        experiment,
        treatment=experiment.control,
        plan=plan,
        slots=tuple(replace(s, lane=s.index % 2, lanes=2) for s in experiment.slots[:4]),
        pairs=experiment.pairs[:1],
        looks=tuple(replace(look, guardrails=(seen,)) for look in experiment.looks),
    )


def metered(experiment: Experiment) -> Experiment:
    """The same where power was known."""
    slots = (
        replace(s, outcome=s.outcome and replace(s.outcome, energy_j=900.0))
        for s in experiment.slots
    )
    return replace(experiment, slots=tuple(slots))


@pytest.fixture
def ask(history: History, url: str, build: Callable[..., Experiment]) -> Iterator[Ask]:
    """Runs SQL on a history in which something of every kind was recorded."""
    old, new = build("x").control, build("x").treatment
    now = time.time()
    history.set_incumbent("chat", old, at=1000.0, why="found on the target")
    history.record_experiment(build("exp-0", at=1000.0, verdict=Verdict.REJECTED))
    history.record_experiment(
        metered(build("exp-1", at=2000.0, verdict=Verdict.ACCEPTED)),
        predicted_effect=0.2,
        explanation=Explanation(seen={"rate_rps": 4.0}, method="policy", considered=12),
    )
    history.record_experiment(build("exp-2", pairs=0, at=3000.0))
    history.set_incumbent(
        "chat", new, at=1_764_000_000.9, why="accepted at 97%", experiment_id="exp-1"
    )
    history.record_decision("chat", "PROMOTE", "accepted", at=5.0, settings=new)
    history.ask("chat", "pause", "ana", 10.0)
    history.record_experiment(guarded(build("exp-3", at=500.0, verdict=Verdict.REJECTED)))
    wish = history.ask("chat", "experiment", "ana", 11.0, payload={"changes": {}, "plan": {}})
    history.take_control(wish, 12.0, experiment_id="exp-3")
    history.ask("chat", "experiment", "ben", 13.0, payload={"changes": {"max_num_seqs": 128}})
    history.quarantine("chat", old, reason="harmful", at=1.0)
    message = OutboxMessage("hook", "f1", "firing", {"a": 1}, now - 60)
    alert = Alert("f1", "SLOMissed", "critical", "chat", "71%", starts_at=now - 60)
    history.record_alert(alert, now, [message])
    quiet = Alert("f3", "Hot", "warning", "chat", "90 °C", starts_at=now - 2 * DAY)
    history.record_alert(quiet, now)
    history.add_silence(Silence(10.0, 20.0, "ana", "over", target="chat"))
    history.add_silence(Silence(now - 60, now + DAY, "ben", "known", "", "Hot", (("rack", "7"),)))
    history.add_silence(Silence(now + DAY, now + 2 * DAY, "eve", "moving racks"))
    history.record_model_checks(
        "chat",
        [
            ModelCheck(1000.0, "ttft_s", 0.5, 0.65, old),
            ModelCheck(1060.0, "ttft_s", 0.6, 0.5, old),
            ModelCheck(2600.0, "effect", -0.1, 0.3, new, "exp-1"),
        ],
    )
    shipped = AgentRelease(1000.0, "chat", "1", "", "abc", "agents/start", "shipped")
    history.release_agent(shipped)
    history.release_agent(
        replace(shipped, at=2000.0, version="2", parent="1", score=0.04, before=0.06, systems=64)
    )
    history.record_intake(Intake("chat", 10.0, "a.jsonl", "ab", 1, 100, 60, 25, 15, {}, 0.5))
    history.record_intake(Intake("chat", 20.0, "b.jsonl", "", refused="line 3: not JSON"))
    kept = FineTune("chat", "v1-a", "base", (1,), 30.0, 40.0, Stage.PROMOTED, 70, 10, 1, 9.0)
    scores = Scores(2.0, 1.8, 1.5, 1.52, 0.5, 0.6)
    history.record_fine_tune(replace(kept, scores=scores, experiment_id="exp-1"))
    away = Alert("f4", "HistoryUnavailable", "critical", "chat", "gone", 10.0, ends_at=70.0)
    history.record_alert(away, now)
    history.append_samples("chat", [("rate", 3600.0, 1.0), ("rate", 3900.0, 2.0)])
    counts = {"requests": 9_000.0, "failed": 3.0, "lost": 1_000.0}
    for what, count in counts.items():
        rows = [(f"availability_{what}", now - 31 * DAY, 7.0), (f"availability_{what}", now, count)]
        history.append_samples("chat", rows)
    long_ago = Alert("f2", "Old", "info", "chat", "-", now - 2 * DAY, ends_at=now - DAY)
    history.record_alert(long_ago, now)

    database = Database(open_engine(url))

    def run(sql: str) -> list[dict[str, Any]]:
        with database.reading() as connection:
            return [row._asdict() for row in connection.exec_driver_sql(sql)]

    yield run
    database.close()


def values(stored: Any) -> Any:
    """JSON as the driver gives it: text from SQLite, parsed from PostgreSQL."""
    return json.loads(stored) if isinstance(stored, str) else stored


def test_the_cookbook_has_queries() -> None:
    assert len(QUERIES) >= 12


def test_every_query_of_the_cookbook_answers(ask: Ask) -> None:
    unanswered = [query for query in QUERIES if not ask(query)]
    assert unanswered == []


def test_live_settings(ask: Ask) -> None:
    (live,) = ask("SELECT * FROM v_live_settings")
    assert (live["target"], live["since"]) == ("chat", "2025-11-24T16:00:00Z")
    assert (live["why"], live["experiment_id"]) == ("accepted at 97%", "exp-1")
    assert values(live["knobs"])["max_num_seqs"] == 64


def test_experiments(ask: Ask) -> None:
    rows = {row["id"]: row for row in ask("SELECT * FROM v_experiments")}
    accepted, running = rows["exp-1"], rows["exp-2"]
    assert [accepted[k] for k in ("n", "effect", "low", "high", "confidence")] == [
        3,
        0.3,
        0.1,
        0.5,
        0.97,
    ]
    assert (accepted["verdict"], accepted["reason"]) == ("ACCEPTED", "ended as ACCEPTED")
    assert accepted["started"] == "1970-01-01T00:33:20Z"
    assert values(accepted["control"])["memory_efficient"] is False
    assert [running[k] for k in ("n", "effect", "verdict", "ended")] == [0, None, None, None]


def test_accepted_changes(ask: Ask) -> None:
    (change,) = ask("SELECT * FROM v_accepted_changes")
    assert change["experiment_id"] == "exp-1"
    assert values(change["settings_before"])["max_num_seqs"] == 32
    assert values(change["settings_after"])["max_num_seqs"] == 64


def test_slots(ask: Ask) -> None:
    rows = ask("SELECT * FROM v_slots WHERE experiment_id = 'exp-1' ORDER BY slot_index")
    assert [row["pair_index"] for row in rows] == [0, 0, 1, 1, 2, 2]
    assert [row["arm"] for row in rows[:2]] == ["control", "treatment"]
    assert (rows[1]["attainment"], rows[1]["goodput_rps"]) == (0.9, 18 / 50)
    assert (rows[1]["gap_p95_s"], rows[1]["ended"]) == (None, "1970-01-01T00:35:20Z")


def test_the_error_budget(ask: Ask) -> None:
    (query,) = [query for query in QUERIES if "budget_left" in query]
    (left,) = ask(query)
    assert (left["target"], left["asked"], left["bad"]) == ("chat", 10_000, 1_003)
    assert left["availability"] == pytest.approx(0.8997)
    assert left["budget_left"] == pytest.approx(1 - 1_003 / 5)


def test_the_slots_of_a_split(ask: Ask) -> None:
    rows = ask("SELECT * FROM v_slots WHERE experiment_id = 'exp-3' ORDER BY slot_index")
    told = [(row["period"], row["pair_index"], row["lane"]) for row in rows]
    assert told == [(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 0, 1)]


def test_how_experiments_were_run(ask: Ask) -> None:
    rows = ask("SELECT id, kind, design, outcome, confirms FROM v_experiments ORDER BY id")
    assert [tuple(row.values()) for row in rows] == [
        ("exp-0", "A/B", "switchback", "attainment", None),
        ("exp-1", "A/B", "switchback", "attainment", None),
        ("exp-2", "A/B", "switchback", "attainment", None),
        ("exp-3", "A/A", "split", "attainment", None),
    ]


def test_guardrails(ask: Ask) -> None:
    rows = ask("SELECT * FROM v_guardrails ORDER BY look_index")
    assert [row["n"] for row in rows] == [1, 2, 3]
    last = rows[-1]
    assert (last["experiment_id"], last["measure"], last["margin"]) == ("exp-3", "quality", 0.02)
    figures = ("measured", "effect", "low", "high", "log_e_kept", "log_e_broken")
    assert [last[name] for name in figures] == [2, None, -math.inf, 0.1, 3.5, -math.inf]


def test_requests(ask: Ask) -> None:
    rows = ask("SELECT * FROM v_requests ORDER BY id")
    assert [(r["what"], r["who"], r["taken"], r["verdict"]) for r in rows] == [
        ("pause", "ana", None, None),
        ("experiment", "ana", "1970-01-01T00:00:12Z", "REJECTED"),
        ("experiment", "ben", None, None),
    ]
    assert values(rows[2]["payload"]) == {"changes": {"max_num_seqs": 128}}


def test_alerts(ask: Ask) -> None:
    rows = ask("SELECT name, status, ends FROM v_alerts WHERE age_s < 86400")
    assert rows == [{"name": "SLOMissed", "status": "firing", "ends": None}]
    assert [row["status"] for row in ask("SELECT * FROM v_alerts ORDER BY id")] == [
        "firing",
        "firing",
        "resolved",
        "resolved",
    ]


def test_alerts_that_nobody_was_told_of(ask: Ask) -> None:
    (query,) = [query for query in QUERIES if "NOT EXISTS (SELECT 1 FROM outbox" in query]
    assert [row["name"] for row in ask(query)] == ["Hot"]


def test_silences(ask: Ask) -> None:
    rows = ask("SELECT * FROM v_silences ORDER BY id")
    assert [(row["status"], row["target"], row["alert"]) for row in rows] == [
        ("ended", "chat", None),
        ("active", None, "Hot"),
        ("waits", None, None),
    ]
    assert (rows[0]["starts"], rows[0]["author"]) == ("1970-01-01T00:00:10Z", "ana")
    assert values(rows[1]["labels"]) == {"rack": "7"}


def test_checks_of_the_model(ask: Ask) -> None:
    under, over, effect = ask("SELECT * FROM v_model_checks ORDER BY checked_at")
    assert under["error"] == pytest.approx(0.3)
    assert over["error"] == pytest.approx(0.2)
    assert (effect["error"], effect["experiment_id"]) == (None, "exp-1")
    assert values(effect["settings"])["max_num_seqs"] == 64
    assert under["checked"] == "1970-01-01T00:16:40Z"


def test_agents(ask: Ask) -> None:
    first, second = ask("SELECT * FROM v_agents ORDER BY id")
    assert (first["status"], first["score"], first["released"]) == (
        "replaced",
        None,
        "1970-01-01T00:16:40Z",
    )
    assert (second["status"], second["score"], second["score_before"]) == ("in use", 0.04, 0.06)


def test_reasons(ask: Ask) -> None:
    (query,) = [query for query in QUERIES if "explanation IS NOT NULL" in query]
    (row,) = ask(query)
    assert (row["id"], row["method"], row["considered"]) == ("exp-1", "policy", 12)
    assert values(row["seen"]) == {"rate_rps": 4.0}


def test_intakes(ask: Ask) -> None:
    taken, refused = ask("SELECT * FROM v_intakes ORDER BY id")
    assert (taken["taken"], taken["kept"], taken["refused"]) == ("1970-01-01T00:00:10Z", 60, None)
    assert (refused["version"], refused["refused"]) == (None, "line 3: not JSON")


def test_fine_tunes(ask: Ask) -> None:
    (tune,) = ask("SELECT * FROM v_fine_tunes")
    assert (tune["stage"], tune["changed"]) == ("promoted", "1970-01-01T00:00:40Z")
    assert (tune["experiment_id"], tune["verdict"], tune["effect"]) == ("exp-1", "ACCEPTED", 0.3)
    assert tune["forgetting"] == pytest.approx(0.02)
    assert values(tune["versions"]) == [1]
