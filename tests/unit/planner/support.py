"""Tables as shipped, and a machine to plan with."""

from __future__ import annotations

from pathlib import Path

from autotuner.planner.architecture import Architecture
from autotuner.planner.hardware import Device, read_hardware
from autotuner.planner.reading import read_model

TABLES = Path(__file__).parents[3] / "policies" / "tables"
DEVICES = read_hardware(TABLES / "hardware.yaml")


def model(name: str) -> Architecture:
    return read_model(name, TABLES)


def device(name: str, **changes: object) -> Device:
    return Device.model_validate(DEVICES[name].model_dump() | changes)
