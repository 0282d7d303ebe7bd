"""How long prompts and answers are: mixes of uniform ranges, or lognormal. Pure and seeded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autotuner.domain.errors import ConfigError

Lengths = NDArray[np.int64]  # shape [n, 2]: prompt tokens, output tokens


class LengthModel(Protocol):
    """Draws the lengths of requests."""

    def sample(self, rng: np.random.Generator, n: int) -> Lengths:
        """Shape [n, 2]: prompt and output tokens, each at least 1."""
        ...


@dataclass(frozen=True)
class Range:
    """Whole numbers from `least` to `greatest`, both included, all as likely."""

    least: int
    greatest: int

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.greatest:
            raise ConfigError(
                f"tokens from {self.least} to {self.greatest}: give two rising numbers from 1"
            )

    def sample(self, rng: np.random.Generator, n: int) -> NDArray[np.int64]:
        return rng.integers(self.least, self.greatest, size=n, endpoint=True)


@dataclass(frozen=True)
class Lognormal:
    """Lognormal lengths with this median and this sigma of the logarithm, clamped to a range."""

    median: float
    sigma: float
    within: Range

    def __post_init__(self) -> None:
        if not (self.median >= 1 and self.sigma >= 0):
            raise ConfigError(
                f"lognormal median={self.median}, sigma={self.sigma}: "
                "give a median of at least 1 and a sigma of at least 0"
            )

    def sample(self, rng: np.random.Generator, n: int) -> NDArray[np.int64]:
        drawn = rng.lognormal(math.log(self.median), self.sigma, size=n)
        return np.clip(np.rint(drawn), self.within.least, self.within.greatest).astype(np.int64)


@dataclass(frozen=True)
class Component:
    """One kind of request and how often it comes, relative to the others."""

    weight: float
    prompt: Range | Lognormal
    output: Range | Lognormal


@dataclass(frozen=True)
class Mix:
    """Requests of several kinds, each drawn independently of the others."""

    components: tuple[Component, ...]

    def __post_init__(self) -> None:
        if not self.components or any(not c.weight > 0 for c in self.components):
            raise ConfigError(
                "a mix needs at least one kind of request, each with a weight above 0"
            )

    def sample(self, rng: np.random.Generator, n: int) -> Lengths:
        weights = np.array([c.weight for c in self.components])
        kinds = rng.choice(len(weights), size=n, p=weights / weights.sum())
        lengths = np.empty((n, 2), dtype=np.int64)
        for kind, component in enumerate(self.components):
            rows = np.flatnonzero(kinds == kind)
            lengths[rows, 0] = component.prompt.sample(rng, len(rows))
            lengths[rows, 1] = component.output.sample(rng, len(rows))
        return lengths


# Chosen: short chats, and the same with a tenth of long prompts, whose prefill holds up the rest.
PRESETS: Mapping[str, Mix] = MappingProxyType(
    {
        "short": Mix((Component(1.0, Range(16, 128), Range(16, 64)),)),
        "long-tail": Mix(
            (
                Component(0.9, Range(64, 256), Range(16, 96)),
                Component(0.1, Range(1000, 2000), Range(16, 96)),
            )
        ),
        "chat": Mix((Component(1.0, Lognormal(200, 0.9, Range(16, 2000)), Range(16, 192)),)),
    }
)


def named_mix(name: str) -> Mix:
    """A preset by its name, or the mix in a YAML or JSON file. Raises ConfigError."""
    if name in PRESETS:
        return PRESETS[name]
    path = Path(name)
    try:
        parsed = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"mix={name!r}: give one of {', '.join(PRESETS)}, or a YAML file ({error})"
        ) from error
    try:
        return _MixFile.model_validate({"components": parsed}).to_mix()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{name}: {where}: {first['msg']} (got {first['input']!r})") from error


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _LognormalPart(_Part):
    median: float
    sigma: float
    within: tuple[int, int]

    def to_domain(self) -> Lognormal:
        return Lognormal(self.median, self.sigma, Range(*self.within))


class _ComponentPart(_Part):
    weight: float = Field(default=1.0, gt=0)
    prompt: tuple[int, int] | _LognormalPart
    output: tuple[int, int] | _LognormalPart


class _MixFile(_Part):
    components: list[_ComponentPart] = Field(min_length=1)

    def to_mix(self) -> Mix:
        return Mix(
            tuple(
                Component(c.weight, _tokens(c.prompt), _tokens(c.output)) for c in self.components
            )
        )


def _tokens(part: tuple[int, int] | _LognormalPart) -> Range | Lognormal:
    return part.to_domain() if isinstance(part, _LognormalPart) else Range(*part)
