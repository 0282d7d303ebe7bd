"""Runs a worker: listens, serves until it is told to end, lets running requests finish."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import signal
import socket
import sys

import uvicorn

from autotuner.worker.app import make_app
from autotuner.worker.options import WorkerOptionError, WorkerOptions
from autotuner.worker.worker import Worker

__all__ = ["WorkerOptionError", "WorkerOptions", "serve"]

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 75  # longer than clients keep idle connections, so that they close them first


def serve(options: WorkerOptions) -> int:
    """Serves until SIGTERM or SIGINT (returns 0), or until the engine can't ever be loaded (1).

    Raises WorkerOptionError for options that are refused, OSError when the address is taken and
    FileNotFoundError when the model has no tokenizer.
    """
    options.check()
    with _listen(options.host, options.port) as listener:
        return asyncio.run(_run(options, listener))


async def _run(options: WorkerOptions, listener: socket.socket) -> int:
    failures: list[str] = []

    def on_fatal(reason: str) -> None:
        failures.append(reason)
        server.should_exit = True

    worker = Worker(options, on_fatal)
    server = uvicorn.Server(_server_config(worker))
    # uvicorn raises the signals that ended it once more when it is done; the engine must still
    # be ended then, so they end nothing here.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, server.handle_exit)
    # A full garbage collection stops every stream: 21 ms, or 1.4 ms without what lives for good
    # (measured, with a full exposure ring).
    gc.collect()
    gc.freeze()
    worker.start()
    try:
        _tell_listening(listener)
        await server.serve(sockets=[listener])
    finally:
        await worker.stop()
    for reason in failures:
        log.error("engine: %s", reason)
    return 1 if failures else 0


def _server_config(worker: Worker) -> uvicorn.Config:
    return uvicorn.Config(
        make_app(worker),
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ws="none",
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(worker.options.drain_s)),
    )


def _listen(host: str, port: int) -> socket.socket:
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    # asyncio sets TCP_NODELAY only where the protocol is named; without it a stream's first token
    # may wait 40 ms for the client's delayed acknowledgement (measured: P99 of TTFT).
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener


def _tell_listening(listener: socket.socket) -> None:
    """One JSON line on stdout, for whoever started the worker on a free port."""
    host, port = listener.getsockname()[:2]
    sys.stdout.write(json.dumps({"event": "listening", "host": host, "port": port}) + "\n")
    sys.stdout.flush()
