"""Sums over the ranks of one stage on one machine, through memory that they share.

Each rank writes its part into a slot and raises its flag, waits for the others' flags, and adds up
all slots, in the order of the ranks, so that all get the same bits. Two sets of slots take turns:
who writes into one again has seen everybody's flag of the other, so nobody still reads it.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import time

import torch
from torch import Tensor

from autotuner.worker.parallel.errors import GroupError
from autotuner.worker.parallel.futex import Futex, can_wait
from autotuner.worker.parallel.grid import Grid

SLOT_NUMBERS = 2**20  # float32 numbers that a slot holds: longer tensors go in pieces; chosen
FLAG_BYTES = 64  # a cache line for each flag
TURNS = 2
MODULUS = 2**32
# How long a rank that waits looks again and again, before it sleeps. It must not give its core away
# in between (sched_yield): where others want that too, it gets it back only a time slice later.
# Measured, 60 sums of 576 numbers over two ranks, on two cores that others used too, least and
# median: gloo 17 and 94 ms; here 1.5 and 6.3; 5.0 and 5.5 without; 1.4 and 29 with ten times this.
SPIN_S = 2e-5
NAP_S = 1.0  # the longest sleep before it looks at the clock
PATIENCE_S = 600.0  # as long as links.PATIENCE


def open_shared_memory() -> int | None:
    """A descriptor of memory that has no name and ends with its users; None where there is none.

    The flags rely on x86's order of writes: data that was written before a flag is seen before it.
    """
    if not can_wait() or platform.machine() != "x86_64":
        return None
    return os.memfd_create("autotuner-ranks")


def path_of(descriptor: int) -> str:
    """Under which another process of this user opens it, while this process has it open."""
    return f"/proc/{os.getpid()}/fd/{descriptor}"


class _Flag:
    """How many sums a rank has written its part of, modulo 2**32: a day has more than 2**28."""

    def __init__(self, memory: mmap.mmap, offset: int) -> None:
        self._number = memoryview(memory)[offset : offset + 4].cast("I")
        self.futex = Futex(ctypes.addressof(ctypes.c_int.from_buffer(memory, offset)))

    @property
    def value(self) -> int:
        return self._number[0]

    def rise_to(self, count: int) -> None:
        self._number[0] = count % MODULUS
        self.futex.wake()


class SharedSum:
    """Sums as `rank` of the grid, with the ranks of its stage, in the memory at `path`."""

    def __init__(self, path: str, grid: Grid, rank: int) -> None:
        """Raises OSError when the memory is gone."""
        ranks = grid.tensor
        flags, slots = FLAG_BYTES * ranks, TURNS * ranks * SLOT_NUMBERS * 4
        start = grid.stage(rank) * (flags + slots)
        memory = _map(path, grid.stages * (flags + slots))
        numbers = torch.frombuffer(
            memory, dtype=torch.float32, count=slots // 4, offset=start + flags
        )
        self._slots = numbers.view(TURNS, ranks, SLOT_NUMBERS)
        self._rank = rank % ranks
        self._others = [_Flag(memory, start + FLAG_BYTES * place) for place in range(ranks)]
        self._own = self._others.pop(self._rank)
        self._count = 0

    def __call__(self, x: Tensor) -> Tensor:
        """The sum over the ranks, in float32, rounded to x's dtype; raises GroupError for a rank
        that does not come.
        """
        pieces = [self._sum(piece) for piece in torch.split(x.reshape(-1), SLOT_NUMBERS)]
        total = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
        return total.to(x.dtype).view(x.shape)

    def _sum(self, x: Tensor) -> Tensor:
        self._count += 1
        slots = self._slots[self._count % TURNS, :, : len(x)]
        slots[self._rank].copy_(x)
        self._own.rise_to(self._count)
        for other in self._others:
            self._wait(other)
        return slots.sum(0) if len(slots) > 2 else slots[0] + slots[1]

    def _wait(self, other: _Flag) -> None:
        since = time.monotonic()
        while is_behind(seen := other.value, self._count):
            waited_s = time.monotonic() - since
            if waited_s > SPIN_S:
                other.futex.wait(seen, NAP_S)
            if waited_s > PATIENCE_S:
                raise GroupError(f"a rank of the stage did not come within {PATIENCE_S:g} s")


def is_behind(value: int, count: int) -> bool:
    """Whether a flag's value is less than `count`, from which it is never far (RFC 1982)."""
    return 0 < (count - value) % MODULUS < MODULUS // 2


def _map(path: str, size: int) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.ftruncate(descriptor, size)  # every rank, to the same size
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)
