"""The listening socket: handed over by a service manager, or bound here; knows nothing of HTTP.

A socket that the manager holds (systemd's socket activation, sd_listen_fds(3)) outlives this
process: what connects while one process ends and the next begins waits in its queue. A socket
bound with SO_REUSEPORT would not do: connections in the queue of the one that closes are reset.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

from autotuner.domain.errors import ConfigError

FIRST_FD = 3  # sd_listen_fds(3)
BACKLOG = 4096  # chosen: what may wait during a restart; net.core.somaxconn bounds it as well
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def listener(
    host: str, port: int, environment: MutableMapping[str, str] = os.environ
) -> tuple[socket.socket, bool]:
    """The socket to accept from, and whether it was handed over; then host and port are not used.

    Raises ConfigError where the address can't be had or what was handed over is no TCP listener.
    """
    handed = _handed_over(environment)
    return (_bound(host, port), False) if handed is None else (handed, True)


def _handed_over(environment: MutableMapping[str, str]) -> socket.socket | None:
    told = {name: environment.pop(name, "") for name in _VARIABLES}  # not for our own children
    if told["LISTEN_PID"] != str(os.getpid()):
        return None
    if told["LISTEN_FDS"] != "1":
        raise ConfigError(
            f"LISTEN_FDS={told['LISTEN_FDS']!r}: one socket is needed: give the socket unit one "
            "ListenStream="
        )
    given = socket.socket(fileno=FIRST_FD)
    accepts = given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if given.family not in (socket.AF_INET, socket.AF_INET6) or not accepts:
        raise ConfigError(
            "LISTEN_FDS: the socket handed over does not listen on TCP: give the socket unit "
            "ListenStream=ADDRESS:PORT and Accept=no"
        )
    given.set_inheritable(False)
    return _named(given)


def _named(given: socket.socket) -> socket.socket:
    """With its protocol named: only then asyncio sets TCP_NODELAY, without which a first token may
    wait 40 ms for a delayed acknowledgement.
    """
    return socket.socket(given.family, socket.SOCK_STREAM, socket.IPPROTO_TCP, given.detach())


def _bound(host: str, port: int) -> socket.socket:
    where = f"listen.host={host!r}, port={port}"
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as problem:
        raise ConfigError(f"{where}: no such address ({problem}); mend listen.host") from problem
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(BACKLOG)
    except OSError as problem:
        made.close()
        raise ConfigError(
            f"{where}: can't listen there ({problem.strerror}); give a port that is free (0: any)"
        ) from problem
    return made
