"""Writes `stored/REVISION.sql`, a filled SQLite database as text; run once for a new revision.

    python tests/migrations/store_database.py

The file is then never written again: it stands for the databases that users have.
"""

from __future__ import annotations

import re
import sqlite3
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from autotuner.domain.experiment import (
    Arm,
    Conclusion,
    Experiment,
    Guardrail,
    GuardrailLook,
    Look,
    Pair,
    Phase,
    Plan,
    Slot,
    SlotOutcome,
    Verdict,
)
from autotuner.domain.explanation import Explanation, NearTrial
from autotuner.domain.fine_tuning import FineTune, Intake, Scores, Stage
from autotuner.domain.forecasts import Alert, AnomalyScore, Forecast, ForecastPoint
from autotuner.domain.knobs import Settings
from autotuner.domain.learning import AgentRelease, ModelCheck
from autotuner.domain.silences import Silence
from autotuner.history.engine import open_engine
from autotuner.history.records import OutboxMessage
from autotuner.history.store import History
from autotuner.history.upgrade import current, upgrade

STORED = Path(__file__).parent / "stored"
START = 1_764_000_000.0
OLD = Settings({"max_num_seqs": 32, "schedule_policy": "fcfs"})
NEW = OLD.with_values(max_num_seqs=64)


REASON = Explanation(
    seen={"rate_rps": 4.0},
    effect=0.2,
    low=0.05,
    high=float("inf"),
    incumbent={"attainment": 0.6},
    candidate={"attainment": 0.8},
    nearest=(NearTrial("exp-0", {"max_num_seqs": 48}, 0.1, 0.02, 0.2, "ACCEPTED", 1),),
    method="policy",
    considered=12,
    model_note="within 20% over 40 checks",
)


def experiment() -> Experiment:
    """One accepted experiment of one pair."""
    worse = SlotOutcome(20, 12, 1, 2, 50.0, 0.9, float("nan"), 2.5, 2000, 900)
    better = SlotOutcome(
        22, 20, 0, 1, 50.0, 0.6, 0.09, 2.0, 2100, 950, e2el_p95_s=2.6, energy_j=900.0, quality=0.97
    )
    errors = GuardrailLook("error_share", 1, 0.4, -0.4, 0.05, -0.1, float("inf"))
    return Experiment(
        id="exp-1",
        target="chat",
        control=OLD,
        treatment=NEW,
        plan=Plan(guardrails=(Guardrail("error_share", 0.02),), covariates=("offered_load",)),
        seed=7,
        started_at=START,
        proposer="ppo",
        rationale="the batch is full",
        phase=Phase.CLOSED,
        slots=(
            Slot(0, Arm.CONTROL, 2, START, START + 5, START + 60, worse),
            Slot(1, Arm.TREATMENT, 3, START + 60, START + 65, START + 120, better),
        ),
        pairs=(Pair(0, 0.309, worse, better, adjustment=0.02),),
        looks=(Look(1, 3.1, -2.0, 0.95, 0.309, 0.01, float("inf"), guardrails=(errors,)),),
        conclusion=Conclusion(Verdict.ACCEPTED, "E ≥ 20", 1, 0.309, 0.01, float("inf"), 0.95),
    )


def fill(history: History) -> None:
    """Something in every table."""
    history.record_target("chat", kind="worker", url="http://127.0.0.1:8000", at=START)
    history.record_agent("ppo", "1", digest="abc", info={"features": ["rate"]}, at=START)
    history.set_incumbent("chat", OLD, at=START, why="found on the target")
    history.record_experiment(experiment(), predicted_effect=0.2, explanation=REASON)
    done = history.record_decision("chat", "PROMOTE", "accepted", at=START + 121, settings=NEW)
    history.set_incumbent("chat", NEW, at=START + 122, why="accepted", experiment_id="exp-1")
    history.decision_done(done, "applied", START + 122, generation=4)
    history.record_decision("chat", "START", "next", at=START + 200, generation=4, settings=OLD)
    history.quarantine("chat", OLD, reason="worse", at=START, until=START + 9000)
    history.append_samples("chat", [("rate_rps", START, 1.5), ("rate_rps", START + 60, 2.0)])
    points = (ForecastPoint(START, 1.0, 0.5, 1.5),)
    history.record_forecast("chat", Forecast("rate_rps", START, "seasonal", points))
    history.record_anomalies("chat", [AnomalyScore("rate_rps", START, 9.0, 1.0, 4.0, True)])
    alert = Alert("f1", "SLOMissed", "critical", "chat", "71%", START, labels=(("tier", "slo"),))
    message = OutboxMessage("hook", "f1", "firing", {"summary": "71%"}, START)
    history.record_alert(alert, START, [message])
    history.add_silence(
        Silence(START, START + 7200, "ana", "moving racks", "chat", "SLOMissed", (("tier", "slo"),))
    )
    history.record_model_checks(
        "chat",
        [
            ModelCheck(START, "ttft_s", 0.5, 0.6, OLD),
            ModelCheck(START + 130, "effect", 0.2, 0.309, NEW, "exp-1"),
        ],
    )
    history.release_agent(
        AgentRelease(
            START, "chat", "2", "1", "def", "agents/chat-2", "fine-tuned", 0.04, 0.06, systems=64
        )
    )
    history.record_intake(
        Intake("chat", START, "a.jsonl", "ab12", 1, 100, 60, 25, 12, {"empty": 3})
    )
    scores = Scores(2.0, 1.8, 1.5, 1.52, 0.5, 0.6)
    tune = FineTune("chat", "v1-a", "base", (1,), START, START + 9, Stage.PROMOTED, 80, 20, 1, 8.0)
    history.record_fine_tune(replace(tune, scores=scores, experiment_id="exp-1"))
    history.ask("chat", "pause", "ana", START)
    wish = {"changes": {"max_num_seqs": 128}, "plan": {"max_pairs": 20}}
    history.ask("chat", "experiment", "ben", START, note="a larger batch", payload=wish)
    history.begin_term("autotuner", "host:1", START)
    history.heartbeat("d1", "chat", at=START, sentence="held: paused", mode="paused")


def dump(revision: str) -> str:
    """A database at `revision`, filled by the code as it is now."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.sqlite3"
        url = f"sqlite:///{path}"
        upgrade(url, revision)
        history = History(open_engine(url))
        fill(history)
        history.close()
        at = current(url)
        connection = sqlite3.connect(path)
        lines = "\n".join(connection.iterdump())
        connection.close()
        # Python's dump spells infinity as a word that SQLite does not read back.
        lines = re.sub(r"(?<=[,(])(-?)Inf(?=[,)])", r"\g<1>9e999", lines)
        return f"-- revision {at}\n{lines}\n"


if __name__ == "__main__":
    text = dump(sys.argv[1] if len(sys.argv) > 1 else "head")
    STORED.mkdir(exist_ok=True)
    file = STORED / f"{text.split()[2]}.sql"
    if file.exists():
        sys.exit(f"{file} is there already: a stored database is never rewritten")
    file.write_text(text, encoding="utf-8")
