"""What a rank is told before it joins a group; JSON, so that it may cross machines."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.settings import WorkerSettings


@dataclass(frozen=True)
class Meeting:
    """Where the ranks of one group find each other: a store, and the group's part of its keys.

    `memory` is the path of memory that all share, where they are on one machine.
    """

    host: str
    port: int
    prefix: str
    memory: str | None = None


@dataclass(frozen=True)
class Seat:
    """Where one rank runs: its folders with the model and with adapters, and which of its
    machine's devices it has.
    """

    model: Path
    device_index: int
    adapters: Path | None = None


@dataclass(frozen=True)
class Order:
    """Join as `rank`. The options are the leader's; the folders and the device the rank's own."""

    rank: int
    meeting: Meeting
    seat: Seat
    options: EngineOptions

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), default=str).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Order:
        raw: dict[str, Any] = json.loads(text)
        options = raw["options"]
        options["settings"] = WorkerSettings(**options["settings"])
        options |= _paths(options)
        seat = Seat(**(raw["seat"] | _paths(raw["seat"])))
        return cls(raw["rank"], Meeting(**raw["meeting"]), seat, EngineOptions(**options))

    def own_options(self) -> EngineOptions:
        """The options as this rank loads its part of the model."""
        device = device_name(self.options.device, self.seat.device_index)
        return replace(
            self.options, model=self.seat.model, adapters=self.seat.adapters, device=device
        )


def _paths(raw: dict[str, Any]) -> dict[str, Path | None]:
    adapters = raw["adapters"]
    return {"model": Path(raw["model"]), "adapters": None if adapters is None else Path(adapters)}


def device_name(kind: str, index: int) -> str:
    """The device of a rank: one GPU each, and the CPU for all. A kind with an index stays."""
    return kind if kind == "cpu" or ":" in kind else f"{kind}:{index}"
