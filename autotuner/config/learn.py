"""How a target's model goes on learning from new examples: `autotuner learn`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from autotuner.config.experiment import ExperimentFields
from autotuner.config.model import Model, Seconds, Share

Count = Annotated[int, Field(ge=1)]

# What a test of weights changes of its policy. Chosen: 32 answers of some twenty tokens each leave
# a pair's difference of about two points; every arm takes a rebuild, so that pairs are dear.
WEIGHTS_TEST: dict[str, Any] = {
    "outcome": "quality",
    "probe_items": 32,
    "prior_sd": 0.02,
    "max_pairs": 40,
}
_JUDGES_ANSWERS = ("quality", "feedback")


class TrainingConfig(Model):
    """How adapters are trained; see docs/learning.md for what each costs."""

    rank: Count = 8
    alpha: Annotated[float, Field(gt=0)] = Field(
        16.0, description="the change of a weight is alpha/rank times the product of both factors"
    )
    targets: tuple[str, ...] = Field(
        ("q_proj", "k_proj", "v_proj", "o_proj"), description="the linear layers that get adapters"
    )
    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    epochs: Count = 1
    batch_size: Count = Field(8, description="examples per update, over all processes")
    micro_batch: Count = Field(4, description="of which a process computes so many at a time")
    max_tokens: Annotated[int, Field(ge=8)] = Field(512, description="of prompt and answer")
    prompt_form: Literal["plain", "chat"] = Field(
        "plain", description="chat: the prompt as a user's turn in the model's chat template"
    )
    seed: Annotated[int, Field(ge=0)] = 0
    threads: Count = Field(1, description="of each process")
    checkpoint_every_s: Seconds = 60.0
    processes: Count = Field(1, description="on this machine, started by torchrun")
    backend: Literal["gloo", "nccl"] = "gloo"
    compression: Literal["none", "fp16", "bf16", "powersgd"] = Field(
        "none", description="of gradients between processes"
    )
    powersgd_rank: Count = Field(8, description="powersgd: of the matrices that are sent")
    powersgd_start: Annotated[int, Field(ge=0)] = Field(
        10, description="powersgd: updates before it begins"
    )
    averaging: Literal["every_step", "hierarchical"] = "every_step"
    group_size: Count = Field(1, description="hierarchical: processes that form a node")
    average_every: Count = Field(4, description="hierarchical: updates between two averages")
    local_start: Annotated[int, Field(ge=0)] = Field(
        10, description="hierarchical: updates before it begins"
    )
    bucket_mb: Annotated[float, Field(gt=0)] = Field(
        25.0, description="of gradients that are sent while the backward pass goes on"
    )


class LearnConfig(Model):
    """New examples in, better weights out: trained beside the service, kept if a test says so."""

    target: str | None = Field(None, description="whose model it is; needed with several targets")
    folder: Path = Field(description="where the examples and the runs lie; nobody else's")
    adapters: Path = Field(
        description="where finished adapters go: the folder of the worker's --adapters"
    )
    base: str | None = Field(
        None, description="the worker's --model: a folder or a GGUF file; none: the embedded model"
    )
    golden: Path | None = Field(
        None,
        description="file of held-out examples for the worker's --golden, rewritten at each test",
    )
    golden_items: Count = Field(256, description="examples in it")
    inbox: Path | None = Field(
        None, description="folder whose *.jsonl files are taken in; none: `inbox` under folder"
    )
    at: tuple[str, ...] = Field(
        ("02:00", "10:00", "18:00"), description="times of the day (UTC) at which a run begins"
    )
    checksum_required: bool = Field(
        False, description="refuse a file of examples that has no FILE.sha256 beside it"
    )
    near_duplicate: Annotated[float, Field(gt=0, le=1)] = Field(
        0.85, description="cosine similarity above which the later of two examples is left out"
    )
    minimum_score: Share = Field(0.0, description="examples that are scored lower are left out")
    held_out_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.05, description="of all prompts: never trained on, for evaluation and the golden file"
    )
    min_examples: Count = Field(50, description="new ones below which nothing is trained")
    replay: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.25, description="share of older examples in what is trained on, against forgetting"
    )
    share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.25, description="of this machine's cores, which a training keeps to by pausing"
    )
    training: TrainingConfig = TrainingConfig()
    time_limit_s: Seconds = Field(6 * 3600.0, description="after which a run is ended; it resumes")
    attempts: Count = Field(5, description="times that a training is begun or resumed")
    min_gain: Annotated[float, Field(ge=0)] = Field(
        0.0, description="nats per token by which the held-out loss has to fall to be worth a test"
    )
    forgetting: Annotated[float, Field(ge=0)] = Field(
        0.05, description="nats per token by which the loss on older examples may rise"
    )
    agreement_margin: Share = Field(
        0.01,
        description="by which the share of held-out tokens that are told right may fall; the live "
        "test then asks for a rise",
    )
    pairing: Annotated[float, Field(ge=0)] = Field(
        0.05,
        description="nats per token by which new answers have to be likelier after their own "
        "prompts than after others', against labels that were mixed up; 0: not asked",
    )
    experiment: ExperimentFields = Field(
        ExperimentFields(),
        description="how weights are tested: what this changes of the policy's; the outcome is "
        "quality, with 32 answers in a probe and 40 pairs at most, unless said otherwise",
    )

    @field_validator("at")
    @classmethod
    def _times(cls, at: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [time for time in at if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", time)]
        if wrong or not at:
            raise ValueError(f"{wrong or 'no time'}: give times of the day such as 02:00, in UTC")
        return tuple(sorted(set(at)))

    @field_validator("experiment")
    @classmethod
    def _answers_are_judged(cls, experiment: ExperimentFields) -> ExperimentFields:
        given = "outcome" in experiment.model_fields_set
        if given and experiment.outcome not in _JUDGES_ANSWERS:
            raise ValueError(
                f"outcome={experiment.outcome!r}: weights are kept for better answers: give one "
                f"of {', '.join(_JUDGES_ANSWERS)}"
            )
        return experiment

    @property
    def inbox_folder(self) -> Path:
        return self.folder / "inbox" if self.inbox is None else self.inbox

    def test_changes(self) -> dict[str, Any]:
        """What a test of weights changes of the policy's experiment, as JSON values."""
        return {**WEIGHTS_TEST, **self.experiment.model_dump(mode="json", exclude_unset=True)}
