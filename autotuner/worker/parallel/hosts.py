"""Where followers are started: the port, and this machine's side of it."""

from __future__ import annotations

import multiprocessing
import secrets
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Protocol

from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.parallel.follower import run_follower
from autotuner.worker.parallel.order import Meeting, Seat
from autotuner.worker.parallel.stores import Store, open_store


class Follower(Protocol):
    """A started process that awaits its order on `conn`; it ends when `conn` closes."""

    @property
    def conn(self) -> Connection: ...

    @property
    def seat(self) -> Seat: ...

    def end(self, grace_s: float) -> None:
        """Closes the connection, and leaves no process behind after `grace_s`."""
        ...


class Hosts(Protocol):
    """The places that ranks can run on."""

    def seat_of_leader(self, options: EngineOptions) -> Seat:
        """Which device the leader of replica `options.replica` has."""
        ...

    def start(self, options: EngineOptions, rank: int) -> Follower:
        """Starts the process of a rank of replica `options.replica`."""
        ...

    def meet(self) -> tuple[Store, Meeting]:
        """A store for one group, and where its followers find it."""
        ...


@dataclass(frozen=True)
class LocalFollower:
    process: BaseProcess
    conn: Connection
    seat: Seat

    def end(self, grace_s: float) -> None:
        self.process.join(grace_s)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.conn.close()


class LocalHosts:
    """One machine: new processes, and its GPUs counted through, replica by replica."""

    def seat_of_leader(self, options: EngineOptions) -> Seat:
        return self._seat(options, 0)

    def start(self, options: EngineOptions, rank: int) -> Follower:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=True)
        process = context.Process(
            target=run_follower, args=(theirs,), name=f"rank-{rank}", daemon=False
        )
        process.start()
        theirs.close()  # else its end would never be noticed
        return LocalFollower(process, ours, self._seat(options, rank))

    def meet(self) -> tuple[Store, Meeting]:
        return open_store(prefix=secrets.token_hex(8))

    def _seat(self, options: EngineOptions, rank: int) -> Seat:
        settings = options.settings
        size = settings.tensor_parallel_size * settings.pipeline_parallel_size
        return Seat(options.model, options.replica * size + rank)
