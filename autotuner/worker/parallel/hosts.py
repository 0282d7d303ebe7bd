"""Where followers are started: the port, and this machine's side of it."""

from __future__ import annotations

import multiprocessing
import os
import secrets
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Protocol

from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.parallel.follower import run_follower
from autotuner.worker.parallel.grid import Grid
from autotuner.worker.parallel.order import Meeting, Seat
from autotuner.worker.parallel.shared_sum import open_shared_memory, path_of
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


@dataclass(frozen=True)
class Rendezvous:
    """The leader's side of a meeting: the group's keys, and the descriptor of `meeting.memory`."""

    store: Store
    meeting: Meeting
    memory: int | None = None

    def over(self) -> None:
        """All ranks have found each other, or never will."""
        if self.memory is not None:
            os.close(self.memory)


class Hosts(Protocol):
    """The places that ranks can run on."""

    def seat_of_leader(self, options: EngineOptions) -> Seat:
        """Which device the leader of replica `options.replica` has."""
        ...

    def start(self, options: EngineOptions, rank: int) -> Follower:
        """Starts the process of a rank of replica `options.replica`."""
        ...

    def meet(self) -> Rendezvous:
        """Where one group finds itself."""
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
    """One machine: new processes, and its GPUs counted through, replica by replica.

    With `share_memory` ranks sum there, where the machine can, and else over gloo.
    """

    def __init__(self, *, share_memory: bool = True) -> None:
        self._share_memory = share_memory

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

    def meet(self) -> Rendezvous:
        store, meeting = open_store(prefix=secrets.token_hex(8))
        memory = open_shared_memory() if self._share_memory else None
        if memory is not None:
            meeting = replace(meeting, memory=path_of(memory))
        return Rendezvous(store, meeting, memory)

    def _seat(self, options: EngineOptions, rank: int) -> Seat:
        device_index = options.replica * Grid.of(options.settings).size + rank
        return Seat(options.model, device_index, options.adapters)
