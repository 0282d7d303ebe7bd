"""What a service manager is told: sd_notify's datagrams, and how often it wants a sign of life.

The protocol is systemd's (sd_notify(3)): lines NAME=VALUE in one datagram to the socket that
$NOTIFY_SOCKET names. Without that variable nothing is sent. A message that can't be sent never
disturbs the daemon.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

log = structlog.get_logger()

_SEND_TIMEOUT_S = 1.0  # chosen: a manager that does not read must not hold the daemon up
_STATUS_CHARS = 400  # chosen: one line of `systemctl status`


@dataclass(frozen=True)
class Supervisor:
    """`address`: of the manager's socket, None without one. `watchdog_s`: its patience, if any."""

    address: str | None = None
    watchdog_s: float | None = None

    def ready(self, status: str) -> None:
        """The start, or a reload, is done."""
        self._send(READY="1", STATUS=_one_line(status))

    def reloading(self) -> None:
        """A reload begins; `ready` ends it. The time is the one that Type=notify-reload wants."""
        self._send(RELOADING="1", MONOTONIC_USEC=str(time.monotonic_ns() // 1000))

    def stopping(self, status: str) -> None:
        """The end has begun."""
        self._send(STOPPING="1", STATUS=_one_line(status))

    def status(self, status: str, *, alive: bool) -> None:
        """What is going on; `alive` is the sign of life that the watchdog waits for."""
        if alive and self.watchdog_s is not None:
            self._send(WATCHDOG="1", STATUS=_one_line(status))
        else:
            self._send(STATUS=_one_line(status))

    def _send(self, **fields: str) -> None:
        if self.address is None:
            return
        message = "\n".join(f"{name}={value}" for name, value in fields.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(_SEND_TIMEOUT_S)
                sender.connect(_unix(self.address))
                sender.send(message.encode())
        except OSError as problem:
            log.warning("systemd.not_told", told=sorted(fields), problem=str(problem))


def supervisor_of(environment: Mapping[str, str] = os.environ) -> Supervisor:
    """Who supervises this process, from $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID.

    A socket that is neither a path nor an abstract name (such as vsock) counts as none.
    """
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return Supervisor()
    return Supervisor(address, _watchdog_s(environment))


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """How long the manager waits for a sign of life; None where it waits for none of ours."""
    patience = environment.get("WATCHDOG_USEC", "")
    for_us = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    if not (for_us and patience.isdecimal() and int(patience) > 0):
        return None
    return int(patience) / 1e6


def _unix(address: str) -> str:
    """The address as the kernel wants it: an abstract name begins with a zero byte."""
    return "\0" + address[1:] if address.startswith("@") else address


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _STATUS_CHARS else line[: _STATUS_CHARS - 1] + "…"
