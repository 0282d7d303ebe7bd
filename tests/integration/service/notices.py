"""A service manager's end of the notify protocol: a datagram socket, and what came through it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Manager:
    """`address` as $NOTIFY_SOCKET has it: a path, or @ and an abstract name."""

    address: str
    came: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + self.address[1:] if self.address.startswith("@") else self.address)

    def close(self) -> None:
        self._socket.close()

    def hear(self, within_s: float) -> dict[str, str]:
        self._socket.settimeout(within_s)
        told = dict(line.split("=", 1) for line in self._socket.recv(65536).decode().split("\n"))
        self.came.append(told)
        return told

    def wait_for(
        self, wanted: Callable[[dict[str, str]], bool], within_s: float = 60.0
    ) -> dict[str, str]:
        """The first message that is as `wanted`."""
        end = time.monotonic() + within_s
        while (left := end - time.monotonic()) > 0:
            if wanted(told := self.hear(left)):
                return told
        raise AssertionError(f"not told within {within_s:g} s; came: {self.came}")
