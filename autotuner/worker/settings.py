"""The worker's knobs: what each accepts, and an error with the knob, the value and the fix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

SchedulePolicy = Literal["fcfs", "length-grouped"]
BatchSizes = Literal["exact", "powers-of-two", "multiples-of-8"]
AttentionMode = Literal["full", "sliding_window", "top_k"]
WeightDtype = Literal["float32", "bfloat16", "int8"]

SCHEDULE_POLICIES: tuple[SchedulePolicy, ...] = get_args(SchedulePolicy)
ATTENTION_MODES: tuple[AttentionMode, ...] = get_args(AttentionMode)
CHOICES: dict[str, tuple[str, ...]] = {
    "schedule_policy": SCHEDULE_POLICIES,
    "batch_sizes": get_args(BatchSizes),
    "attention": ATTENTION_MODES,
    "weight_dtype": get_args(WeightDtype),
}
SWITCHES = ("memory_efficient",)
BASE = "base"  # the value of `weights` that is the model as it is
# A change of one of these is blue/green: a new engine group is built and takes over.
REBUILD_KNOBS = frozenset(
    {
        "weights",
        "weight_dtype",
        "tensor_parallel_size",
        "pipeline_parallel_size",
        "data_parallel_size",
        "num_threads",
    }
)
CHANGES_ANSWERS = frozenset({"attention", "weight_dtype", "weights"})


class InvalidSettingError(ValueError):
    """A knob that does not exist or a value that it does not take."""

    def __init__(self, field: str, value: object, fix: str) -> None:
        super().__init__(f"{field}={value!r}: {fix}")
        self.field, self.value = field, value


@dataclass(frozen=True)
class Limits:
    """What this worker can hold: the upper bounds of its knobs follow from it.

    `max_ranks` bounds the processes of all replicas together, `max_threads` their threads.
    `weights` are the values of that knob, none where this worker does not have it, and
    `refused_weights` adapters that are there and can't be used, with the reason.
    """

    max_num_seqs: int
    max_model_len: int
    max_num_batched_tokens: int = 8192
    max_tensor_parallel: int = 1
    max_pipeline_parallel: int = 1
    max_ranks: int = 1
    max_threads: int = 1
    weight_dtypes: tuple[str, ...] = CHOICES["weight_dtype"]
    weights: tuple[str, ...] = ()
    refused_weights: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class WorkerSettings:
    """One full assignment of the knobs; live ones are applied between two engine steps."""

    max_num_seqs: int = 32
    batch_timeout_ms: int = 0
    batch_sizes: BatchSizes = "exact"
    max_num_batched_tokens: int = 512
    memory_efficient: bool = False
    schedule_policy: SchedulePolicy = "fcfs"
    attention: AttentionMode = "full"
    weights: str = BASE
    weight_dtype: WeightDtype = "float32"
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1
    num_threads: int = 1

    @property
    def ranks(self) -> int:
        """Processes that compute, over all replicas."""
        return self.data_parallel_size * self.tensor_parallel_size * self.pipeline_parallel_size

    def told(self, limits: Limits) -> dict[str, Any]:
        """Each knob that the worker has, with its value."""
        return {name: value for name, value in asdict(self).items() if _is_there(name, limits)}

    def needs_rebuild(self, other: WorkerSettings) -> bool:
        """Whether going over to `other` takes a new engine group."""
        return any(getattr(self, name) != getattr(other, name) for name in REBUILD_KNOBS)

    def updated(self, changes: Mapping[str, Any], limits: Limits) -> WorkerSettings:
        """These settings with `changes` applied; raises InvalidSettingError and changes nothing."""
        known = {f.name for f in fields(self) if _is_there(f.name, limits)}
        for name, value in changes.items():
            if name not in known:
                raise InvalidSettingError(name, value, _unknown(name, known))
            _check(name, value, limits)
        settings = replace(self, **changes)
        _check_together(settings, changes, limits)
        return settings


def int_ranges(limits: Limits) -> dict[str, tuple[int, int]]:
    """Inclusive (least, greatest) of each whole-number knob."""
    return {
        "max_num_seqs": (1, limits.max_num_seqs),
        "batch_timeout_ms": (0, 100),
        "max_num_batched_tokens": (16, limits.max_num_batched_tokens),
        "tensor_parallel_size": (1, min(limits.max_ranks, limits.max_tensor_parallel)),
        "pipeline_parallel_size": (1, min(limits.max_ranks, limits.max_pipeline_parallel)),
        "data_parallel_size": (1, limits.max_ranks),
        "num_threads": (1, limits.max_threads),
    }


def _is_there(name: str, limits: Limits) -> bool:
    return name != "weights" or bool(limits.weights)


def _unknown(name: str, known: set[str]) -> str:
    if name == "weights":
        return "this worker has no adapters: start it with --adapters FOLDER"
    return f"unknown knob; known: {', '.join(sorted(known))}"


def _check(name: str, value: object, limits: Limits) -> None:
    if name in SWITCHES:
        if not isinstance(value, bool):
            raise InvalidSettingError(name, value, "give true or false")
        return
    choices = choice_values(limits).get(name)
    if choices is not None:
        if value not in choices:
            fix = f"give one of {', '.join(choices)}"
            raise InvalidSettingError(name, value, _refusal(name, value, limits) or fix)
        return
    least, greatest = int_ranges(limits)[name]
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= greatest:
        raise InvalidSettingError(name, value, f"give a whole number from {least} to {greatest}")


def choice_values(limits: Limits) -> dict[str, tuple[str, ...]]:
    """The values of each knob that is one of a few texts."""
    values = CHOICES | {"weight_dtype": limits.weight_dtypes}
    return values | {"weights": limits.weights} if limits.weights else values


def _refusal(name: str, value: object, limits: Limits) -> str | None:
    """What is known against a value that is there, but can't be used."""
    refused = name == "weights" and isinstance(value, str)
    return limits.refused_weights.get(str(value)) if refused else None


def _check_together(settings: WorkerSettings, changes: Mapping[str, Any], limits: Limits) -> None:
    """Sizes that are fine one by one and too many together."""
    name = next((name for name in changes if name in REBUILD_KNOBS), "data_parallel_size")
    value = getattr(settings, name)
    if settings.ranks > limits.max_ranks:
        raise InvalidSettingError(
            name,
            value,
            f"tensor x pipeline x data parallel make {settings.ranks} processes and this worker "
            f"may have {limits.max_ranks}: lower one of them",
        )
    threads = settings.ranks * settings.num_threads
    if threads > max(limits.max_threads, settings.ranks):
        raise InvalidSettingError(
            name,
            value,
            f"{settings.ranks} processes of {settings.num_threads} threads are more than this "
            f"machine's {limits.max_threads} cores: lower one of them",
        )


def capabilities(limits: Limits) -> dict[str, dict[str, Any]]:
    """Each knob's type, range and whether it changes live: what `GET /admin/settings` tells."""
    told: dict[str, dict[str, Any]] = {
        name: {"type": "int", "min": least, "max": greatest}
        for name, (least, greatest) in int_ranges(limits).items()
    }
    told |= {
        name: {"type": "choice", "values": list(values)}
        for name, values in choice_values(limits).items()
    }
    told |= {name: {"type": "bool"} for name in SWITCHES}
    for name, knob in told.items():
        knob["live"] = name not in REBUILD_KNOBS
        knob["changes_answers"] = name in CHANGES_ANSWERS
    return told
