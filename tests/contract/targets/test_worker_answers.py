"""What the worker's adapter makes of each kind of answer, good or bad, over a real socket."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from autotuner.domain.errors import (
    SettingsRefusedError,
    StaleGenerationError,
    TargetError,
    TargetUnavailableError,
)
from autotuner.domain.knobs import Settings
from autotuner.domain.ports import LiveSettings
from autotuner.domain.telemetry import FeedbackScore, ProbeReading
from autotuner.targets.worker import WorkerTarget

pytestmark = pytest.mark.process

SETTINGS: dict[str, Any] = {
    "boot_id": "b",
    "generation": 4,
    "applied_at": 1.0,
    "now": 2,
    "settings": {"max_num_seqs": 8},
    "capabilities": {},
    "told_by_a_newer_worker": True,
}
EXPOSURE: dict[str, Any] = {
    "id": "cmpl-1",
    "generation_start": 2,
    "generation_end": 3,
    "arrival": 1769.2,
    "queue_s": 0.01,
    "ttft_s": None,
    "tpot_s": None,
    "gap_max_s": None,
    "e2el_s": 1.9,
    "prompt_tokens": 120,
    "output_tokens": 0,
    "cached_tokens": 0,
    "outcome": "rejected",
}
LIVE = LiveSettings({"max_num_seqs": 8}, 3, "b", 1.0, 2.0)


@dataclass
class Scripted:
    """Answers what it is told to; keeps what it was asked."""

    answers: list[tuple[int, Any]]
    url: str = ""
    delay_s: float = 0.0
    asked: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)


@contextlib.contextmanager
def answering(*answers: tuple[int, Any], delay_s: float = 0.0) -> Iterator[Scripted]:
    """A server that gives these answers in turn; a status of 0 hangs up."""
    script = Scripted(list(answers), delay_s=delay_s)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer(None)

        def do_PUT(self) -> None:
            self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def do_POST(self) -> None:
            self.do_PUT()

        def answer(self, body: Any) -> None:
            script.asked.append((self.command, self.path, dict(self.headers), body))
            status, said = script.answers.pop(0)
            time.sleep(script.delay_s)
            if status == 0:
                self.close_connection = True
                return
            content = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            if status in (301, 307):
                self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    script.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def apply(script: Scripted, timeout_s: float = 5.0) -> LiveSettings:
    target = WorkerTarget(script.url, timeout_s=timeout_s)
    try:
        return target.apply(Settings({"max_num_seqs": 8}), LIVE, "because")
    finally:
        target.close()


def test_a_change_is_sent_with_what_it_rests_on() -> None:
    with answering((200, SETTINGS)) as script:
        assert apply(script).generation == 4
    method, path, headers, body = script.asked[0]
    assert (method, path) == ("PUT", "/admin/settings")
    assert "Authorization" not in headers
    assert body == {
        "generation": 3,
        "boot_id": "b",
        "settings": {"max_num_seqs": 8},
        "reason": "because",
    }


def test_the_token_goes_with_every_request() -> None:
    with answering((200, SETTINGS), (200, SETTINGS)) as script:
        target = WorkerTarget(script.url + "/", token="secret")
        target.read_settings()
        target.capabilities()
        target.close()
    assert [asked[2]["Authorization"] for asked in script.asked] == ["Bearer secret"] * 2


STALE = {"error": {"type": "stale_generation", "message": "7 runs", "generation": 7}}
REFUSED = {"error": {"type": "invalid_setting", "field": "k", "value": 9, "message": "at most 8"}}


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (409, STALE, StaleGenerationError, "409: 7 runs"),
        (422, REFUSED, SettingsRefusedError, "k=9: at most 8"),
        (401, {"error": {"message": "no"}}, TargetError, "put the worker's admin token into"),
        (403, {}, TargetError, "put the worker's admin token into"),
        (404, b"<html>", TargetError, "404: <html>"),
        (301, b"", TargetError, "301"),
        (500, b"oops", TargetUnavailableError, "500: oops"),
        (503, {"error": {"message": "not confirmed"}}, TargetUnavailableError, "not confirmed"),
        (429, {}, TargetUnavailableError, "429"),
        (0, None, TargetUnavailableError, "no answer"),
        (200, b"{", TargetUnavailableError, "can't be used"),
        (200, {**SETTINGS, "generation": "4"}, TargetUnavailableError, "generation"),
        (200, {**SETTINGS, "generation": 3}, TargetUnavailableError, "without a rise"),
        (
            200,
            {**SETTINGS, "settings": {"max_num_seqs": 2}},
            TargetUnavailableError,
            "max_num_seqs",
        ),
    ],
)
def test_each_refusal_is_told_apart_and_nothing_is_sent_twice(
    status: int, body: Any, error: type[TargetError], said: str
) -> None:
    with answering((status, body), (200, SETTINGS)) as script:
        with pytest.raises(TargetError, match=said) as caught:
            apply(script)
        assert type(caught.value) is error
    assert len(script.asked) == 1


def test_a_change_without_an_answer_is_unknown() -> None:
    with (
        answering((200, SETTINGS), delay_s=1.0) as script,
        pytest.raises(TargetUnavailableError, match="no answer"),
    ):
        apply(script, timeout_s=0.2)


def ring(first: int, count: int, after: int, **other: Any) -> dict[str, Any]:
    rows = [{**EXPOSURE, "seq": first + i} for i in range(count)]
    return {
        "boot_id": "b",
        "now": 5.0,
        "next": first + count - 1 if count else after,
        "oldest": 1,
        "overrun": False,
        "in_flight": {},
        "exposures": rows,
        **other,
    }


def test_a_long_log_is_read_page_by_page() -> None:
    pages = [
        ring(1, 1000, 0, overrun=True),
        ring(1001, 1000, 1000),
        ring(2001, 0, 2000, in_flight={"3": 7}, now=6.0),
    ]
    with answering(*((200, page) for page in pages)) as script:
        target = WorkerTarget(script.url)
        batch = target.exposures(0)
        target.close()
    assert [asked[1].split("?")[1] for asked in script.asked] == [
        f"after={after}&limit=1000" for after in (0, 1000, 2000)
    ]
    assert [e.seq for e in batch.exposures] == list(range(1, 2001))
    assert (batch.next, batch.now, batch.in_flight) == (2000, 6.0, {3: 7})
    assert batch.overrun  # a hole in any page is a hole


def test_a_restart_between_two_pages_is_no_batch() -> None:
    pages = (200, ring(1, 1000, 0)), (200, ring(1, 3, 1000, boot_id="c"))
    with answering(*pages) as script:
        target = WorkerTarget(script.url)
        with pytest.raises(TargetUnavailableError, match="restarted"):
            target.exposures(0)
        target.close()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"exposures": [{**EXPOSURE, "seq": 1, "outcome": "lost"}]}, r"exposures\.0\.outcome"),
        ({"exposures": [{**EXPOSURE, "seq": 1, "e2el_s": None}]}, r"exposures\.0\.e2el_s"),
        ({"in_flight": {"new": 1}}, "in_flight"),
        ({"next": -1}, "next"),
    ],
)
def test_a_log_that_makes_no_sense_names_the_field(change: dict[str, Any], said: str) -> None:
    with answering((200, ring(1, 0, 0, **change))) as script:
        target = WorkerTarget(script.url)
        with pytest.raises(TargetUnavailableError, match=said):
            target.exposures(0)
        target.close()


PROBE: dict[str, Any] = {
    "items": 16,
    "tokens": 376,
    "agreement": 0.963,
    "perplexity": 1.88,
    "mean_log_prob_drop": 0.0017,
    "accuracy": None,
    "seconds": 0.7,
    "generation": 4,
}


def probe(*answers: tuple[int, Any]) -> ProbeReading:
    with answering(*answers) as script:
        target = WorkerTarget(script.url)
        try:
            return target.probe()
        finally:
            target.close()
            assert script.asked[0][:2] == ("POST", "/admin/probe")
            assert script.asked[0][3] == {}


def test_a_probe_is_a_reading_of_the_settings_it_met_at_the_workers_time() -> None:
    assert probe((200, PROBE), (200, SETTINGS)) == ProbeReading(2.0, 4, 0, 0.963)
    right = {**PROBE, "accuracy": 0.5}
    assert probe((200, right), (200, SETTINGS)).accuracy == 0.5


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (409, {"error": {"code": "settings_changed", "message": "probe again"}}, TargetError),
        (500, {"error": {"code": "not_finite", "message": "broken"}}, TargetUnavailableError),
        (503, {"error": {"code": "not_scored", "message": "no engine"}}, TargetUnavailableError),
        (200, {**PROBE, "agreement": 1.2}, TargetUnavailableError),
        (200, {"generation": 4}, TargetUnavailableError),
        (0, None, TargetUnavailableError),
    ],
)
def test_a_probe_that_failed_is_no_reading(status: int, said: Any, kind: type[TargetError]) -> None:
    with pytest.raises(kind):
        probe((status, said))


def scores(count: int, after: int) -> dict[str, Any]:
    rows = [
        {"seq": after + i, "id": f"cmpl-{after + i}", "score": 0.5, "generation_start": 2,
         "generation_end": 2, "at": 5.0 + i, "comment_chars": 3}
        for i in range(1, count + 1)
    ]  # fmt: skip
    edges = {"next": after + count, "oldest": 1, "overrun": False}
    return {"boot_id": "b", "now": 9.0, **edges, "feedback": rows}


def test_scores_are_read_page_by_page_from_a_cursor() -> None:
    with answering((200, scores(1000, 7)), (200, scores(2, 1007))) as script:
        target = WorkerTarget(script.url)
        seen, following = target.feedback(7)
        target.close()
    assert [asked[1] for asked in script.asked] == [
        f"/admin/feedback?after={after}&limit=1000" for after in (7, 1007)
    ]
    assert (len(seen), following) == (1002, 1009)
    assert seen[0] == FeedbackScore(6.0, "cmpl-8", 0.5)


def test_a_score_outside_its_range_is_refused() -> None:
    page = scores(1, 0)
    page["feedback"][0]["score"] = 5
    with answering((200, page)) as script:
        target = WorkerTarget(script.url)
        with pytest.raises(TargetUnavailableError, match=r"feedback\.0\.score"):
            target.feedback(0)
        target.close()
