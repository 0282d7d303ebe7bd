"""Waiting for a number in shared memory to change, and waking who waits: Linux's futex(2)."""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Callable

NUMBERS = {"x86_64": 202, "aarch64": 98}  # of the system call, by machine
WAIT, WAKE, ALL = 0, 1, 2**31 - 1


class _Time(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


def can_wait() -> bool:
    """Whether this system has the call, as far as this module knows its number."""
    return sys.platform == "linux" and platform.machine() in NUMBERS


class Futex:
    """The aligned unsigned 32-bit number at `address`."""

    def __init__(self, address: int) -> None:
        self._address = ctypes.c_void_p(address)
        self._call: Callable[..., int] = ctypes.CDLL(None).syscall
        self._number = NUMBERS[platform.machine()]

    def wait(self, value: int, timeout_s: float) -> None:
        """Returns once woken, at once if the number is not `value`, and at the latest in time."""
        seconds, rest_s = divmod(timeout_s, 1.0)
        timeout = _Time(int(seconds), int(rest_s * 1e9))
        self._call(
            self._number, self._address, WAIT, ctypes.c_uint(value), ctypes.byref(timeout), None, 0
        )

    def wake(self) -> None:
        """Wakes all that wait."""
        self._call(self._number, self._address, WAKE, ALL, None, None, 0)
