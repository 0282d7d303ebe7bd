"""What every answer carries, and how large a request may be."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autotuner.history.store import History
from autotuner.web.shell import MAX_BODY_BYTES
from tests.unit.web.house import ACT, app_of, client_of

SILENCES = "/api/v1/silences"
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("path", ["/health", "/metrics", "/api/v1/fleet", "/nothing", "/api/v1/x"])
def test_every_answer_has_the_security_headers(history: History, path: str) -> None:
    headers = client_of(app_of(history)).get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert "Strict-Transport-Security" not in headers
    assert "Access-Control-Allow-Origin" not in headers


def test_refusals_have_them_too(history: History) -> None:
    client = client_of(app_of(history), base="http://evil.example")
    assert client.get("/health").headers["X-Frame-Options"] == "DENY"


def test_a_body_that_says_that_it_is_large_is_not_read(history: History) -> None:
    client = client_of(app_of(history), **ACT, **JSON)
    answer = client.post(SILENCES, content=b"{" + b" " * MAX_BODY_BYTES + b"}")
    assert answer.status_code == 413
    assert answer.json()["problems"][0]["field"] == "body"


def test_a_body_in_pieces_is_read_up_to_the_limit(history: History) -> None:
    def pieces() -> Iterator[bytes]:
        yield b'{"comment": "'
        for _ in range(MAX_BODY_BYTES // 1000 + 1):
            yield b"x" * 1000
        yield b'"}'

    client = client_of(app_of(history), **ACT, **JSON)
    assert client.post(SILENCES, content=pieces()).status_code == 413
    assert history.silences() == ()


def test_a_body_of_just_the_limit_passes_the_shell(history: History) -> None:
    client = client_of(app_of(history), **ACT, **JSON)
    body = b"{}" + b" " * (MAX_BODY_BYTES - 2)
    assert client.post(SILENCES, content=body).status_code == 422  # fields are missing


def test_a_body_without_its_type_is_no_json(history: History) -> None:
    client = client_of(app_of(history), **ACT)
    body = b'{"lasting": "1h", "comment": "c", "everything": true}'
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = client.post(SILENCES, content=body, headers={"Content-Type": kind})
        assert answer.status_code == 422
    assert history.silences() == ()
