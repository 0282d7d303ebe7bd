"""The routes: who is let in, what is asked of the daemon, and failures as pages with a fix."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from html import unescape
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry

from autotuner.history.records import Ask
from autotuner.history.store import History
from autotuner.web.app import create_app
from autotuner.web.guard import Guard
from autotuner.web.pages.router import pages_router
from autotuner.web.session_routes import session_routes
from tests.unit.web.house import tokens_in
from tests.unit.web_pages.filled import HOSTILE, NOW, sources
from tests.unit.web_pages.reader import faults, read

BASE = "http://localhost"
FORM = {"Origin": BASE, "Sec-Fetch-Site": "same-origin"}


def client_of(history: History, guard: Guard | None = None) -> TestClient:
    guard = guard or Guard()
    routers = [session_routes(guard), pages_router(sources(history), guard, lambda: NOW)]
    app = create_app(CollectorRegistry(), lambda: (True, {}), routers, guard)
    return TestClient(app, base_url=BASE, follow_redirects=False)


def asked(history: History, target: str = "chat") -> list[tuple[Ask, str, str]]:
    return [(one.what, one.who, one.note) for one in history.take_controls(target, time.time())]


class Answer(Protocol):
    """What an HTTP client gives back."""

    @property
    def status_code(self) -> int: ...

    @property
    def text(self) -> str: ...

    @property
    def headers(self) -> Mapping[str, str]: ...


def page_of(answer: Answer, status: int) -> str:
    """The words of a page that is sound."""
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert faults(answer.text) == []
    return read(answer.text).words


@pytest.mark.parametrize(
    "path",
    ["/", "/targets/chat", "/experiments?text=seqs", "/experiments/exp-000102", "/alerts", "/agent",
     "/learning",     "/targets/chat/pause", "/silences/1/end"],
)  # fmt: skip
def test_every_view_is_a_page_that_nothing_may_break_into(own: History, path: str) -> None:
    answer = client_of(own).get(path)
    page_of(answer, 200)
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'")
    assert answer.headers["cache-control"] == "no-store"
    # Without it a form's Origin would be `null`, and every action refused.
    assert answer.headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("name", ["pause", "resume", "rollback"])
def test_an_action_is_asked_of_the_daemon_and_said(own: History, name: str) -> None:
    client = client_of(own)
    answer = client.post(f"/targets/chat/{name}", headers=FORM)
    assert answer.status_code == 303
    said = page_of(client.get(answer.headers["location"]), 200)
    assert "the daemon acts in its next cycle" in said
    assert f"{name}, asked by loopback@testclient" in said
    assert asked(own) == [(Ask(name), "loopback@testclient", "")]


def test_a_stop_ends_the_test_that_was_seen(own: History) -> None:
    client = client_of(own)
    answer = client.post("/targets/chat/stop", data={"experiment": "exp-000123"}, headers=FORM)
    assert answer.status_code == 303
    assert asked(own) == [(Ask.STOP, "loopback@testclient", "exp-000123")]


@pytest.mark.parametrize("experiment", ["exp-000101", ""])
def test_a_stop_of_a_test_that_is_over_stops_nothing(own: History, experiment: str) -> None:
    answer = client_of(own).post(
        "/targets/chat/stop", data={"experiment": experiment}, headers=FORM
    )
    assert "nothing to stop" in page_of(answer, 409).lower()
    assert asked(own) == []


@pytest.mark.parametrize(
    "headers", [{}, {"Origin": "http://elsewhere.example"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_a_form_from_elsewhere_is_refused(own: History, headers: dict[str, str]) -> None:
    for path in ("/targets/chat/rollback", "/silences", "/silences/1/end"):
        page_of(client_of(own).post(path, headers=headers), 403)
    assert asked(own) == []


def test_a_silence_is_added_and_ended(own: History) -> None:
    client = client_of(own)
    typed = {"target": "chat", "alert": "", "lasting": "2h", "comment": f"fan {HOSTILE}"}
    assert client.post("/silences", data=typed, headers=FORM).status_code == 303
    newest = own.silences()[0]
    assert (newest.author, newest.target) == ("loopback@testclient", "chat")
    assert client.post(f"/silences/{newest.id}/end", headers=FORM).status_code == 303
    assert newest.id not in [one.id for one in own.silences(time.time())]


def test_a_silence_that_makes_no_sense_keeps_what_was_typed(own: History) -> None:
    typed = {"target": "chat", "alert": HOSTILE, "lasting": "soon", "comment": "because"}
    answer = client_of(own).post("/silences", data=typed, headers=FORM)
    assert "give 90s, 30m, 2h" in page_of(answer, 422)
    fields = {o.attributes.get("name"): o.attributes for o in read(answer.text).all("input")}
    assert fields["alert"]["value"] == HOSTILE
    assert fields["lasting"]["value"] == "soon"


@pytest.mark.parametrize(
    ("path", "status", "fix"),
    [
        ("/targets/chatt", 404, "there is"),
        ("/experiments/exp-9", 404, "Give an id"),
        ("/experiments?cursor=%25", 422, "Give a cursor"),
        ("/experiments?target=nobody", 404, "Unknown"),
        ("/targets/chat/explode", 404, "Give one of pause"),
        ("/silences/99/end", 404, "see /alerts"),
        ("/silences/x/end", 422, "Follow a link"),
        ("/static/secrets.txt", 404, "Give one of"),
    ],
)
def test_a_failure_is_a_page_with_a_fix(own: History, path: str, status: int, fix: str) -> None:
    assert fix in page_of(client_of(own).get(path), status)


def test_a_form_that_is_too_large_is_refused(own: History) -> None:
    answer = client_of(own).post("/silences", data={"comment": "x" * 20_000}, headers=FORM)
    assert "at most" in page_of(answer, 413)


def test_a_history_that_does_not_answer_is_a_page(own: History, tmp_path: Path) -> None:
    client = client_of(own)
    own.close()
    for file in tmp_path.glob("history.sqlite3*"):
        file.unlink()
    (tmp_path / "history.sqlite3").mkdir()
    assert "See whether the database runs" in page_of(client.get("/"), 503)


def test_nobody_comes_in_without_a_token(own: History, tmp_path: Path) -> None:
    guard, tokens = tokens_in(tmp_path)
    client = client_of(own, guard)
    assert client.get("/").headers["location"] == "/login"
    for path in ("/targets/chat", "/experiments/exp-000102", "/targets/chat/pause"):
        answer = client.get(path)
        assert answer.status_code == 303
        assert answer.headers["location"] == f"/login?back={quote(path, safe='')}"
    acting = client.post("/targets/chat/pause", headers=FORM)
    assert (acting.status_code, acting.headers["location"]) == (303, "/login")
    login = client.get("/login")
    assert "Paste your token" in page_of(login, 200)
    assert "Fleet" not in read(login.text).words
    refused = client.post("/login", data={"token": "att_wrong"}, headers=FORM)
    assert "not known" in page_of(client.get(refused.headers["location"]), 200)
    client.post("/login", data={"token": tokens["vic"]}, headers=FORM)
    assert "Log out vic" in page_of(client.get("/"), 200)
    assert "Pause" not in page_of(client.get("/targets/chat"), 200)
    page_of(client.post("/targets/chat/pause", headers=FORM), 403)
    assert client.post("/logout", data={"x": "1"}, headers=FORM).headers["location"] == "/login"
    assert client.get("/").status_code == 303
    assert asked(own) == []


@pytest.mark.parametrize(
    "path", ["/experiments?target=chat&text=a%20b", "/targets/b%C3%BCro%20%3F%26", "/alerts"]
)
def test_a_login_leads_back_to_the_page_that_was_asked_for(
    own: History, tmp_path: Path, path: str
) -> None:
    guard, tokens = tokens_in(tmp_path)
    client = client_of(own, guard)
    login = client.get(path).headers["location"]
    assert fields_of(client.get(login).text)["back"] == path
    # A wrong token in between does not lose the way.
    wrong = {"token": "att_wrong", "back": path}
    again = client.post("/login", data=wrong, headers=FORM).headers["location"]
    told = client.get(again).text
    assert "not known" in read(told).words
    right = {"token": tokens["vic"], "back": fields_of(told)["back"]}
    answer = client.post("/login", data=right, headers=FORM)
    assert (answer.status_code, answer.headers["location"]) == (303, path)


ELSEWHERE = [
    "https://elsewhere.example/", "http:elsewhere.example", "//elsewhere.example",
    "///elsewhere.example", "/\\elsewhere.example", "\\\\elsewhere.example", "/x\\..\\..\\y",
    "/\t/elsewhere.example", "\t//elsewhere.example", "/\n/elsewhere.example",
    "javascript:alert(1)",
    "elsewhere.example", "", "/" + "x" * 3000,
]  # fmt: skip


@pytest.mark.parametrize("back", ELSEWHERE)
def test_a_login_leads_nowhere_else(own: History, tmp_path: Path, back: str) -> None:
    guard, tokens = tokens_in(tmp_path)
    client = client_of(own, guard)
    login = client.get("/login", params={"back": back})
    assert "back" not in fields_of(login.text)
    wrong = client.post("/login", data={"token": "x", "back": back}, headers=FORM)
    assert wrong.headers["location"] == "/login?failed=1"
    answer = client.post("/login", data={"token": tokens["vic"], "back": back}, headers=FORM)
    assert answer.headers["location"] == "/"


def test_without_tokens_the_login_leads_on(own: History) -> None:
    client = client_of(own)
    assert client.get("/login?back=/alerts").headers["location"] == "/alerts"
    assert client.get("/login?back=//elsewhere.example").headers["location"] == "/"


def fields_of(page: str) -> dict[str, str]:
    """The login form's hidden fields."""
    form = page.partition('action="/login"')[2].partition("</form>")[0]
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form)
    return {name: unescape(value) for name, value in found}


def test_the_theme_is_kept_and_leads_nowhere_else(own: History) -> None:
    client = client_of(own)
    answer = client.post("/theme", data={"theme": "dark", "back": "/alerts?x=1"}, headers=FORM)
    assert answer.headers["location"] == "/alerts?x=1"
    assert '<html lang="en" data-theme="dark">' in client.get("/").text
    client.post("/theme", data={"theme": "", "back": "/"}, headers=FORM)
    assert '<html lang="en">' in client.get("/").text
    for back in ("https://elsewhere.example", "//elsewhere.example", "/\\elsewhere", "x"):
        answer = client.post("/theme", data={"theme": "light", "back": back}, headers=FORM)
        assert answer.headers["location"] == "/"


def test_style_script_and_icon_are_served(own: History) -> None:
    client = client_of(own)
    for name, kind in (("page.css", "css"), ("page.js", "javascript"), ("icon.svg", "svg")):
        answer = client.get(f"/static/{name}")
        assert answer.status_code == 200
        assert kind in answer.headers["content-type"]
