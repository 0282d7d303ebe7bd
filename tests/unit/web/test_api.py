"""The API's routes: what they answer, what acts leave in the history, and how mistakes are told."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from autotuner.domain.errors import HistoryUnavailableError
from autotuner.history.records import Ask
from autotuner.history.store import History
from autotuner.web.sources import Glimpse
from tests.unit.web.house import ACT, app_of, bearer, client_of, tokens_in

API = "/api/v1"


@pytest.fixture
def history(recent: History) -> History:
    return recent


@pytest.fixture
def client(history: History) -> TestClient:
    return client_of(app_of(history), **ACT)


def get(client: TestClient, path: str) -> Any:
    answer = client.get(API + path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer: Any, status: int) -> dict[str, str]:
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert told["error"]
    first: dict[str, str] = told["problems"][0]
    assert set(first) == {"field", "value", "fix"}
    return first


# ---- reading
def test_every_reading_route_answers(client: TestClient) -> None:
    assert [one["name"] for one in get(client, "/fleet")["targets"]] == ["chat", "quiet"]
    assert get(client, "/targets/chat")["line"]["mode"] == "active"
    assert get(client, "/targets/chat/series/ttft_s")["forecast_model"] == "robust"
    assert len(get(client, "/targets/chat/decisions?limit=2")["items"]) == 2
    assert get(client, "/targets/chat/agent")["releases"][0]["version"] == "v3"
    learnt = get(client, "/targets/chat/learning")
    assert learnt["weights"] == "base"
    assert (learnt["intakes"][0]["kept"], learnt["intakes"][0]["seconds"]) == (3, None)
    assert (learnt["fine_tunes"][0]["stage"], learnt["fine_tunes"][0]["new_after"]) == (
        "planned", None,
    )  # fmt: skip
    assert len(get(client, "/experiments?verdict=ACCEPTED")["items"]) == 4
    assert get(client, "/experiments/t0")["power"]["points"]  # keys beyond the schema's are kept
    assert len(get(client, "/alerts?firing=true")) == 2
    assert get(client, "/silences") == []
    assert get(client, "/actions?target=chat")["items"][0]["who"] == "ana@10.0.0.7"


def test_a_page_leads_to_the_next(client: TestClient) -> None:
    first = get(client, "/experiments?limit=3")
    second = get(client, f"/experiments?limit=3&cursor={first['next']}")
    ids = [one["id"] for one in (*first["items"], *second["items"])]
    assert len(set(ids)) == 5
    assert second["next"] is None


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/experiments?limit=0", "limit"), ("/experiments?limit=201", "limit"),
        ("/experiments?limit=x", "limit"), ("/experiments?verdict=GOOD", "verdict"),
        ("/experiments?cursor=%00", "cursor"), ("/targets/chat/decisions?cursor=x", "cursor"),
        ("/alerts?since=nan", "since"), ("/alerts?since=1e300", "since"),
        ("/targets/chat?recent_s=inf", "recent_s"), ("/targets/chat/agent?days=-1", "days"),
        ("/experiments/%00", "experiment_id"), ("/experiments?target=%00", "target"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_field(client: TestClient, path: str, field: str) -> None:
    assert refused(client.get(API + path), 422)["field"] == field


@pytest.mark.parametrize(
    "path",
    [
        "/targets/nix", "/targets/nix/settings", "/targets/nix/decisions", "/targets/nix/agent",
        "/targets/nix/learning", "/targets/nix/series/ttft_s", "/experiments/nix",
        "/experiments?target=nix",
        "/alerts?target=nix", "/actions?target=nix", "/nothing", "/targets/", "/targets/a/b/c/d",
    ],
)  # fmt: skip
def test_unknown_names_are_404(client: TestClient, path: str) -> None:
    refused(client.get(API + path), 404)


def test_a_history_that_is_away_is_503_and_no_traceback(history: History) -> None:
    def away(_target: str) -> Glimpse | None:
        raise HistoryUnavailableError("the database does not answer")

    answer = client_of(app_of(history, live=away)).get(f"{API}/targets/chat")
    assert answer.status_code == 503
    assert "does not answer" in answer.json()["error"]


def test_a_fault_of_ours_tells_nothing_of_itself(history: History) -> None:
    def broken(_target: str) -> Glimpse | None:
        raise RuntimeError("s3cret")

    answer = client_of(app_of(history, live=broken)).get(f"{API}/targets/chat")
    assert answer.status_code == 500
    assert "s3cret" not in answer.text


# ---- acting
@pytest.mark.parametrize("what", ["pause", "resume", "rollback"])
def test_a_wish_is_what_the_command_line_leaves(
    client: TestClient, history: History, what: str
) -> None:
    history.take_controls("chat", time.time())
    answer = client.post(f"{API}/targets/chat/{what}", json={"note": "node 7"})
    assert answer.status_code == 202
    [taken] = history.take_controls("chat", time.time())
    assert (taken.what, taken.note, taken.payload) == (Ask(what), "node 7", None)
    assert taken.who == answer.json()["who"] == "loopback@testclient"


def test_stopping_names_the_experiment(client: TestClient, history: History) -> None:
    history.take_controls("chat", time.time())
    assert client.post(f"{API}/experiments/t4/stop").status_code == 202
    [taken] = history.take_controls("chat", time.time())
    assert (taken.what, taken.note) == (Ask.STOP, "t4")
    assert "ended already" in refused(client.post(f"{API}/experiments/t0/stop"), 409)["fix"]
    refused(client.post(f"{API}/experiments/nix/stop"), 404)
    assert history.take_controls("chat", time.time()) == []


def test_a_waiting_request_is_withdrawn(client: TestClient, history: History) -> None:
    number = history.ask("chat", Ask.EXPERIMENT, "bob", 1.0, payload={"changes": {}, "plan": {}})
    assert client.post(f"{API}/experiments/{number}/stop").status_code == 202
    request = history.control(number)
    assert request is not None
    assert request.result == "withdrawn by loopback@testclient"
    refused(client.post(f"{API}/experiments/{number}/stop"), 409)


def test_silences_begin_and_end_with_their_authors(client: TestClient, history: History) -> None:
    body = {"lasting": "2h", "comment": "drained", "alert": "Drift", "labels": {"tier": "node"}}
    made = client.post(f"{API}/silences", json=body)
    assert made.status_code == 201
    silence = made.json()
    assert silence["ends_at"] - silence["starts_at"] == pytest.approx(7200)
    assert silence["author"] == "loopback@testclient"
    assert history.silences()[0].labels == (("tier", "node"),)
    ended = client.post(f"{API}/silences/{silence['id']}/end")
    assert ended.json()["state"] == "ended"
    assert ended.json()["comment"] == "drained (ended by loopback@testclient)"
    refused(client.post(f"{API}/silences/{silence['id']}/end"), 409)
    refused(client.post(f"{API}/silences/99/end"), 404)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"lasting": "2"}, "lasting"), ({"lasting": "9999999999w"}, "lasting"),
        ({"lasting": "0s"}, "lasting"), ({"comment": " "}, "comment"),
        ({"target": ""}, "everything"), ({"everything": True}, "everything"),
        ({"comment": "a\u0000b"}, "comment"), ({"comment": "x" * 501}, "comment"),
        ({"labels": {"a": 1}}, "labels.a"), ({"sever": 1}, "sever"), ({"target": None}, "target"),
        ({"labels": {f"k{i}": "v" for i in range(21)}}, "labels"),
    ],
)  # fmt: skip
def test_a_silence_that_makes_no_sense_is_refused(
    client: TestClient, history: History, change: dict[str, Any], field: str
) -> None:
    body = {"lasting": "2h", "comment": "c", "target": "chat"} | change
    assert refused(client.post(f"{API}/silences", json=body), 422)["field"] == field
    assert history.silences() == ()


def test_half_a_surrogate_pair_is_told_and_not_stored(client: TestClient, history: History) -> None:
    for body in (
        b'{"lasting": "2h", "comment": "\\ud800", "target": "chat"}',
        b'{"lasting": "2h", "comment": "c", "target": "chat", "labels": {"\\ud800": "x"}}',
        b'{"lasting": "2h", "comment": "c", "target": "chat", "\\ud800": "x"}',
    ):
        answer = client.post(
            f"{API}/silences", content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 422
    assert history.silences() == ()


def test_no_answer_and_no_log_tells_a_token(
    history: History, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guard, tokens = tokens_in(tmp_path)
    client = client_of(app_of(history, guard))
    answers = [
        client.post(f"{API}/targets/chat/pause", headers=bearer(tokens["ana"])),
        client.get(f"{API}/fleet", headers=bearer(tokens["ana"] + "x")),
        client.post("/login", json={"token": tokens["ana"] + "x"}, headers=ACT),
        client.post("/login", content=tokens["ana"], headers=ACT),
        client.get(f"{API}/actions", headers=bearer(tokens["vic"])),
    ]
    printed = capsys.readouterr()
    everything = printed.out + printed.err + "".join(one.text for one in answers)
    assert "ana@testclient" in everything
    for token in tokens.values():
        assert token[4:] not in everything
    assert tokens["ana"][4:] not in (tmp_path / "h.sqlite3").read_bytes().decode("latin-1")


# ---- its description
def test_openapi_describes_every_route_and_its_failures(client: TestClient) -> None:
    told = client.get(f"{API}/openapi.json").json()
    assert "HTTPBearer" in told["components"]["securitySchemes"]
    operations = [one for path in told["paths"].values() for one in path.values()]
    assert len(operations) == 21
    for operation in operations:
        assert operation["description"]
        assert {"401", "422", "503"} <= set(operation["responses"])
        failure = operation["responses"]["422"]["content"]["application/json"]["schema"]
        assert failure["$ref"].endswith("/ErrorBody")
    ids = [one["operationId"] for one in operations]
    assert len(set(ids)) == len(ids)


def test_acting_needs_post(client: TestClient, history: History) -> None:
    ask: Callable[..., Any]
    for ask in (client.get, client.put, client.delete, client.patch, client.head, client.options):
        assert ask(f"{API}/targets/chat/pause").status_code == 405
    assert len(history.controls()) == 1  # what `fill` asked
