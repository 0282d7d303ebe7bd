"""A small server with vLLM's routes and flags, that fails in the way that its flags ask for.

max_num_seqs: 13 a usage error; 404 never ready; 500 out of memory at the first long prompt;
501 ends by SIGKILL before it is ready. gpu_memory_utilization below 0.2: no room for the cache.
`GET /do?what=...`: oom, kill, exit, hang, stall (/health alone is answered). It has a worker of
its own, in a session of its own, that takes no SIGTERM; both write their pids into the folder
$CHILD_PIDS.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

WORKER = (
    "import os, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('worker', flush=True); time.sleep(3600)"
)
OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total"
hanging, stalling = threading.Event(), threading.Event()


def say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def die(line: str, status: int = 1) -> None:
    say(line)
    os._exit(status)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    args: argparse.Namespace

    def log_message(self, *args: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._perhaps_hang()
        path, _, query = self.path.partition("?")
        if path == "/do":
            self._do(query.removeprefix("what="))
        answer = {
            "/health": "",
            "/version": json.dumps({"version": "0.0.1"}),
            "/v1/models": json.dumps({"data": [{"id": "tiny", "max_model_len": 4096}]}),
            "/metrics": "# TYPE vllm:cache_config_info gauge\nvllm:cache_config_info"
            f'{{gpu_memory_utilization="{self.args.gpu_memory_utilization}"}} 1.0\n',
        }.get(path)
        self._say(404 if answer is None else 200, answer or "")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._perhaps_hang()
        if self.args.max_num_seqs == 500 and len(body["prompt"]) > 100:
            die(OOM)
        usage = {"completion_tokens": body["max_tokens"]}
        self._say(200, json.dumps({"choices": [{"text": "a token"}], "usage": usage}))

    def _do(self, what: str) -> None:
        if what == "hang":
            hanging.set()
        elif what == "stall":
            stalling.set()
        elif what == "oom":
            die(OOM)
        elif what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif what == "exit":
            die("ValueError: something of its own", 3)

    def _perhaps_hang(self) -> None:
        if hanging.is_set() or (stalling.is_set() and self.path != "/health"):
            time.sleep(3600)

    def _say(self, status: int, text: str) -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--max-num-seqs", type=int, default=256)
    parser.add_argument("--gpu-memory-utilization", type=float, default=0.9)
    parser.add_argument(
        "--enable-prefix-caching", action=argparse.BooleanOptionalAction, default=True
    )
    args = parser.parse_args()
    pids = Path(os.environ["CHILD_PIDS"])
    worker = subprocess.Popen([sys.executable, "-c", WORKER], start_new_session=True)
    for pid in (os.getpid(), worker.pid):
        (pids / f"{args.port}-{pid}").touch()
    say("INFO 10-25 13:08:43 [core.py:7] starting")
    if args.max_num_seqs == 13:
        parser.error("argument --max-num-seqs: invalid choice: 13")
    if args.max_num_seqs == 404:
        time.sleep(3600)
    if args.max_num_seqs == 501:
        os.kill(os.getpid(), signal.SIGKILL)
    if args.gpu_memory_utilization < 0.2:
        die(
            "(EngineCore_DP0 pid=1) ERROR 10-25 13:08:43 [core.py:708] ValueError: No available "
            "memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing"
        )
    Handler.args = args
    try:
        server = ThreadingHTTPServer(("127.0.0.1", args.port), Handler)
    except OSError as problem:
        die(f"OSError: {problem}")
    server.serve_forever()


if __name__ == "__main__":
    main()
