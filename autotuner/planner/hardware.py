"""The table of devices: what each one holds, reads, computes, draws and costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autotuner.domain.errors import ConfigError
from autotuner.planner.precision import Precision, computed_in

HARDWARE_FILE = "hardware.yaml"
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Device(BaseModel):
    """One device; units as in the table's head. `batch_tflops`: measured, of a decode
    batch's rows beyond the first; without it those of `tflops` stand for it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["gpu", "cpu"] = "gpu"
    memory_gb: Positive
    bandwidth_gb_per_s: Positive
    tflops: dict[str, Positive] = Field(min_length=1)
    batch_tflops: Positive | None = None
    link_gb_per_s: Positive | None = None
    per_node: int = Field(8, ge=1)
    tdp_w: Positive
    idle_w: Amount
    price_per_hour: Amount
    purchase_price: Amount | None = None
    source: str = Field(min_length=1)

    @property
    def memory_bytes(self) -> float:
        return self.memory_gb * 1e9

    @property
    def bandwidth_bytes_per_s(self) -> float:
        return self.bandwidth_gb_per_s * 1e9

    def flops_per_s(self, precision: Precision) -> float | None:
        """Dense, in the best type that serves; None where the device computes in none."""
        found = next((t for t in computed_in(precision) if t in self.tflops), None)
        return None if found is None else self.tflops[found] * 1e12


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    devices: dict[str, Device] = Field(min_length=1)


def read_hardware(path: Path) -> dict[str, Device]:
    """The devices of a table by name. Raises ConfigError, which names the file and the field."""
    try:
        parsed = yaml.safe_load(path.read_text(encoding="utf-8"))
        return dict(_Table.model_validate(parsed).devices)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"hardware={str(path)!r}: can't be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{path}: {field}: {first['msg']} (got {first['input']!r})") from error


def chosen(devices: Mapping[str, Device], names: Sequence[str]) -> dict[str, Device]:
    """Those with these names, whatever the case; all where none is given. Raises ConfigError."""
    if not names:
        return dict(devices)
    by_name = {name.casefold(): name for name in devices}
    unknown = [name for name in names if name.casefold() not in by_name]
    if unknown:
        raise ConfigError(
            f"gpu={unknown[0]!r}: not in the table: give some of {', '.join(devices)}, "
            "or a table of your own by --hardware"
        )
    return {found: devices[found] for found in (by_name[name.casefold()] for name in names)}
