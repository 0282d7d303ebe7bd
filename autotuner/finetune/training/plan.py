"""How a fine-tuning run is to go: the plan, what is refused of one, and its form in a file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

from autotuner.finetune.errors import TrainingError

Method = Literal["lora", "full"]
Backend = Literal["gloo", "nccl"]
Compression = Literal["none", "fp16", "bf16", "powersgd"]
Averaging = Literal["every_step", "hierarchical"]
PromptForm = Literal["plain", "chat"]

PACE = frozenset({"share", "checkpoint_every_s"})  # they change when things happen, not what


@dataclass(frozen=True)
class TrainingPlan:
    """Settings of one run; equal plans on equal examples give equal weights.

    Learning: `method` "lora" trains adapters of `rank` on the linear layers named `targets` (their
    change of a weight is alpha/rank · B·A; arXiv 2106.09685), "full" all weights. `batch_size` is
    examples per update over all processes, of which a process takes `micro_batch` through the
    model at a time. `max_tokens` bounds prompt and answer together: a longer prompt loses its
    start, a longer answer its end. Prompts are "plain" text, as in /v1/completions, or one user's
    turn in the model's "chat" template. The learning rate rises over the first `warmup_share` of
    all updates and then falls as a cosine. `start`: folder of an adapter of the same rank, alpha
    and targets that a "lora" run goes on from; "" begins anew.

    The machine: each process computes with `threads` and is paced by the CPU time that it used, so
    that the processes of a machine together take `share` of the cores they may run on. A
    checkpoint is written every `checkpoint_every_s`.

    Several processes: `processes` of them are started on this machine by torchrun, on CPUs with
    "gloo", on GPUs with "nccl" (one process may use a GPU too). Gradients are averaged in buckets
    of `bucket_mb` while the backward pass goes on, as they are or compressed: "fp16", "bf16", or
    "powersgd" of rank `powersgd_rank` after `powersgd_start` updates (arXiv 1905.13727; over gloo
    in one bucket, after the backward pass).
    `averaging` "hierarchical": after `local_start` updates, gradients are averaged within groups
    of `group_size` processes (a node's) alone, and weights over all of them every `average_every`
    updates (post-local SGD, arXiv 1808.07217).
    """

    method: Method = "lora"
    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    learning_rate: float = 2e-4
    warmup_share: float = 0.05
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    epochs: int = 1
    batch_size: int = 8
    micro_batch: int = 4
    max_tokens: int = 512
    prompt_form: PromptForm = "plain"
    start: str = ""
    seed: int = 0
    threads: int = 1
    share: float = 1.0
    checkpoint_every_s: float = 60.0
    processes: int = 1
    backend: Backend = "gloo"
    compression: Compression = "none"
    powersgd_rank: int = 8  # measured: study gradient_compression
    powersgd_start: int = 10
    averaging: Averaging = "every_step"
    group_size: int = 1
    average_every: int = 4
    local_start: int = 10
    bucket_mb: float = 25.0

    def check(self) -> None:
        """Raises TrainingError that names the first field that can't be, its value and the fix."""
        for name in _COUNTS:
            _require(self, name, getattr(self, name) >= 1, "give at least 1")
        for name in ("seed", "powersgd_start", "local_start", "weight_decay"):
            _require(self, name, getattr(self, name) >= 0, "give 0 or more")
        for name in ("alpha", "learning_rate", "clip_norm", "bucket_mb", "checkpoint_every_s"):
            value = getattr(self, name)
            _require(self, name, value > 0 and math.isfinite(value), "give a number above 0")
        for name, choices in _CHOICES.items():
            one_of = f"give one of {', '.join(choices)}"
            _require(self, name, getattr(self, name) in choices, one_of)
        _require(self, "max_tokens", self.max_tokens >= 2, "give at least 2")
        _require(self, "share", 0 < self.share <= 1, "give a share above 0, at most 1")
        _require(self, "warmup_share", 0 <= self.warmup_share < 1, "give a share from 0 to below 1")
        _require(self, "targets", bool(self.targets), "name at least one layer, such as q_proj")
        goes_on = not self.start or self.method == "lora"
        _require(self, "start", goes_on, 'leave it out: method "full" begins from the base')
        self._check_processes()

    def _check_processes(self) -> None:
        of_all = f"give a divisor of processes ({self.processes})"
        _require(self, "group_size", self.processes % self.group_size == 0, of_all)
        at_least = f"give at least one example for each of {self.processes} processes"
        _require(self, "batch_size", self.batch_size >= self.processes, at_least)
        on_cpu = self.compression == "bf16" and self.backend == "gloo"
        _require(self, "compression", not on_cpu, "gloo has no bf16: take fp16, or backend nccl")
        both = self.averaging == "hierarchical" and self.compression == "powersgd"
        alone = "PowerSGD averages over all processes: take none, fp16 or bf16 with hierarchical"
        _require(self, "compression", not both, alone)

    def as_dict(self) -> dict[str, Any]:
        """Its form in JSON."""
        return {**asdict(self), "targets": list(self.targets)}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """What `as_dict` gave; raises TrainingError for a field that there is not."""
        known = {field.name for field in fields(cls)}
        for name in raw.keys() - known:
            raise TrainingError(f"{name}={raw[name]!r}: no such field: leave it out")
        values = dict(raw)
        if "targets" in values:
            values["targets"] = tuple(values["targets"])
        return cls(**values)

    def what_decides_the_result(self) -> dict[str, Any]:
        """The fields that the weights depend on: two runs that differ in these are two runs."""
        return {name: value for name, value in self.as_dict().items() if name not in PACE}


_COUNTS = (
    *("rank", "epochs", "batch_size", "micro_batch", "threads", "processes"),
    *("powersgd_rank", "group_size", "average_every"),
)
_CHOICES = {
    "method": get_args(Method),
    "prompt_form": get_args(PromptForm),
    "backend": get_args(Backend),
    "compression": get_args(Compression),
    "averaging": get_args(Averaging),
}


def _require(plan: TrainingPlan, name: str, holds: bool, fix: str) -> None:
    if not holds:
        raise TrainingError(f"{name}={getattr(plan, name)!r}: {fix}")
