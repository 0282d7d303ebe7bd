"""The key-value stores that ranks find each other through: one of this machine, or torchrun's."""

from __future__ import annotations

import os
import socket
from datetime import timedelta

# torch.distributed has these classes in its documentation, if not in its exports.
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from autotuner.worker.parallel.order import Meeting

__all__ = ["Store", "join_store", "keep_on_this_machine", "open_store"]

PATIENCE = timedelta(minutes=10)  # for what another rank or host puts into the store; chosen
LOOPBACK = "127.0.0.1"


def open_store(prefix: str) -> tuple[Store, Meeting]:
    """A store on a free port that only this machine can reach, and the group's keys in it."""
    listener = socket.create_server((LOOPBACK, 0))
    port = listener.getsockname()[1]
    keep_on_this_machine()
    store = TCPStore(
        LOOPBACK,
        port,
        is_master=True,
        wait_for_workers=False,
        timeout=PATIENCE,
        master_listen_fd=listener.detach(),
    )
    return PrefixStore(prefix, store), Meeting(LOOPBACK, port, prefix)


def join_store(meeting: Meeting) -> Store:
    """The group's keys in the store that is open at the meeting's address."""
    if is_this_machine_alone(meeting.host):
        keep_on_this_machine()
    store = TCPStore(meeting.host, meeting.port, is_master=False, timeout=PATIENCE)
    return PrefixStore(meeting.prefix, store)


def is_this_machine_alone(host: str) -> bool:
    """Whether all who meet at `host` are on this machine."""
    return socket.gethostbyname(host) == LOOPBACK


def keep_on_this_machine() -> None:
    """Has gloo listen on the loopback interface alone, unless the environment names another."""
    names = [name for _, name in socket.if_nameindex()]
    loopback = next((name for name in ("lo", "lo0") if name in names), None)
    if loopback is not None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
