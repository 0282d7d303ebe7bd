"""A real HTTP receiver whose answer can be changed, for tests of delivery."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from autotuner.alerts.payload import SIGNATURE_HEADER

HOOK = "/hook/t0ken"


class Receiver:
    """An HTTP server whose answer can be changed; keeps the bodies and headers that came.

    `before_answer` is called with each body once it was taken; the sender knows nothing yet.
    """

    def __init__(self, port: int = 0) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.silent = False
        self.bodies: list[bytes] = []
        self.signatures: list[str | None] = []
        self.paths: list[str] = []
        self.authorizations: list[str | None] = []
        self.before_answer: Callable[[bytes], None] = lambda _body: None
        self._released = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.signatures.append(self.headers[SIGNATURE_HEADER])
                receiver.paths.append(self.path)
                receiver.authorizations.append(self.headers["Authorization"])
                receiver.before_answer(receiver.bodies[-1])
                if receiver.silent:
                    receiver._released.wait(30.0)
                    return
                self.send_response(receiver.status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.port = self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{HOOK}"

    def close(self) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
