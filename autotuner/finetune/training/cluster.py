"""The processes that train together: how gradients and weights are averaged over them.

All of it is torch's own: DistributedDataParallel, its communication hooks (PowerSGD, half
precision, post-local SGD) and its averaging of models.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any, Protocol, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.distributed.algorithms.ddp_comm_hooks import post_localSGD_hook as post_local
from torch.distributed.algorithms.ddp_comm_hooks import powerSGD_hook as powersgd
from torch.distributed.algorithms.model_averaging import averagers, utils
from torch.nn.parallel import DistributedDataParallel

from autotuner.finetune.training.plan import TrainingPlan

TIMEOUT = timedelta(minutes=30)  # chosen: a process that is paced may be far behind the others
REHEARSALS = 2  # DDP lays its buckets out anew after the first backward pass
EVERYTHING_MB = 2.0**30  # more than any gradient
_POWERSGD_MEMORY = ("error_dict", "p_memory_dict", "q_memory_dict")


class Together(Protocol):
    """What the loop needs of the processes, be it one alone."""

    rank: int
    size: int
    rehearsals: int  # backward passes to make before the first update, gradients thrown away

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module whose backward pass averages gradients."""

    def without_averaging(self) -> AbstractContextManager[None]:
        """Backward passes within it only add up their gradients."""

    def after_update(self, parameters: Iterable[nn.Parameter]) -> None:
        """Averages weights, where it is time to."""

    def finish(self, parameters: Iterable[nn.Parameter]) -> None:
        """Averages weights for the last time, so that all processes have the same."""

    def summed(self, values: Sequence[float], step: int) -> tuple[list[float], bool]:
        """(sums over the processes that average at update `step`, whether these are all)."""

    def barrier(self) -> None: ...

    def state(self) -> dict[str, Any]:
        """What averaging remembers from update to update: tensors and numbers."""

    def restore(self, state: dict[str, Any]) -> None: ...


