"""Who comes in, who may act, and what is told of those who may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from autotuner.history.store import History
from autotuner.web.guard import ACTS, FAILURES, Guard
from autotuner.web.pace import Pace
from autotuner.web.tokens import Role, new_token, write_tokens
from tests.unit.web.house import ACT, app_of, bearer, client_of, tokens_in

PAUSE = "/api/v1/targets/chat/pause"
FLEET = "/api/v1/fleet"


def asked(history: History) -> list[tuple[str, str]]:
    return [(one.what.value, one.who) for one in history.controls()]


# ---- loopback, without tokens
def test_loopback_reads_freely_and_acts_with_the_header(history: History) -> None:
    client = client_of(app_of(history))
    assert client.get(FLEET).status_code == 200
    assert client.post(PAUSE).status_code == 403
    assert asked(history) == []
    assert client.post(PAUSE, headers=ACT).status_code == 202
    assert asked(history) == [("pause", "loopback@testclient")]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://evil.example", **ACT},
    ],
)
def test_a_foreign_page_changes_nothing(history: History, headers: dict[str, str]) -> None:
    client = client_of(app_of(history))
    for path in (PAUSE, "/api/v1/silences", "/api/v1/silences/1/end", "/api/v1/experiments/x/stop"):
        assert client.post(path, headers=headers, json={}).status_code in (403, 422)
    assert asked(history) == []
    assert history.silences() == ()


def test_a_rebound_name_reads_nothing(history: History) -> None:
    client = client_of(app_of(history), base="http://evil.example")
    for path in (FLEET, "/health", "/metrics", "/api/v1/openapi.json"):
        answer = client.get(path)
        assert answer.status_code == 421
        assert "listen.hosts" in answer.json()["error"]


# ---- with tokens
def test_nobody_comes_in_without_a_token(history: History, tmp_path: Path) -> None:
    guard, _ = tokens_in(tmp_path)
    client = client_of(app_of(history, guard))
    for headers in ({}, ACT, bearer("att_wrong"), {"Authorization": "Basic dmljOng="}):
        answer = client.get(FLEET, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert client.post(PAUSE, headers=headers).status_code == 401
    assert asked(history) == []
    assert client.get("/health").status_code == 200


def test_a_viewer_reads_and_an_operator_acts(history: History, tmp_path: Path) -> None:
    guard, tokens = tokens_in(tmp_path)
    client = client_of(app_of(history, guard))
    viewer, operator = bearer(tokens["vic"]), bearer(tokens["ana"])
    assert client.get(FLEET, headers=viewer).status_code == 200
    refused = client.post(PAUSE, headers=viewer)
    assert refused.status_code == 403
    assert "operator" in refused.json()["problems"][0]["fix"]
    assert asked(history) == []
    assert client.post(PAUSE, headers=operator).status_code == 202
    assert asked(history) == [("pause", "ana@testclient")]
    assert client.get("/api/v1/me", headers=viewer).json()["role"] == "viewer"


def test_a_token_that_was_taken_out_ends_at_once(history: History, tmp_path: Path) -> None:
    guard, tokens = tokens_in(tmp_path)
    client = client_of(app_of(history, guard))
    assert client.get(FLEET, headers=bearer(tokens["ana"])).status_code == 200
    write_tokens(tmp_path / "tokens", (new_token("eve", Role.VIEWER)[1],))
    assert client.get(FLEET, headers=bearer(tokens["ana"])).status_code == 401


def test_many_wrong_tokens_are_held_up_but_a_right_one_passes(
    history: History, tmp_path: Path
) -> None:
    guard, tokens = tokens_in(tmp_path)
    client = client_of(app_of(history, guard))
    wrong = [client.get(FLEET, headers=bearer(f"att_{k}")) for k in range(FAILURES[0] + 1)]
    assert [one.status_code for one in wrong] == [401] * FAILURES[0] + [429]
    assert int(wrong[-1].headers["Retry-After"]) >= 1
    assert client.get(FLEET, headers=bearer(tokens["vic"])).status_code == 200


def test_acting_has_a_pace(history: History) -> None:
    pace = Pace(ACTS[0], every_s=3600.0)  # none is free again while this runs, however slowly
    client = client_of(app_of(history, Guard(acting=pace)))
    seen = [client.post(PAUSE, headers=ACT).status_code for _ in range(ACTS[0] + 1)]
    assert seen == [202] * ACTS[0] + [429]
    assert len(asked(history)) == ACTS[0]
    assert client.get(FLEET).status_code == 200


def test_metrics_can_be_closed(history: History, tmp_path: Path) -> None:
    guard, tokens = tokens_in(tmp_path, open_metrics=False)
    client = client_of(app_of(history, guard))
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers=bearer(tokens["vic"])).status_code == 200


# ---- sessions of browsers
FORM = {"Origin": "http://localhost"}


def logged_in(client: TestClient, token: str) -> Any:
    return client.post("/login", data={"token": token}, headers=FORM)


def test_a_form_logs_in_and_out(history: History, tmp_path: Path) -> None:
    guard, tokens = tokens_in(tmp_path)
    client = client_of(app_of(history, guard))
    answer = logged_in(client, tokens["ana"])
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    cookie = answer.headers["Set-Cookie"]
    assert tokens["ana"] not in cookie
    for part in ("HttpOnly", "SameSite=strict", "Path=/"):
        assert part in cookie
    assert client.get("/api/v1/me").json()["name"] == "ana"
    out = client.post("/logout", headers={**FORM, "Content-Type": FORM_TYPE})
    assert (out.status_code, out.headers["Location"]) == (303, "/login")
    assert client.get("/api/v1/me").status_code == 401


FORM_TYPE = "application/x-www-form-urlencoded"


def test_an_ended_session_is_not_only_forgotten_by_the_browser(
    history: History, tmp_path: Path
) -> None:
    guard, tokens = tokens_in(tmp_path)
    client = client_of(app_of(history, guard))
    logged_in(client, tokens["ana"])
    kept = client.cookies[guard.cookie]
    client.post("/logout", headers=ACT)
    client.cookies.set(guard.cookie, kept)
    assert client.get(FLEET).status_code == 401


def test_a_session_acts_from_our_page_alone(history: History, tmp_path: Path) -> None:
    guard, tokens = tokens_in(tmp_path)
    client = client_of(app_of(history, guard))
    logged_in(client, tokens["ana"])
    assert client.post(PAUSE).status_code == 403
    assert client.post(PAUSE, headers={"Origin": "http://evil.example"}).status_code == 403
    assert asked(history) == []
    assert client.post(PAUSE, headers=FORM).status_code == 202


def test_a_session_ends_with_its_token(history: History, tmp_path: Path) -> None:
    guard, tokens = tokens_in(tmp_path)
    client = client_of(app_of(history, guard))
    logged_in(client, tokens["vic"])
    assert client.get(FLEET).status_code == 200
    # The same name with another token, or role, is another person's session.
    write_tokens(tmp_path / "tokens", (new_token("vic", Role.OPERATOR)[1],))
    assert client.get(FLEET).status_code == 401


def test_a_wrong_token_begins_no_session(history: History, tmp_path: Path) -> None:
    guard, _ = tokens_in(tmp_path)
    client = client_of(app_of(history, guard))
    answer = logged_in(client, "att_wrong")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/login?failed=1")
    assert "Set-Cookie" not in answer.headers
    assert client.post("/login", json={"token": "x"}, headers=ACT).status_code == 401
    for body in ("", "[]", '{"token": 3}', "{", "[" * 50_000):
        answer = client.post("/login", content=body, headers=ACT)
        assert answer.status_code == 422


def test_a_foreign_page_logs_nobody_in(history: History, tmp_path: Path) -> None:
    guard, tokens = tokens_in(tmp_path)
    client = client_of(app_of(history, guard))
    answer = client.post(
        "/login", data={"token": tokens["ana"]}, headers={"Origin": "http://evil.example"}
    )
    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers


def test_json_logs_in_as_well(history: History, tmp_path: Path) -> None:
    guard, tokens = tokens_in(tmp_path)
    client = client_of(app_of(history, guard))
    assert client.post("/login", json={"token": tokens["vic"]}, headers=ACT).status_code == 204
    assert client.get("/api/v1/me").json()["name"] == "vic"
    assert client.post("/logout", headers=ACT).status_code == 204
    assert client.get("/api/v1/me").status_code == 401


def test_with_tls_the_cookie_is_for_tls_alone(history: History, tmp_path: Path) -> None:
    guard, tokens = tokens_in(tmp_path, tls_cert="c.pem", tls_key="k.pem")
    client = client_of(app_of(history, guard), base="https://localhost")
    answer = client.post("/login", json={"token": tokens["vic"]}, headers=ACT)
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-autotuner-9187=")
    assert "Secure" in cookie
    assert "max-age=31536000" in answer.headers["Strict-Transport-Security"]


def test_without_tokens_there_is_nothing_to_log_in_with(history: History) -> None:
    client = client_of(app_of(history, Guard()))
    assert client.post("/login", json={"token": "x"}, headers=ACT).status_code == 409
