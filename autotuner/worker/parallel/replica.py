"""How one replica is put together: on which hosts, and alone or as a group."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.parallel.grid import Grid
from autotuner.worker.parallel.group_executor import GroupExecutor
from autotuner.worker.parallel.hosts import Hosts, LocalHosts
from autotuner.worker.parallel.order import device_name
from autotuner.worker.parallel.torchrun import TorchrunHosts
from autotuner.worker.parallel.world import UNDER_TORCHRUN


def start_group(options: EngineOptions, on_lost: Callable[[str], None]) -> GroupExecutor | None:
    """The replica's group of ranks, loaded; None where its settings ask for a single process.

    Raises ModelError and GroupError; see GroupExecutor for `on_lost`.
    """
    if Grid.of(options.settings).size == 1:
        return None
    return GroupExecutor(options, _hosts(), on_lost)


def place_leader(options: EngineOptions) -> EngineOptions:
    """The options with the device that this process has of its kind."""
    seat = _hosts().seat_of_leader(options)
    return replace(options, device=device_name(options.device, seat.device_index))


def _hosts() -> Hosts:
    return TorchrunHosts.from_environment() if UNDER_TORCHRUN in os.environ else LocalHosts()
