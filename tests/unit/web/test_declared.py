"""Tests declared over HTTP: what the history holds then, and what is refused with which fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from autotuner.domain.experiment import Plan, Verdict
from autotuner.history.store import History
from tests.integration.commands.support import closed, experiment
from tests.unit.web.house import ACT, LIVE, app_of, bearer, client_of, tokens_in

EXPERIMENTS = "/api/v1/experiments"
REQUESTS = "/api/v1/requests"
TEST: dict[str, Any] = {
    "target": "chat", "name": "larger batch", "note": "for the launch",
    "changes": {"max_num_seqs": 32}, "experiment": {"max_pairs": 8},
}  # fmt: skip


@pytest.fixture
def client(history: History) -> TestClient:
    return client_of(app_of(history), **ACT)


def test_a_declared_test_waits_for_the_daemon(client: TestClient, history: History) -> None:
    answer = client.post(EXPERIMENTS, json=TEST)
    assert answer.status_code == 202
    waiting = history.next_declared("chat")
    assert waiting is not None
    assert waiting.payload == {"changes": {"max_num_seqs": 32}, "plan": {"max_pairs": 8}}
    assert waiting.note == "larger batch: for the launch"
    told = answer.json()
    assert (told["request"], told["who"]) == (waiting.id, "loopback@testclient")
    assert (told["taken_at"], told["experiment"], told["result"]) == (None, None, None)
    assert client.get(REQUESTS).json()["items"] == [told]
    [kept] = client.get("/api/v1/actions").json()["items"]
    assert (kept["what"], kept["id"]) == ("experiment", waiting.id)


def test_it_can_be_withdrawn(client: TestClient, history: History) -> None:
    number = client.post(EXPERIMENTS, json=TEST).json()["request"]
    assert client.post(f"{EXPERIMENTS}/{number}/stop").status_code == 202
    assert history.next_declared("chat") is None
    [told] = client.get(REQUESTS).json()["items"]
    assert told["result"] == "withdrawn by loopback@testclient"
    assert client.post(f"{EXPERIMENTS}/{number}/stop").status_code == 409


def test_what_became_of_it_is_told(client: TestClient, history: History) -> None:
    number = client.post(EXPERIMENTS, json=TEST).json()["request"]
    test = experiment("e1", [0.1, 0.2], Plan())
    history.record_experiment(test, at=5.0)
    history.take_control(number, 5.0, experiment_id="e1")
    [running] = client.get(REQUESTS).json()["items"]
    assert (running["experiment"], running["verdict"]) == ("e1", None)
    history.record_experiment(closed(test, Verdict.REJECTED), at=6.0)
    [done] = client.get(REQUESTS).json()["items"]
    assert done["verdict"] == "REJECTED"


def test_requests_come_in_pages_and_of_one_target(client: TestClient) -> None:
    for name in ("a", "b", "c"):
        client.post(EXPERIMENTS, json=TEST | {"name": name})
    client.post(EXPERIMENTS, json={"target": "new", "name": "A/A"})
    first = client.get(REQUESTS, params={"target": "chat", "limit": 2}).json()
    rest = client.get(REQUESTS, params={"target": "chat", "cursor": first["next"]}).json()
    names = [one["note"].partition(":")[0] for one in (*first["items"], *rest["items"])]
    assert (names, rest["next"]) == (["c", "b", "a"], None)
    assert client.get(REQUESTS, params={"target": "nobody"}).status_code == 404


def test_a_target_whose_daemon_has_never_run(client: TestClient, history: History) -> None:
    assert client.post(EXPERIMENTS, json={"target": "new", "name": "A/A"}).status_code == 202
    assert "new" in history.targets()


@pytest.mark.parametrize(
    ("changed", "status", "field", "fix"),
    [
        ({"target": "quiet"}, 404, "target", "it drives chat, new"),
        ({"name": ""}, 422, "name", "at least 1 character"),
        ({"name": "a\x00b"}, 422, "name", "can't be printed"),
        ({"note": "x" * 501}, 422, "note", "shorten it"),
        ({"chnges": {}}, 422, "chnges", "not permitted"),
        ({"changes": {"speed": 3}}, 422, "changes.speed", "does not tune this knob; give one of"),
        ({"changes": {"max_num_seqs": 3}}, 422, "changes.max_num_seqs", "give one of [1, 2"),
        ({"changes": {"max_num_seqs": 16}}, 422, "changes", "is live already: give other values"),
        ({"experiment": {"slot_s": -1}}, 422, "experiment.slot_s", "greater than 0"),
        ({"experiment": {"slot_s": 6}}, 422, "experiment", "leaves nothing of slot_s"),
        ({"experiment": {"outcome": "luck"}}, 422, "experiment.outcome", ""),
    ],
)
def test_what_can_not_be_run_is_refused_with_the_fix(
    client: TestClient,
    history: History,
    changed: dict[str, Any],
    status: int,
    field: str,
    fix: str,
) -> None:
    history.set_incumbent("chat", LIVE, at=1.0, why="as it was found")
    answer = client.post(EXPERIMENTS, json=TEST | changed)
    assert answer.status_code == status, answer.text
    [problem] = answer.json()["problems"]
    assert problem["field"] == field, problem
    assert fix in problem["fix"], problem
    assert history.declared() == []


@pytest.mark.parametrize("number", ["Infinity", "NaN", "1e999"])
def test_what_no_database_holds_is_refused(
    client: TestClient, history: History, number: str
) -> None:
    told = '{"target": "chat", "name": "x", "experiment": {"slot_s": NUMBER}}'
    body = told.replace("NUMBER", number)
    answer = client.post(EXPERIMENTS, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert history.declared() == []


def test_only_an_operator_declares(history: History, tmp_path: Path) -> None:
    guard, tokens = tokens_in(tmp_path)
    client = client_of(app_of(history, guard))
    assert client.post(EXPERIMENTS, json=TEST).status_code == 401
    assert client.post(EXPERIMENTS, json=TEST, headers=bearer(tokens["vic"])).status_code == 403
    assert client.get(REQUESTS, headers=bearer(tokens["vic"])).json()["items"] == []
    answer = client.post(EXPERIMENTS, json=TEST, headers=bearer(tokens["ana"]))
    assert answer.json()["who"] == "ana@testclient"
