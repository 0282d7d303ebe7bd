"""An HTTP proxy between the daemon and the worker that can hold one apply up for as long as wanted.

A phase that lasts as long as an apply lasts milliseconds; behind the gate it lasts until the kill.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests


@dataclass
class Gate:
    """Passes all on to `worker_url`, save the first apply whose reason begins with `holding`.

    That one is held before the worker hears of it, or, with `after_effect`, once it is in force
    and before the daemon hears of that. The daemon never gets an answer to it.
    """

    worker_url: str
    holding: str
    after_effect: bool
    held: threading.Event = field(default_factory=threading.Event)
    _closed: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        gate = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                gate.pass_on(self, b"")

            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if gate.held.is_set() or not json.loads(body)["reason"].startswith(gate.holding):
                    gate.pass_on(self, body)
                    return
                if gate.after_effect:
                    gate.ask(self, body)
                gate.held.set()
                gate._closed.wait()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def ask(self, asked: BaseHTTPRequestHandler, body: bytes) -> requests.Response:
        kind = {"Content-Type": "application/json"} if body else {}
        return requests.request(
            asked.command, self.worker_url + asked.path, data=body, headers=kind, timeout=30
        )

    def pass_on(self, asked: BaseHTTPRequestHandler, body: bytes) -> None:
        try:
            answer = self.ask(asked, body)
        except requests.RequestException:
            return  # no answer here either
        try:
            asked.send_response(answer.status_code)
            asked.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
            asked.send_header("Content-Length", str(len(answer.content)))
            asked.end_headers()
            asked.wfile.write(answer.content)
        except OSError:
            return  # the daemon was killed meanwhile
