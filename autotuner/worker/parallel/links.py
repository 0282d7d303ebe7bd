"""What the ranks of a group say to each other while they compute, over torch.distributed.

gloo on CPUs, NCCL on GPUs; ranks of one machine that share its memory sum there. A process belongs
to one group in its life.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from autotuner.worker.parallel.grid import LEADER, Grid
from autotuner.worker.parallel.shared_sum import SharedSum
from autotuner.worker.parallel.stores import Store

# Ranks wait for each other within a step only, so this is longer than any step takes; a rank that
# ends is noticed elsewhere, at once. Chosen.
PATIENCE = timedelta(minutes=10)


class Links:
    """The group as `rank` sees it. Hidden states go from a rank to its like in the next stage."""

    def __init__(
        self, grid: Grid, rank: int, store: Store, device: torch.device, memory: str | None
    ) -> None:
        """Returns once every rank is there. Raises RuntimeError (torch's) when one never comes.

        `memory` is for sums on one machine; see Meeting.
        """
        if device.type == "cuda":
            torch.cuda.set_device(device)
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(
            backend, store=store, rank=rank, world_size=grid.size, timeout=PATIENCE
        )
        self._grid, self._rank, self._device = grid, rank, device
        self._stage_group = self._form_stage_groups() if grid.tensor > 1 else None
        self._shared = None
        if memory is not None and grid.tensor > 1 and device.type == "cpu":
            self._shared = SharedSum(memory, grid, rank)
        # Logits have a group of their own: with NCCL, what two ranks send each other in one group
        # passes in order, and in two stages hidden states and logits cross.
        self._answers = dist.new_group([LEADER, grid.speaker]) if grid.stages > 1 else None
        self._under_way: list[tuple[dist.Work, Tensor]] = []

    @property
    def reduce(self) -> Callable[[Tensor], Tensor] | None:
        """Sums a tensor over the ranks of the stage; None where there is one."""
        return None if self._grid.tensor == 1 else self._shared or self._reduce

    def send_hidden(self, hidden: Tensor) -> None:
        """Starts to send to the next stage; `settle` waits for it."""
        self._send(hidden, self._rank + self._grid.tensor, None)

    def receive_hidden(self, hidden: Tensor) -> Tensor:
        """Fills and returns `hidden` with what the stage before sent."""
        dist.recv(hidden, self._rank - self._grid.tensor)
        return hidden

    def send_logits(self, logits: Tensor) -> None:
        """Starts to send to the leader, from the speaker alone."""
        if self._rank == self._grid.speaker and len(logits):
            self._send(logits, LEADER, self._answers)

    def receive_logits(self, logits: Tensor) -> Tensor:
        """Fills and returns `logits` with what the speaker sent."""
        if len(logits):
            dist.recv(logits, self._grid.speaker, group=self._answers)
        return logits

    def settle(self) -> None:
        """Waits until what was sent has gone."""
        for work, _ in self._under_way:
            work.wait()
        self._under_way.clear()

    def leave(self, *, in_order: bool) -> None:
        """Ends the membership. NCCL's end waits for the other ranks, so out of order it is left to
        the end of the process.
        """
        if in_order or self._device.type == "cpu":
            dist.destroy_process_group()

    def _form_stage_groups(self) -> dist.ProcessGroup | None:
        """The group of the rank's own stage; every rank must form all of them, in order."""
        own = None
        for stage in range(self._grid.stages):
            group = dist.new_group(list(self._grid.stage_ranks(stage)))
            if stage == self._grid.stage(self._rank):
                own = group
        return own

    def _reduce(self, x: Tensor) -> Tensor:
        """In float32 over gloo: its sums in bfloat16 round after every rank."""
        if self._device.type == "cuda" or x.dtype == torch.float32:
            dist.all_reduce(x, group=self._stage_group)
            return x
        total = x.float()
        dist.all_reduce(total, group=self._stage_group)
        return total.to(x.dtype)

    def _send(self, tensor: Tensor, to: int, group: dist.ProcessGroup | None) -> None:
        work = dist.isend(tensor.contiguous(), to, group=group)
        assert work is not None
        self._under_way.append((work, tensor))
