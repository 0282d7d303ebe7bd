"""The machine we run on as a device, measured in seconds by the worker's kernels in a child."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autotuner.domain.errors import ConfigError
from autotuner.planner.hardware import Device
from autotuner.planner.precision import Precision

NAME = "this"
_MODULE = "autotuner.worker.machine_speed"
_TIMEOUT_S = 300
_PRECISIONS = {"bfloat16": Precision.BF16, "float32": Precision.FP32}


class Speed(BaseModel):
    """What the child measured: one thread, by its CPU clock."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    dtype: str
    read_bytes_per_s: float = Field(gt=0)
    batch_flop_per_s: float = Field(gt=0)
    prompt_flop_per_s: float = Field(gt=0)

    @property
    def precision(self) -> Precision:
        """The type that the worker keeps weights in here."""
        return _PRECISIONS[self.dtype]


def measured() -> Speed:
    """Takes seconds, at one thread. Raises ConfigError where the worker's kernels can't run."""
    try:
        done = subprocess.run(  # noqa: S603 (our own module, no shell)
            [sys.executable, "-m", _MODULE],
            check=True,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
        )
        return Speed.model_validate(json.loads(done.stdout))
    except subprocess.CalledProcessError as error:
        said = (error.stderr or "").strip().splitlines()[-1:] or [f"exit code {error.returncode}"]
        raise ConfigError(f"hardware='this': the measurement failed: {said[0]}") from error
    except (OSError, subprocess.TimeoutExpired, ValueError, ValidationError) as error:
        raise ConfigError(f"hardware='this': the measurement failed: {error}") from error


def device_of(speed: Speed) -> Device:
    """One thread of this machine. Watts and price are chosen, for a core of a server."""
    return Device(
        kind="cpu",
        memory_gb=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9,
        bandwidth_gb_per_s=speed.read_bytes_per_s / 1e9,
        tflops={speed.precision.value: speed.prompt_flop_per_s / 1e12},
        batch_tflops=speed.batch_flop_per_s / 1e12,
        link_gb_per_s=None,
        per_node=1,
        tdp_w=12.0,
        idle_w=3.0,
        price_per_hour=0.05,
        purchase_price=None,
        source="measured here, one thread; watts and price chosen",
    )
