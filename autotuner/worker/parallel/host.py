"""A torchrun rank other than 0: it starts a follower for every leader that connects."""

from __future__ import annotations

import logging
import multiprocessing
import secrets
import signal
import threading
import time
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, Listener
from pathlib import Path

from autotuner.worker.parallel.follower import run_follower
from autotuner.worker.parallel.stores import Store
from autotuner.worker.parallel.torchrun import Address, keep_alive, place_key
from autotuner.worker.parallel.world import OVER, World

log = logging.getLogger(__name__)

CHECK_S = 0.5  # how often a host looks whether it is over; chosen


class Host:
    """Serves one place. `model` and `adapters` are the folders on this machine."""

    def __init__(
        self, world: World, model: Path, store: Store, adapters: Path | None = None
    ) -> None:
        self._world, self._model, self._store = world, model, store
        self._adapters = adapters
        self._place = world.rank
        self._no_more, self._over = threading.Event(), threading.Event()

    def serve(self) -> None:
        """Until the worker has ended; after SIGTERM, until the followers have.

        SIGTERM reaches all ranks, and rank 0 lets what runs finish: its engines need their
        followers till then.
        """
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: self._no_more.set())
        key = secrets.token_bytes(32)
        with Listener((self._world.own_address(), 0), backlog=8, authkey=key) as listener:
            host, port = listener.address
            address = Address(
                str(host),
                int(port),
                key.hex(),
                str(self._model),
                self._world.local_rank,
                None if self._adapters is None else str(self._adapters),
            )
            self._store.set(place_key(self._place), address.to_json())
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
            while not self._is_over():
                time.sleep(CHECK_S)
            self._over.set()

    def _accept(self, listener: Listener) -> None:
        while not self._over.is_set():
            try:
                with listener.accept() as conn:
                    _start(conn)
            except (AuthenticationError, EOFError, OSError) as error:
                log.warning("place %d: a connection without a follower: %r", self._place, error)

    def _is_over(self) -> bool:
        followers = multiprocessing.active_children()
        if self._no_more.is_set():
            return not followers
        return bool(self._store.check([OVER]))


def _start(conn: Connection) -> None:
    """Hands the connection to a follower; this process's end of it must be closed then."""
    keep_alive(conn)
    context = multiprocessing.get_context("spawn")
    context.Process(target=run_follower, args=(conn,), daemon=False).start()
