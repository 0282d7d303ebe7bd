"""What hardware exporters say, in canonical gauges: NVIDIA's DCGM and Prometheus' node exporter.

Pure: pages in, gauges and meters of energy out. What a page does not tell is absent, never 0.

Canonical: `gpu_utilisation` (0..1, mean), `gpu_memory_usage` (0..1, the fullest), `power_w` (all
together), `temperature_c` (the hottest), `host_memory_usage` (0..1), `host_load_ratio` (runnable
processes per core, 1 minute), `host_temperature_c`, `out_of_memory_total` (the kernel's kills).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping

from autotuner.domain.energy import Meter
from autotuner.metrics.samples import Page, Sample

Gauges = dict[str, float]

# DCGM's smallest "no value" (an int32); none of our gauges, in W, °C, % or MiB, comes near it.
_BLANK = 0x7FFFFFF0
_BLANK_COUNTER = 0x7FFFFFFFFFFFFFF0  # the smallest of an int64, which energy in mJ is


def dcgm(page: Page) -> Gauges:
    """The gauges of all GPUs of a DCGM exporter's page, whole or cut into instances (MIG).

    Power and heat belong to the whole GPU and are repeated per instance; memory is the instance's
    own. Utilisation is `DCGM_FI_DEV_GPU_UTIL`; a GPU cut into instances does not have it, there
    the mean of its instances' `DCGM_FI_PROF_GR_ENGINE_ACTIVE` counts. That one is not preferred:
    exporters are known that tell 0 while the GPU works.
    """
    heat, gpus, power_w = _per_gpu(page, "GPU_TEMP", max), _gpus(page), _power_w(page)
    found = {}
    if power_w:
        found["power_w"] = math.fsum(power_w.values())
    if heat:
        found["temperature_c"] = max(heat.values())
    used = _dcgm_memory(page)
    if used:
        found["gpu_memory_usage"] = max(used)
    busy = _dcgm_utilisation(page)
    if busy and len(busy) == len(gpus):
        found["gpu_utilisation"] = _mean(busy.values())
    return found


def dcgm_meter(page: Page) -> Meter | None:
    """The energy counters of all GPUs (`DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION`, mJ since the driver
    was loaded), and their power; None where neither is told of all of them.
    """
    told = _per_gpu(page, "TOTAL_ENERGY_CONSUMPTION", max, blank=_BLANK_COUNTER)
    counters_j = {gpu: millijoules / 1000 for gpu, millijoules in told.items()}
    meter = Meter(counters_j if counters_j.keys() == _gpus(page) else {}, power_w=_power_w(page))
    return meter if meter.tells else None


def _power_w(page: Page) -> dict[str, float]:
    """Of every GPU; nothing where one does not tell: the rest would read as a saving."""
    found = _per_gpu(page, "POWER_USAGE", max)
    return found if found.keys() == _gpus(page) else {}


def _gpus(page: Page) -> set[str]:
    return {_gpu(s) for name, samples in page.items() if name.startswith("DCGM_") for s in samples}


def of_gpus(page: Page, gpus: Collection[str]) -> Page:
    """The page without the samples of other GPUs; `gpus` are numbers or unique ids (`GPU-…`)."""
    return {
        name: tuple(s for s in samples if {s.labels.get("gpu"), s.labels.get("UUID")} & set(gpus))
        for name, samples in page.items()
    }


def _dcgm_utilisation(page: Page) -> dict[str, float]:
    percent = _per_gpu(page, "GPU_UTIL", max)
    active = _per_gpu(page, "GR_ENGINE_ACTIVE", _mean, "DCGM_FI_PROF_")
    return {**active, **{gpu: value / 100 for gpu, value in percent.items()}}


def _dcgm_memory(page: Page) -> list[float]:
    """The used share of each GPU or instance that tells both what is used and what is free."""
    used, free, reserved = (
        {_instance(s): s.value for s in _told(page, f"DCGM_FI_DEV_FB_{what}")}
        for what in ("USED", "FREE", "RESERVED")
    )
    sizes = {i: used[i] + free[i] + reserved.get(i, 0.0) for i in used if i in free}
    return [(size - free[i]) / size for i, size in sizes.items() if size > 0]


def _per_gpu(
    page: Page,
    field: str,
    combine: Callable[[Iterable[float]], float],
    prefix: str = "DCGM_FI_DEV_",
    blank: float = _BLANK,
) -> dict[str, float]:
    by_gpu: dict[str, list[float]] = {}
    for sample in _told(page, prefix + field, blank):
        by_gpu.setdefault(_gpu(sample), []).append(sample.value)
    return {gpu: combine(values) for gpu, values in by_gpu.items()}


def _told(page: Page, name: str, blank: float = _BLANK) -> list[Sample]:
    return [s for s in page.get(name, ()) if math.isfinite(s.value) and 0 <= s.value < blank]


def _gpu(sample: Sample) -> str:
    labels = sample.labels
    return labels.get("UUID") or f"{labels.get('Hostname', '')}/{labels.get('gpu', '')}"


def _instance(sample: Sample) -> tuple[str, str]:
    return _gpu(sample), sample.labels.get("GPU_I_ID", "")


def node(page: Page) -> Gauges:
    """The gauges of one host's node exporter's page.

    Memory that caches hold is free (`MemAvailable`); of the temperature sensors the hottest counts.
    """
    found = {}
    total, free = _one(page, "node_memory_MemTotal_bytes"), _one(page, _AVAILABLE)
    if total and free is not None:
        found["host_memory_usage"] = 1 - free / total
    load = _one(page, "node_load1")
    cores = {s.labels.get("cpu") for s in page.get("node_cpu_seconds_total", ())}
    if load is not None and cores:
        found["host_load_ratio"] = load / len(cores)
    heat = [s.value for name in _HEAT for s in page.get(name, ()) if math.isfinite(s.value)]
    if heat:
        found["host_temperature_c"] = max(heat)
    killed = _one(page, "node_vmstat_oom_kill")
    if killed is not None:
        found["out_of_memory_total"] = killed
    return found


_AVAILABLE = "node_memory_MemAvailable_bytes"
_HEAT = ("node_hwmon_temp_celsius", "node_thermal_zone_temp")


def _one(page: Page, name: str) -> float | None:
    samples = page.get(name, ())
    return samples[0].value if samples and math.isfinite(samples[0].value) else None


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed)


CANONICAL = frozenset(
    {
        "gpu_utilisation",
        "gpu_memory_usage",
        "power_w",
        "temperature_c",
        "host_memory_usage",
        "host_load_ratio",
        "host_temperature_c",
        "out_of_memory_total",
    }
)
# What each exporter is called in the configuration, and how its page is read.
READERS: Mapping[str, Callable[[Page], Gauges]] = {"dcgm": dcgm, "node": node}
# Those that tell energy.
METERS: Mapping[str, Callable[[Page], Meter | None]] = {"dcgm": dcgm_meter}
# The names on the wire that they read, as one regular expression for a Prometheus server.
WANTED: Mapping[str, str] = {
    "dcgm": "DCGM_FI_DEV_(GPU_UTIL|GPU_TEMP|POWER_USAGE|TOTAL_ENERGY_CONSUMPTION"
    "|FB_(USED|FREE|RESERVED))"
    "|DCGM_FI_PROF_GR_ENGINE_ACTIVE",
    "node": "node_memory_Mem(Total|Available)_bytes|node_load1|node_cpu_seconds_total"
    "|node_hwmon_temp_celsius|node_thermal_zone_temp|node_vmstat_oom_kill",
}


def meters_of(exporter: str, page: Page) -> dict[str, Meter | None]:
    """The energy that an exporter's page tells, by source; None where it should tell and does not.

    Empty for an exporter that never tells any.
    """
    return {exporter: METERS[exporter](page)} if exporter in METERS else {}
