"""What the proxy runs, on disk: written whole before every act, so that a crash leaves it known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from autotuner.proxy.engines.launchers.port import Place
from autotuner.proxy.ports import Value
from autotuner.whole_files import write_whole

_VERSION = 1


@dataclass(frozen=True)
class Standing:
    """A server at a place; `identity` None where it is only intended. `told`: what it said then."""

    place: Place
    settings: Mapping[str, Value]
    identity: str | None = None
    told: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """`active` takes requests; `other` starts beside it, or is to be ended."""

    active: Standing | None = None
    other: Standing | None = None
    safe: Mapping[str, Value] | None = None
    configured: Mapping[str, Value] | None = None  # by the file, when this was written


class Store(Protocol):
    """Keeps one record."""

    def load(self) -> Record: ...
    def save(self, record: Record) -> None: ...


class FileStore:
    """A Store in a JSON file; one that can't be read is like none."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Record:
        try:
            data = json.loads(self._path.read_text(encoding="utf-8"))
            if data.pop("version") != _VERSION:
                return Record()
            active, other = _standing(data["active"]), _standing(data["other"])
            return Record(active, other, data["safe"], data["configured"])
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return Record()

    def save(self, record: Record) -> None:
        """Raises OSError: acting without a record could leave a server that nobody knows of."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._path, json.dumps({"version": _VERSION, **asdict(record)}), 0o600)


def _standing(data: dict[str, Any] | None) -> Standing | None:
    return Standing(**{**data, "place": Place(**data["place"])}) if data else None
