"""The knobs that change the engine itself, as numbers: attention, weights, parallel sizes, threads.

What they do to a machine's step times and KV capacity is `machine`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from autotuner.agent.stepmodel import Floats, Ints
from autotuner.domain.knob_names import in_common_names
from autotuner.domain.knobs import Value

ENGINE_KNOBS = (
    "attention",
    "weight_dtype",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
    "num_threads",
)
ATTENTIONS = ("full", "sliding_window", "top_k")
WEIGHT_DTYPES = ("float32", "bfloat16", "int8")


@dataclass(frozen=True)
class Engine:
    """One assignment of the engine knobs; `attention` and `weight_dtype` as positions in
    ATTENTIONS and WEIGHT_DTYPES. The defaults are those of a single process on one device.
    """

    attention: int = 0
    weight_dtype: int = 1
    tensor: int = 1
    pipeline: int = 1
    data: int = 1
    threads: int = 1

    @classmethod
    def of(cls, settings: Mapping[str, Value]) -> Engine:
        """The engine that `settings` ask for, under any server's names for the knobs; one that they
        lack keeps its default.

        Raises ValueError for an attention mode or a weight type that is not known.
        """
        base, settings = cls(), in_common_names(settings)
        return cls(
            ATTENTIONS.index(str(settings.get("attention", ATTENTIONS[base.attention]))),
            WEIGHT_DTYPES.index(
                str(settings.get("weight_dtype", WEIGHT_DTYPES[base.weight_dtype]))
            ),
            int(settings.get("tensor_parallel_size", base.tensor)),
            int(settings.get("pipeline_parallel_size", base.pipeline)),
            int(settings.get("data_parallel_size", base.data)),
            int(settings.get("num_threads", base.threads)),
        )

    @property
    def devices(self) -> int:
        """Devices (or processes) in use."""
        return self.tensor * self.pipeline * self.data


@dataclass(frozen=True)
class EngineTable:
    """Many engines side by side: arrays of shape [environment]."""

    attention: Ints
    weight_dtype: Ints
    tensor: Ints
    pipeline: Ints
    data: Ints
    threads: Ints

    @classmethod
    def of(cls, engines: Sequence[Engine]) -> EngineTable:
        return cls(
            *(np.array([getattr(e, f.name) for e in engines], np.int64) for f in fields(cls))
        )

    def take(self, rows: Ints) -> EngineTable:
        return EngineTable(*(getattr(self, f.name)[rows] for f in fields(EngineTable)))

    @property
    def devices(self) -> Floats:
        """Devices (or processes) in use, [environment]."""
        return (self.tensor * self.pipeline * self.data).astype(np.float64)
