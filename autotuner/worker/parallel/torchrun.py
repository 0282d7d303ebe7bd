"""Hosts that torchrun started: a rank for each place, on this machine and others.

Rank 0 runs the worker. Each other rank is a host (`host.py`): for every connection it starts a
follower on its own machine and device, so that an old group runs on while a new one loads. Hosts
tell their addresses, and the key that a connection must prove, through torchrun's own store: who
reaches that store is trusted, so the network between the machines must be private, as
torch.distributed always needs it.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection
from pathlib import Path

from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.parallel.errors import GroupError
from autotuner.worker.parallel.grid import Grid
from autotuner.worker.parallel.hosts import Follower, Rendezvous
from autotuner.worker.parallel.order import Seat
from autotuner.worker.parallel.stores import Store, join_store
from autotuner.worker.parallel.world import HOST_KEYS, World

# A machine that vanishes closes no connection: probed after 10 s of silence, given up after 3
# probes more, 5 s apart. Chosen.
KEEP_ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}


@dataclass(frozen=True)
class Address:
    """Where a host listens, and the seat it has to give."""

    host: str
    port: int
    key: str
    model: str
    device_index: int
    adapters: str | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Address:
        return cls(**json.loads(text))

    @property
    def seat(self) -> Seat:
        adapters = None if self.adapters is None else Path(self.adapters)
        return Seat(Path(self.model), self.device_index, adapters)


def place_key(place: int) -> str:
    """The store's key with the address of the host at this place."""
    return f"place/{place}"


@dataclass(frozen=True)
class RemoteFollower:
    conn: Connection
    seat: Seat

    def end(self, grace_s: float) -> None:  # noqa: ARG002 (its host sees to the process)
        self.conn.close()


class TorchrunHosts:
    """The places of a torchrun world. See `hosts.Hosts`.

    Leaders are processes of the first machine, so replica r's leader has place r, and the
    followers have the places after the leaders', replica by replica.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._store: Store | None = None

    @classmethod
    def from_environment(cls) -> TorchrunHosts:
        return cls(World.from_environment())

    def seat_of_leader(self, options: EngineOptions) -> Seat:
        if options.replica >= self._world.local_size:
            raise GroupError(
                f"data_parallel_size={options.settings.data_parallel_size}: every replica's leader "
                f"needs a place on the first machine, which has {self._world.local_size}: lower it"
            )
        return Seat(options.model, options.replica, options.adapters)

    def start(self, options: EngineOptions, rank: int) -> Follower:
        place = place_of(options, rank)
        if place >= self._world.size:
            raise GroupError(
                f"rank {rank} of replica {options.replica} has no place among torchrun's "
                f"{self._world.size}: lower a parallel size, or start more"
            )
        address = Address.from_json(self._hosts_store().get(place_key(place)))
        try:
            conn = Client((address.host, address.port), authkey=bytes.fromhex(address.key))
        except (OSError, EOFError, AuthenticationError) as error:
            raise GroupError(f"place {place} at {address.host}: {error}") from error
        keep_alive(conn)
        return RemoteFollower(conn, address.seat)

    def meet(self) -> Rendezvous:
        meeting = self._world.meeting(keys=secrets.token_hex(8))
        return Rendezvous(join_store(meeting), meeting)

    def _hosts_store(self) -> Store:
        if self._store is None:
            self._store = join_store(self._world.meeting(HOST_KEYS))
        return self._store


def place_of(options: EngineOptions, rank: int) -> int:
    """The place of a rank of replica `options.replica`: leaders first, then followers."""
    if rank == 0:
        return options.replica
    followers = Grid.of(options.settings).size - 1
    return options.settings.data_parallel_size + options.replica * followers + rank - 1


def keep_alive(conn: Connection) -> None:
    """Has the kernel notice when the other machine vanishes."""
    with socket.socket(fileno=os.dup(conn.fileno())) as shared:
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEP_ALIVE.items():
            if hasattr(socket, name):
                shared.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        shared.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
