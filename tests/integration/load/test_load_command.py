"""`autotuner load` and its blocking call against a server in a thread."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from autotuner.load.command import load_command

pytestmark = pytest.mark.process


@contextlib.contextmanager
def serving(status: int = 200) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A completion server: its address, and the bodies that it was sent."""
    bodies: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(200, json.dumps({"data": [{"id": "tiny"}]}).encode())

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            bodies.append(body)
            tokens = b"".join(
                b'data: {"choices":[{"text":" w","finish_reason":null}]}\n\n'
                for _ in range(body["max_tokens"])
            )
            self.answer(status, tokens + b"data: [DONE]\n\n")

        def answer(self, code: int, content: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", bodies
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def command(*words: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(load_command)
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    return done.exit_code, done.output


def test_the_command_prints_a_table_and_writes_json(tmp_path: Path) -> None:
    mix = tmp_path / "mix.yaml"
    mix.write_text("- {prompt: [5, 9], output: [2, 3]}\n")
    out = tmp_path / "report.json"
    with serving() as (url, _):
        code, shown = command(
            *("--url", url, "--rate", "40", "--duration-s", "0.5", "--arrivals", "constant"),
            *("--mix", str(mix), "--slo-ttft-s", "5", "--slo-gap-s", "5", "--json", str(out)),
        )
    assert code == 0
    assert "attainment" in shown
    told = json.loads(out.read_text())
    assert told["requests"] == told["served"] == told["good"] == 20
    assert told["offered_rps"] == pytest.approx(40)
    assert told["load"]["planned"] == 20


def test_the_command_replays_a_trace(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    rows = [{"timestamp": i * 100, "input_length": 7, "output_length": 900} for i in range(10)]
    trace.write_text("\n".join(json.dumps(row) for row in rows))
    out = tmp_path / "report.json"
    with serving() as (url, bodies):
        code, _ = command(
            *("--url", url, "--trace", str(trace), "--time-scale", "0.1", "--limit", "5"),
            *("--max-output-tokens", "2", "--json", str(out)),
        )
    assert code == 0
    assert json.loads(out.read_text())["served"] == 5
    assert {body["max_tokens"] for body in bodies} == {2}


def test_the_command_fails_when_nothing_was_served() -> None:
    with serving(status=503) as (url, _):
        code, shown = command("--url", url, "--rate", "20", "--duration-s", "0.3", "--seed", "1")
    assert code == 1
    assert "rejected" in shown


def test_a_process_ends_cleanly_on_sigterm(tmp_path: Path) -> None:
    program = (
        "import sys; from autotuner.load.runner import LoadOptions, generate\n"
        "from autotuner.load.plan import PlannedRequest\n"
        "plan = tuple(PlannedRequest(at, 8, 2) for at in (0.0, 3600.0))\n"
        "run = generate(LoadOptions(sys.argv[1], plan), lambda r: print('one', flush=True))\n"
        "print(run.stopped, len(run.results))\n"
    )
    with (
        serving() as (url, _),
        subprocess.Popen(
            [sys.executable, "-c", program, url], stdout=subprocess.PIPE, text=True
        ) as child,
    ):
        assert child.stdout is not None
        assert child.stdout.readline() == "one\n"
        child.send_signal(signal.SIGTERM)
        rest = child.stdout.read()
        assert child.wait(20) == 0
    assert rest.split() == ["True", "1"]