class Alone:
    """One process: nothing to average."""

    rank, size, rehearsals = 0, 1, 0

    def wrap(self, module: nn.Module) -> nn.Module:
        return module

    def without_averaging(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext()

    def after_update(self, parameters: Iterable[nn.Parameter]) -> None:
        """Nothing to do."""

    def finish(self, parameters: Iterable[nn.Parameter]) -> None:
        """Nothing to do."""

    def summed(
        self,
        values: Sequence[float],
        step: int,  # noqa: ARG002
    ) -> tuple[list[float], bool]:
        return list(values), True

    def barrier(self) -> None:
        """Nothing to do."""

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to do."""


class Cluster:
    """The processes that torchrun started; they find each other by its environment variables."""

    rehearsals = REHEARSALS

    def __init__(self, plan: TrainingPlan) -> None:
        self._plan = plan
        self._device = "cpu"
        if plan.backend == "nccl":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            self._device = "cuda"
        dist.init_process_group(plan.backend, timeout=TIMEOUT)
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self._group: Any = None
        self._averager: averagers.PeriodicModelAverager | None = None
        if plan.averaging == "hierarchical":
            self._group, _ = dist.new_subgroups(group_size=plan.group_size)  # type: ignore[no-untyped-call]
            self._averager = averagers.PeriodicModelAverager(plan.average_every, plan.local_start)
        self._hook_state: Any = None
        self._ddp: Any = None

    def wrap(self, module: nn.Module) -> nn.Module:
        device = [torch.cuda.current_device()] if self._plan.backend == "nccl" else None
        with warnings.catch_warnings():  # what is to come instead is not in older versions
            warnings.simplefilter("ignore", FutureWarning)
            self._ddp = DistributedDataParallel(
                module,
                device_ids=device,
                bucket_cap_mb=self._bucket_mb(),
                broadcast_buffers=False,  # tables of angles: the same everywhere, for ever
                gradient_as_bucket_view=True,
            )
        self._hook_state, hook = self._hook()
        if hook is not None:
            self._ddp.register_comm_hook(self._hook_state, hook)
        wrapped: nn.Module = self._ddp
        return wrapped

    def without_averaging(self) -> AbstractContextManager[None]:
        paused: AbstractContextManager[None] = self._ddp.no_sync()
        return paused

    def after_update(self, parameters: Iterable[nn.Parameter]) -> None:
        if self._averager is not None:
            self._averager.average_parameters(parameters)

    def finish(self, parameters: Iterable[nn.Parameter]) -> None:
        if self._averager is not None:
            world = cast(dist.ProcessGroup, dist.group.WORLD)  # it is there from __init__ on
            utils.average_parameters(iter(parameters), world)

    def summed(self, values: Sequence[float], step: int) -> tuple[list[float], bool]:
        among_all = self._all_average_at(step)
        group = None if among_all else self._group
        sums = torch.tensor(values, dtype=torch.float64, device=self._device)
        dist.all_reduce(sums, group=group)
        return sums.tolist(), among_all

    def barrier(self) -> None:
        dist.barrier()

    def close(self) -> None:
        """Leaves the group; the processes are no use to each other after it.

        What DDP holds of the group has to go first. Python frees it with its lock held; as the
        group's last holder it would wait for gloo's thread, which may be waiting for that lock.
        """
        if self._ddp is not None:
            del self._ddp.reducer, self._ddp.logger
        dist.destroy_process_group()

    def state(self) -> dict[str, Any]:
        hook = self._hook_state
        kept: dict[str, Any] = {"hook_iter": getattr(hook, "iter", 0)}
        if isinstance(hook, powersgd.PowerSGDState):
            kept |= {name: dict(getattr(hook, name)) for name in _POWERSGD_MEMORY}
            kind, keys, *rest = hook.rng.get_state(legacy=True)
            kept["rng"] = [kind, np.asarray(keys).tolist(), *rest]
        if self._averager is not None:
            kept["averager_step"] = self._averager.step
        return kept

    def restore(self, state: dict[str, Any]) -> None:
        hook = self._hook_state
        if hasattr(hook, "iter"):
            hook.iter = state["hook_iter"]
        if isinstance(hook, powersgd.PowerSGDState):
            for name in _POWERSGD_MEMORY:
                memory = {key: item.to(self._device) for key, item in state[name].items()}
                setattr(hook, name, memory)
            kind, keys, *rest = state["rng"]
            hook.rng.set_state((kind, np.asarray(keys, dtype=np.uint32), *rest))
        if self._averager is not None:
            self._averager.step = state["averager_step"]

    def _bucket_mb(self) -> float:
        """One bucket for PowerSGD over gloo: its averages follow one another in callbacks.

        Of several buckets these run in an order that processes do not share, and gloo would take
        one's numbers for the other's. NCCL keeps the order in which they were begun.
        """
        in_one = self._plan.compression == "powersgd" and self._plan.backend == "gloo"
        return EVERYTHING_MB if in_one else self._plan.bucket_mb

    def _all_average_at(self, step: int) -> bool:
        """As PeriodicModelAverager has it, which counts updates from 0."""
        plan, local = self._plan, step - 1 - self._plan.local_start
        return plan.averaging == "every_step" or local < 0 or local % plan.average_every == 0

    def _hook(self) -> tuple[Any, Any]:
        """(state, hook) of DDP; (None, None) is its own averaging. Hooks count rehearsals too."""
        plan, world = self._plan, dist.group.WORLD
        if plan.compression == "powersgd":
            state = powersgd.PowerSGDState(
                world,
                matrix_approximation_rank=plan.powersgd_rank,
                start_powerSGD_iter=REHEARSALS + plan.powersgd_start,
                orthogonalization_epsilon=1e-8,  # a layer may have no gradient at all
                random_seed=plan.seed,
            )
            return state, powersgd.powerSGD_hook
        half = _HALVES.get(plan.compression)
        if plan.averaging == "hierarchical":
            start = REHEARSALS + plan.local_start
            local = post_local.PostLocalSGDState(world, self._group, start)  # type: ignore[no-untyped-call]
            hook = post_local.post_localSGD_hook
            return local, hook if half is None else half[1](hook)
        return (None, None) if half is None else (world, half[0])


_HALVES: dict[str, tuple[Any, Any]] = {
    "fp16": (default_hooks.fp16_compress_hook, default_hooks.fp16_compress_wrapper),
    "bf16": (default_hooks.bf16_compress_hook, default_hooks.bf16_compress_wrapper),
}
