"""A worker behind a real socket that serves well until it is told to go wrong, in one way."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from experiments.studies.control_plane_scale.workers import Worker


class Fault(StrEnum):
    """What it does once told."""

    NONE = "none"
    HANGS = "hangs"  # takes the request and never answers
    RAISES = "raises"  # answers what can't be used
    FLOODS = "floods"  # answers without end


@dataclass
class FaultyWorker:
    """Serves from threads of its own until `close`."""

    fault: Fault
    wrong: threading.Event = field(default_factory=threading.Event)
    _closed: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        faulty, worker = self, Worker(f"boot-{self.fault}")

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if faulty.wrong.is_set() and faulty.fault is not Fault.NONE:
                    faulty.go_wrong(self)
                    return
                parts = urlsplit(self.path)
                faulty.answer(self, worker.get(parts.path, parse_qs(parts.query)))

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

    def go_wrong(self, asked: BaseHTTPRequestHandler) -> None:
        if self.fault is Fault.HANGS:
            self._closed.wait()
            asked.close_connection = True
        elif self.fault is Fault.RAISES:
            self.answer(asked, b'{"boot_id": [], "oops')
        else:
            self._flood(asked)

    def answer(self, asked: BaseHTTPRequestHandler, content: bytes) -> None:
        asked.send_response(200)
        asked.send_header("Content-Length", str(len(content)))
        asked.end_headers()
        asked.wfile.write(content)

    def _flood(self, asked: BaseHTTPRequestHandler) -> None:
        asked.send_response(200)
        asked.end_headers()
        asked.close_connection = True
        try:
            while not self._closed.is_set():
                asked.wfile.write(b" " * 65_536)
        except OSError:
            return
