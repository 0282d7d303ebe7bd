"""One engine process and the pipe to it: starting, talking, ending. It knows no restarts."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait

from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.messages import FromEngine, ToEngine

EngineTarget = Callable[[Connection, EngineOptions], None]


def run_model_engine(conn: Connection, options: EngineOptions) -> None:
    """The real engine; imported in its own process, so that the front never loads torch."""
    from autotuner.worker.engine_process import run_engine

    run_engine(conn, options)


def _child_main(target: EngineTarget, conn: Connection, options: EngineOptions) -> None:
    """Runs the engine for as long as the front lives; only the front ends it.

    A terminal's Ctrl-C and systemd's SIGTERM reach every process of the group, and the front must
    be able to finish what runs.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    target(conn, options)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


class EngineLink:
    """A started engine process. Callbacks come on the event loop that was running at the start."""

    def __init__(
        self,
        target: EngineTarget,
        options: EngineOptions,
        on_message: Callable[[FromEngine], None],
        on_closed: Callable[[], None],
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._conn, theirs = context.Pipe(duplex=True)
        self._process = context.Process(
            target=_child_main, args=(target, theirs, options), name="engine", daemon=False
        )
        self._process.start()
        theirs.close()  # else the pipe would never end
        self._on_message, self._on_closed = on_message, on_closed
        self._outbox: queue.SimpleQueue[ToEngine | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="engine-writer", daemon=True)
        self._writer.start()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._conn.fileno(), self._read)

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return self._process.exitcode

    def send(self, message: ToEngine) -> None:
        """Queues the message; a full pipe holds up a thread of its own, never the event loop."""
        self._outbox.put(message)

    async def close(self, grace_s: float) -> None:
        """Waits for the process to end by itself, kills it after `grace_s`, frees everything."""
        self._loop.remove_reader(self._conn.fileno())
        await asyncio.to_thread(self._end, grace_s)

    def _end(self, grace_s: float) -> None:
        self._process.join(grace_s)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._outbox.put(None)
        self._writer.join()
        self._conn.close()

    def _write(self) -> None:
        while (message := self._outbox.get()) is not None:
            try:
                self._conn.send(message)
            except OSError:  # the engine is gone; the reader tells
                return

    def _read(self) -> None:
        try:
            message = self._conn.recv()
        except (EOFError, OSError):
            self._loop.remove_reader(self._conn.fileno())
            self._on_closed()
        else:
            self._on_message(message)
