"""A server that answers GET by path, as a worker or another server would."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SETTINGS: dict[str, Any] = {
    "boot_id": "b",
    "generation": 4,
    "applied_at": 1.0,
    "now": 2.0,
    "settings": {"max_num_seqs": 12, "schedule_policy": "fcfs"},
    "capabilities": {
        "max_num_seqs": {"type": "int", "min": 1, "max": 16},
        "schedule_policy": {"type": "choice", "values": ["fcfs", "length-grouped"]},
    },
}
WORKER = {"/admin/settings": SETTINGS, "/metrics": "worker:num_requests_running 1\n"}
VLLM = {"/metrics": "vllm:num_requests_running 1\n", "/version": {"version": "0.11.0"}}
PROXIED: dict[str, Any] = {
    "boot_id": "b",
    "generation": 2,
    "applied_at": 1.0,
    "now": 2.0,
    "settings": {
        "max_num_seqs": 20,
        "max_num_batched_tokens": 2048,
        "gpu_memory_utilization": 0.91,
        "kv_cache_dtype": "auto",
        "max_concurrency": 4096,
        "max_queue": 256,
    },
    "capabilities": {
        "max_num_seqs": {"type": "int", "min": 1, "max": 128, "live": False},
        "max_num_batched_tokens": {"type": "int", "min": 1, "max": 1048576, "live": False},
        "gpu_memory_utilization": {"type": "float", "min": 0.01, "max": 1.0, "live": False},
        "kv_cache_dtype": {
            "type": "choice",
            "values": ["auto", "fp8"],
            "live": False,
            "changes_answers": True,
        },
        "max_concurrency": {"type": "int", "min": 1, "max": 4096},
        "max_queue": {"type": "int", "min": 0, "max": 65536},
    },
    "restart_s": 41.2,
    "server": {"kind": "vllm", "version": "0.33.0"},
    "faults": [],
}
PROXY = {"/admin/settings": PROXIED, "/metrics": "proxy:num_requests_running 1\n"}


@contextmanager
def serving(pages: Mapping[str, Any], token: str | None = None) -> Iterator[str]:
    """The base URL of a server with those pages; with a token the admin page asks for it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path)
            shown = self.headers.get("Authorization")
            if token and self.path.startswith("/admin") and shown != f"Bearer {token}":
                self._answer(401, '{"error": {"message": "no"}}')
            elif page is None:
                self._answer(404, "no such page")
            else:
                self._answer(200, page if isinstance(page, str) else json.dumps(page))

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(200 if self.path == "/hook" else 404, "")

        def _answer(self, status: int, text: str) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
