"""An Alertmanager's webhook over real HTTP: who may come in, and what is answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client import CollectorRegistry

from autotuner.bootstrap import build_alerts_in
from autotuner.config import parse_config
from autotuner.domain.errors import ConfigError, HistoryError
from autotuner.domain.mode import Mode
from autotuner.history.store import History, open_history
from autotuner.web.alerts_in import MAX_BODY_BYTES, PATH, Take, alerts_in_router
from autotuner.web.app import WebServer, create_app
from tests.integration.alerts.receiver import free_port

pytestmark = pytest.mark.process

TOKEN = "t0ken"
FIRING = {
    "status": "firing",
    "alerts": [{"labels": {"alertname": "NodeDrain", "autotuner": "pause", "target": "chat"}}],
}


class Door:
    """The daemon's web server with alerts let in."""

    def __init__(self, folder: Path, take: Take | None = None) -> None:
        (folder / "token").write_text(f"{TOKEN}\n")
        config = parse_config(
            {
                "history": f"sqlite:///{folder / 'history.sqlite3'}",
                "targets": [{"name": "chat", "url": "http://127.0.0.1:1"}],
                "alerts_in": {"token_file": str(folder / "token")},
            }
        )
        self.history: History = open_history(config.history)
        self.history.record_target("chat", kind="worker", url="u", at=1.0)
        heard = build_alerts_in(config, self.history)
        assert heard is not None
        router = alerts_in_router(take or heard[0].take, heard[1])
        self.port = free_port()
        app = create_app(CollectorRegistry(), lambda: (True, {}), [router])
        self._server = WebServer(app, "127.0.0.1", self.port)
        self._server.start()
        _wait_for(self.port)

    def post(self, token: str | None = TOKEN, **what: Any) -> requests.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        url = f"http://127.0.0.1:{self.port}{PATH}"
        return requests.post(url, headers=headers, timeout=10, **what)

    def close(self) -> None:
        self._server.stop()
        self.history.close()


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    built = Door(tmp_path)
    yield built
    built.close()


def _wait_for(port: int) -> None:
    session = requests.Session()
    retry = requests.adapters.Retry(total=20, backoff_factor=0.05)
    session.mount("http://", requests.adapters.HTTPAdapter(max_retries=retry))
    session.get(f"http://127.0.0.1:{port}/health", timeout=10).raise_for_status()
    session.close()


def test_an_alert_pauses_and_lets_go(door: Door) -> None:
    answer = door.post(json=FIRING)
    assert (answer.status_code, answer.json()) == (
        200,
        {"results": ["chat: NodeDrain pauses tuning"]},
    )
    assert door.history.asked_mode("chat") is Mode.PAUSED
    assert door.post(json=FIRING).json() == {"results": ["chat: NodeDrain: known already"]}
    assert door.post(json={**FIRING, "status": "resolved"}).ok
    assert door.history.asked_mode("chat") is Mode.ACTIVE


@pytest.mark.parametrize("token", [None, "", "wrong", "größer".encode().decode("latin-1")])
def test_without_the_token_nothing_happens(door: Door, token: str | None) -> None:
    answer = door.post(token, json=FIRING)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert TOKEN not in answer.text
    assert door.history.asked_modes("chat") == []


def test_what_is_not_understood_is_refused_with_its_reason(door: Door) -> None:
    for body, words in (
        (b"{", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "body: expected an object, found list"),
    ):
        answer = door.post(data=body)
        assert answer.status_code == 400
        assert words in answer.json()["error"]
    assert door.history.asked_modes("chat") == []


def test_a_body_without_end_is_cut_off(door: Door) -> None:
    answer = door.post(data=b" " * (MAX_BODY_BYTES + 1))
    assert answer.status_code == 413


def test_while_the_history_fails_it_is_to_be_sent_again(tmp_path: Path) -> None:
    def fail(_body: Any, _now: float) -> Sequence[str]:
        raise HistoryError("the disk is full")

    door = Door(tmp_path, fail)
    try:
        answer = door.post(json=FIRING)
    finally:
        door.close()
    assert (answer.status_code, answer.json()) == (503, {"error": "the disk is full"})


def test_without_alerts_in_there_is_no_door(tmp_path: Path) -> None:
    targets = [{"name": "chat", "url": "http://127.0.0.1:1"}]
    history = open_history(f"sqlite:///{tmp_path / 'history.sqlite3'}")
    assert build_alerts_in(parse_config({"targets": targets}), history) is None
    missing = parse_config(
        {"targets": targets, "alerts_in": {"token_file": str(tmp_path / "missing")}}
    )
    with pytest.raises(ConfigError, match=r"alerts_in\.token_file=.*can't be read"):
        build_alerts_in(missing, history)
    history.close()
