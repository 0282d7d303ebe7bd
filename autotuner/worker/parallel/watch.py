"""Notices when a follower ends or fails, even while the leader waits for it in a collective."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Mapping
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

from autotuner.worker.parallel.errors import GroupError

# How long the leader's own thread has to find out by itself, before `on_lost` is called. Chosen:
# over gloo it does so at once, because the connection to the rank breaks.
GRACE_S = 1.0


class Watch:
    """Reads what followers tell, in a thread. `on_lost` is called there, with the reason, when the
    group is lost and `stop` is not called within GRACE_S; it should end the process.
    """

    def __init__(self, followers: Mapping[int, Connection], on_lost: Callable[[str], None]) -> None:
        self._ranks = {conn: rank for rank, conn in followers.items()}
        self._on_lost = on_lost
        self._ready: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._lost, self._stopped = threading.Event(), threading.Event()
        self._reason = ""
        self._woken, self._waker = Pipe(duplex=False)
        self._thread = threading.Thread(target=self._run, name="rank-watch", daemon=True)
        self._thread.start()

    def wait_ready(self) -> list[dict[str, Any]]:
        """What each follower told when it was ready; raises GroupError when one is lost before."""
        told = []
        for _ in self._ranks:
            ready = self._ready.get()
            if ready is None:
                raise GroupError(self._reason)
            told.append(ready)
        return told

    def reason(self, within_s: float) -> str | None:
        """Why the group is lost, if that turns out within this time."""
        return self._reason if self._lost.wait(within_s) else None

    def stop(self) -> None:
        """From here on the followers may end; safe to call twice."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        self._waker.close()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        self._woken.close()

    def _run(self) -> None:
        while not self._stopped.is_set() and not self._lost.is_set():
            for conn in wait([self._woken, *self._ranks]):
                if conn is self._woken:
                    return
                assert isinstance(conn, Connection)
                self._hear(conn)

    def _hear(self, conn: Connection) -> None:
        rank = self._ranks[conn]
        try:
            told = json.loads(conn.recv_bytes())
        except (EOFError, OSError):
            self._lose(f"rank {rank} ended unexpectedly")
            return
        if "failed" in told:
            self._lose(f"rank {rank}: {told['failed']}")
        else:
            self._ready.put(told["ready"])

    def _lose(self, reason: str) -> None:
        if self._lost.is_set():
            return
        self._reason = reason
        self._lost.set()
        self._ready.put(None)
        if not self._stopped.wait(GRACE_S):
            self._on_lost(reason)
