"""What torchrun tells the processes that it starts; nothing of torch."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from autotuner.worker.parallel.errors import GroupError
from autotuner.worker.parallel.order import Meeting

UNDER_TORCHRUN = "AUTOTUNER_WORKER_UNDER_TORCHRUN"  # set in rank 0 for the engines that it starts
HOST_KEYS = "hosts"  # what hosts and rank 0 tell each other in torchrun's store
OVER = "over"  # of these, the key that rank 0 sets when the worker has ended


@dataclass(frozen=True)
class World:
    """What torchrun tells a process in its environment."""

    rank: int
    size: int
    local_rank: int
    local_size: int
    master: str
    port: int
    attempt: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> World:
        """Raises GroupError where torchrun did not start this process."""
        if environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
            raise GroupError(
                "TORCHELASTIC_USE_AGENT_STORE is not True: start the ranks with torchrun "
                "(torchrun --nnodes ... -m autotuner.worker.parallel.rank)"
            )
        return cls(
            rank=int(environment["RANK"]),
            size=int(environment["WORLD_SIZE"]),
            local_rank=int(environment["LOCAL_RANK"]),
            local_size=int(environment["LOCAL_WORLD_SIZE"]),
            master=environment["MASTER_ADDR"],
            port=int(environment["MASTER_PORT"]),
            attempt=environment.get("TORCHELASTIC_RESTART_COUNT", "0"),
        )

    def meeting(self, keys: str) -> Meeting:
        """In torchrun's store, with keys of this attempt of the worker and of this name alone."""
        return Meeting(self.master, self.port, f"autotuner/{self.attempt}/{keys}")

    def own_address(self) -> str:
        """The machine's address on the way to the master. Nothing is sent."""
        family, kind, protocol, _, master = socket.getaddrinfo(
            self.master, self.port, type=socket.SOCK_DGRAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(master)
            address: str = probe.getsockname()[0]
        return address
