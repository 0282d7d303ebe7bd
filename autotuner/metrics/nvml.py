"""The GPUs of this machine, read from NVIDIA's driver through NVML (package nvidia-ml-py)."""

from __future__ import annotations

import contextlib
import importlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from autotuner.domain.energy import Meter
from autotuner.domain.errors import ConfigError, TargetUnavailableError
from autotuner.domain.telemetry import Snapshot

SOURCE = "nvml"

Handle = Any  # NVML's own
Read = Callable[[Handle], float]


def load_nvml(field: str, module: str = "pynvml") -> Any:
    """The NVML library's module; raises ConfigError naming `field` where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as problem:
        raise ConfigError(
            f"{field}: the package nvidia-ml-py is missing: install autotuner[gpu], or give dcgm"
        ) from problem


class NvmlSource:
    """Implements `domain.ports.MetricsSource`: gauges and energy of GPUs in this machine alone.

    `devices`: the GPUs' numbers as the driver counts them; empty: all. `library`: from `load_nvml`.
    What a GPU does not have (utilisation of one cut into instances, power of some boards, the
    energy counter before Volta) is absent. For one thread at a time.
    """

    def __init__(
        self, library: Any, devices: Sequence[int] = (), clock: Callable[[], float] = time.time
    ) -> None:
        self._nvml, self._devices, self._clock = library, tuple(devices), clock
        self._handles: tuple[Handle, ...] = ()
        self._begun = False

    def snapshot(self) -> Snapshot:
        """What the driver says now; raises TargetUnavailableError when it does not answer."""
        try:
            if not self._handles:
                self._handles = self._open()
            power_w = self._all(self._power_w)
            meter = Meter(self._all(self._energy_j), power_w=power_w)
            gauges = self._gauges(power_w)
        except self._nvml.NVMLError as problem:
            self.close()  # a driver that was lost may come back: begun anew the next time
            raise TargetUnavailableError(f"NVML: {problem}") from problem
        return Snapshot(self._clock(), gauges=gauges, energy={SOURCE: meter})

    def close(self) -> None:
        self._handles = ()
        if self._begun:
            self._begun = False
            with contextlib.suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()

    def _open(self) -> tuple[Handle, ...]:
        self._nvml.nvmlInit()
        self._begun = True
        devices = self._devices or range(self._nvml.nvmlDeviceGetCount())
        handles = tuple(map(self._nvml.nvmlDeviceGetHandleByIndex, devices))
        if not handles:
            raise TargetUnavailableError("NVML: the driver knows no GPU")
        return handles

    def _gauges(self, power_w: Mapping[str, float]) -> dict[str, float]:
        heat, memory = self._each(self._heat_c), self._each(self._memory)
        busy = self._each(self._utilisation)
        found = {}
        if power_w:
            found["power_w"] = math.fsum(power_w.values())
        if heat:
            found["temperature_c"] = max(heat)
        if memory:
            found["gpu_memory_usage"] = max(memory)
        if len(busy) == len(self._handles):
            found["gpu_utilisation"] = math.fsum(busy) / len(busy)
        return found

    def _all(self, read: Read) -> dict[str, float]:
        """The value of every GPU; nothing where one has none: the rest would read as a saving."""
        found = self._each(read)
        return dict(zip(self._names, found, strict=True)) if len(found) == len(self._names) else {}

    def _each(self, read: Read) -> list[float]:
        """The value of each GPU that has it."""
        found, nvml = [], self._nvml
        absent = (
            nvml.NVML_ERROR_NOT_SUPPORTED,
            nvml.NVML_ERROR_NO_PERMISSION,
            nvml.NVML_ERROR_FUNCTION_NOT_FOUND,  # a driver that is older than the question
        )
        for handle in self._handles:
            try:
                found.append(read(handle))
            except self._nvml.NVMLError as problem:
                if problem.value not in absent:
                    raise
        return found

    @property
    def _names(self) -> list[str]:
        numbers = self._devices or range(len(self._handles))
        return [f"gpu{number}" for number in numbers]

    def _energy_j(self, handle: Handle) -> float:
        """Since the driver was loaded."""
        return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000  # told in mJ

    def _power_w(self, handle: Handle) -> float:
        return float(self._nvml.nvmlDeviceGetPowerUsage(handle)) / 1000  # told in mW

    def _heat_c(self, handle: Handle) -> float:
        sensor = self._nvml.NVML_TEMPERATURE_GPU
        return float(self._nvml.nvmlDeviceGetTemperature(handle, sensor))

    def _memory(self, handle: Handle) -> float:
        told = self._nvml.nvmlDeviceGetMemoryInfo(handle)
        return 1 - float(told.free) / float(told.total)

    def _utilisation(self, handle: Handle) -> float:
        return float(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu) / 100
