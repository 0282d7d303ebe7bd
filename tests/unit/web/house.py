"""An application over a history in a file, as the tests of page and API ask it: no socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry

from autotuner.config import parse_config
from autotuner.config.listen import ListenConfig
from autotuner.domain.experiment import Plan, Verdict
from autotuner.domain.fine_tuning import FineTune, Intake
from autotuner.domain.forecasts import Alert, AnomalyScore, Forecast, ForecastPoint
from autotuner.domain.knobs import Settings
from autotuner.domain.learning import AgentRelease, ModelCheck
from autotuner.history.store import History, open_history
from autotuner.web.api.acts import act_routes
from autotuner.web.api.reads import read_routes
from autotuner.web.app import create_app
from autotuner.web.guard import Guard, build_guard
from autotuner.web.session_routes import session_routes
from autotuner.web.sources import Live, Sources, nobody
from autotuner.web.tokens import Role, new_token, write_tokens
from tests.integration.commands.support import closed, experiment

BASE = "http://localhost"
ACT = {"X-Autotuner": "1"}
NOW = 2_000_000_000.0
CONFIG = parse_config(
    {"targets": [{"name": name, "url": "http://127.0.0.1:9"} for name in ("chat", "new")]}
)
LIVE = Settings({"max_num_seqs": 16, "batch_timeout_ms": 0})


def history_in(folder: Path) -> History:
    """An empty history, but for the target `chat`."""
    history = open_history(f"sqlite:///{folder / 'h.sqlite3'}")
    history.record_target("chat", kind="worker", url="http://127.0.0.1:9", at=1.0)
    return history


def app_of(history: History, guard: Guard | None = None, live: Live = nobody) -> FastAPI:
    guard = guard or Guard()
    sources = Sources(history, live, configured=lambda: CONFIG.targets)
    routers = [read_routes(sources, guard), act_routes(sources, guard), session_routes(guard)]
    return create_app(CollectorRegistry(), lambda: (True, {}), routers, guard)


def client_of(app: FastAPI, base: str = BASE, **headers: str) -> TestClient:
    return TestClient(
        app, base_url=base, headers=headers, raise_server_exceptions=False, follow_redirects=False
    )


def tokens_in(folder: Path, **listen: Any) -> tuple[Guard, dict[str, str]]:
    """A guard with the tokens of the viewer `vic` and the operator `ana`."""
    path = folder / "tokens"
    vic, ana = new_token("vic", Role.VIEWER), new_token("ana", Role.OPERATOR)
    write_tokens(path, (vic[1], ana[1]))
    return build_guard(ListenConfig(tokens_file=path, **listen)), {"vic": vic[0], "ana": ana[0]}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def fill(history: History, now: float = NOW) -> None:
    """A bit of everything that is kept about `chat`."""
    history.record_target("quiet", kind="worker", url="http://127.0.0.1:9", at=1.0)
    larger = LIVE.with_values(max_num_seqs=32)
    history.set_incumbent("chat", LIVE, at=now - 900, why="as it was found")
    history.set_incumbent("chat", larger, at=now - 100, why="won its test")
    history.heartbeat("d1", "chat", at=now - 3, sentence="held: idle", mode="active")
    for number in range(5):
        test = experiment(f"t{number}", [0.1, 0.2], Plan())
        history.record_experiment(test, at=now - 500 + number)
        if number < 4:
            history.record_experiment(closed(test, Verdict.ACCEPTED), at=now - 400 + number)
        history.record_decision("chat", "HOLD", f"reason {number}", at=now - 90 + number)
    for name in ("HighTTFT", "Drift"):
        history.record_alert(Alert(name, name, "warning", "chat", f"{name}!", now - 50), now)
    over = Alert("Old", "Old", "info", "chat", "it was", now - 9000, now - 8000)
    history.record_alert(over, now)
    nan = float("nan")
    history.append_samples("chat", [("ttft_s", now - 600, 0.5), ("ttft_s", now - 300, nan)])
    history.append_samples("chat", [("kv_usage", now - 300, 0.7)])
    points = (ForecastPoint(now, 0.6, 0.4, 0.8), ForecastPoint(now + 300, 0.7, 0.5, 0.9))
    history.record_forecast("chat", Forecast("ttft_s", now - 10, "robust", points, "few points"))
    history.record_anomalies("chat", [AnomalyScore("ttft_s", now - 600, 0.5, 0.1, 4.0, True)])
    history.release_agent(AgentRelease(now - 80, "chat", "v3", "v2", "abc", "/x", "better"))
    checks = [
        ModelCheck(now - 70 + k, "ttft_s", 1.0, measured) for k, measured in enumerate((2, 1))
    ]
    history.record_model_checks("chat", checks)
    history.record_intake(Intake("chat", now - 70, "a.jsonl", "0" * 64, 1, read=5, kept=3))
    history.record_fine_tune(FineTune("chat", "v1", "base", (1,), now - 70, now - 70))
    history.ask("chat", "resume", "ana@10.0.0.7", now - 60)
