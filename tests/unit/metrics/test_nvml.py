"""NVML through a library of our own that answers as the driver does."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from autotuner.domain.energy import Meter
from autotuner.domain.errors import ConfigError, TargetUnavailableError
from autotuner.metrics.nvml import NvmlSource, load_nvml

NOT_SUPPORTED, NO_PERMISSION, FUNCTION_NOT_FOUND, LOST = 3, 4, 13, 15


class DriverError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"error {value}")
        self.value = value


@dataclass
class Gpu:
    """What one GPU answers: a value, or the error code that it raises."""

    power_mw: int | DriverError = 300_500
    heat_c: int | DriverError = 50
    busy_percent: int | DriverError = 80
    free_mib: int | DriverError = 8_000
    energy_mj: int | DriverError = 5_000_000


def told(value: int | DriverError) -> int:
    if isinstance(value, DriverError):
        raise value
    return value


class Library:
    """The part of pynvml that is used; a handle is a GPU's number."""

    NVMLError = DriverError
    NVML_ERROR_NOT_SUPPORTED = NOT_SUPPORTED
    NVML_ERROR_NO_PERMISSION = NO_PERMISSION
    NVML_ERROR_FUNCTION_NOT_FOUND = FUNCTION_NOT_FOUND
    NVML_TEMPERATURE_GPU = 0

    def __init__(self, *gpus: Gpu) -> None:
        self.gpus = list(gpus)
        self.opened = 0

    def nvmlInit(self) -> None:
        self.opened += 1

    def nvmlShutdown(self) -> None:
        self.opened -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if index >= len(self.gpus):
            raise DriverError(2)
        return index

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        return told(self.gpus[handle].power_mw)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        return told(self.gpus[handle].energy_mj)

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        assert sensor == self.NVML_TEMPERATURE_GPU
        return told(self.gpus[handle].heat_c)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> SimpleNamespace:
        return SimpleNamespace(gpu=told(self.gpus[handle].busy_percent), memory=1)

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:
        return SimpleNamespace(total=80_000, free=told(self.gpus[handle].free_mib), used=1)


def source(library: Library, *devices: int) -> NvmlSource:
    return NvmlSource(library, devices, clock=lambda: 7.0)


def test_all_gpus_in_canonical_gauges() -> None:
    seen = source(Library(Gpu(), Gpu(400_000, 70, 100, 40_000))).snapshot()
    assert (seen.at, seen.counters) == (7.0, {})
    assert seen.gauges == {
        "power_w": pytest.approx(700.5),
        "temperature_c": 70.0,
        "gpu_memory_usage": pytest.approx(0.9),
        "gpu_utilisation": pytest.approx(0.9),
    }


def test_the_energy_counters_of_all_gpus_with_their_power() -> None:
    seen = source(Library(Gpu(), Gpu(), Gpu(400_000, energy_mj=7_500)), 0, 2).snapshot()
    assert seen.energy == {
        "nvml": Meter({"gpu0": 5000.0, "gpu2": 7.5}, power_w={"gpu0": 300.5, "gpu2": 400.0})
    }


@pytest.mark.parametrize("code", [NOT_SUPPORTED, FUNCTION_NOT_FOUND])
def test_a_gpu_without_a_counter_leaves_power_alone(code: int) -> None:
    seen = source(Library(Gpu(), Gpu(energy_mj=DriverError(code)))).snapshot()
    assert seen.energy == {"nvml": Meter(power_w={"gpu0": 300.5, "gpu1": 300.5})}


def test_only_the_devices_that_were_asked_for() -> None:
    seen = source(Library(Gpu(), Gpu(heat_c=90), Gpu(heat_c=40)), 0, 2).snapshot()
    assert seen.gauges["temperature_c"] == 50.0


def test_what_one_gpu_does_not_have_is_absent_and_no_smaller_sum() -> None:
    mig = Gpu(busy_percent=DriverError(NOT_SUPPORTED), free_mib=DriverError(NO_PERMISSION))
    mute = Gpu(power_mw=DriverError(NOT_SUPPORTED), heat_c=DriverError(NOT_SUPPORTED))
    seen = source(Library(mig, mute)).snapshot()
    assert seen.gauges == {"temperature_c": 50.0, "gpu_memory_usage": pytest.approx(0.9)}
    assert seen.energy == {"nvml": Meter({"gpu0": 5000.0, "gpu1": 5000.0})}


def test_a_lost_gpu_is_no_snapshot_and_the_driver_is_begun_anew() -> None:
    library = Library(Gpu(heat_c=DriverError(LOST)))
    made = source(library)
    for _ in range(2):
        with pytest.raises(TargetUnavailableError, match="NVML: error 15"):
            made.snapshot()
        assert library.opened == 0
    library.gpus = [Gpu()]
    assert made.snapshot().gauges["temperature_c"] == 50.0
    assert library.opened == 1
    made.close()
    made.close()
    assert library.opened == 0


@pytest.mark.parametrize(("gpus", "devices"), [((), ()), ((Gpu(),), (3,))])
def test_no_gpu_or_an_unknown_one_is_told(gpus: tuple[Gpu, ...], devices: tuple[int, ...]) -> None:
    library = Library(*gpus)
    with pytest.raises(TargetUnavailableError, match="NVML"):
        source(library, *devices).snapshot()


def test_a_missing_package_is_told_with_the_fix() -> None:
    with pytest.raises(ConfigError, match=r"targets\.a\.metrics\.nvml: .*autotuner\[gpu\]"):
        load_nvml("targets.a.metrics.nvml", "no_such_package_of_nvml")
