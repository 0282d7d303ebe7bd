"""The planner's figures as the agent's first belief of a target on new hardware."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from autotuner.agent.prior import Prior
from autotuner.domain.errors import ConfigError
from autotuner.domain.knob_names import in_common_names
from autotuner.domain.knobs import Settings
from autotuner.planner.architecture import Architecture
from autotuner.planner.hardware import HARDWARE_FILE, Device, chosen, read_hardware
from autotuner.planner.memory import Layout, Storage, memory_of
from autotuner.planner.performance import Replica, steps_of
from autotuner.planner.precision import Precision
from autotuner.planner.reading import read_model
from autotuner.planner.this_machine import NAME, device_of, measured
from autotuner.resources import resource_folder

_USUAL_SEQUENCES = 32  # chosen: where no setting says how many run at once
_SHARES = ("gpu_memory_utilization", "mem_fraction_static")


@dataclass(frozen=True)
class Expected:
    """A model on one kind of device; called with settings, it gives the prior of their engine.

    Tensor and pipeline sizes, the number of sequences, the tokens of a step and the share of the
    memory are those of the settings, under any server's names. Data ranks are engines of their own.
    """

    model: Architecture
    device: Device
    storage: Storage

    def __call__(self, settings: Settings) -> Prior:
        known = in_common_names(settings)

        def number(name: str, otherwise: float) -> float:
            value = known.get(name, otherwise)
            return float(value) if isinstance(value, int | float) else otherwise

        layout = Layout(
            int(number("tensor_parallel_size", 1)), int(number("pipeline_parallel_size", 1))
        )
        sequences = number("max_num_seqs", _USUAL_SEQUENCES)
        share = next((number(one, 1.0) for one in _SHARES if one in known), None)
        storage = replace(
            self.storage,
            sequences=int(sequences),
            batched_tokens=int(number("max_num_batched_tokens", self.storage.batched_tokens)),
            memory_share=self.storage.memory_share if share is None else share,
        )
        replica = Replica(self.model, self.device, storage, layout)
        held = memory_of(self.model, self.device, storage, layout)
        # A plan that leaves no room for KV is wrong about a server that runs: then nothing is said.
        room = {"kv_tokens": float(held.kv_tokens)} if held.kv_tokens else {}
        return Prior(steps_of(replica, sequences), **room)


_measured_once = cache(measured)


def expected(
    model: str, hardware: str, precision: str | None = None, table: Path | None = None
) -> Expected:
    """Of names as `autotuner plan` takes them; `hardware` "this" measures the machine it runs on.

    `precision`: bf16 where none is given; on this machine, what is usual on it. `table`: a hardware
    table of the user's own. Raises ConfigError naming what is unknown.
    """
    tables = resource_folder("policies") / "tables"
    usual = Precision.BF16
    if hardware == NAME:
        speed = _measured_once()
        device, usual = device_of(speed), speed.precision
    else:
        listed = read_hardware(tables / HARDWARE_FILE if table is None else table)
        device = next(iter(chosen(listed, [hardware]).values()))
    weights = usual if precision is None else Precision(precision)
    found = Expected(read_model(model, tables), device, Storage(weights=weights))
    if device.flops_per_s(weights) is None:
        raise ConfigError(
            f"precision={weights.value!r}: {hardware} lists no type to compute it in "
            f"(it has {', '.join(device.tflops)})"
        )
    return found
