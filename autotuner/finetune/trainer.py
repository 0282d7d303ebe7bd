"""The model as a job sees it: adapters trained with torch, by the configuration's plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autotuner.config import LearnConfig
from autotuner.finetune.evaluation import Evaluation, evaluate
from autotuner.finetune.examples import Example
from autotuner.finetune.training import Progress, Trained, TrainingPlan, train


class AdapterTrainer:
    """Implements `job.Model` for the weights at `base`: a folder, or a GGUF file."""

    def __init__(self, base: Path, wanted: LearnConfig) -> None:
        self._base = base
        self._plan = TrainingPlan(**wanted.training.model_dump(), share=wanted.share)

    def train(
        self,
        examples: Sequence[Example],
        start: Path | None,
        out: Path,
        progress: Callable[[Progress], None],
        facts: Mapping[str, Any],
    ) -> Trained:
        plan = replace(self._plan, start="" if start is None else str(start.resolve()))
        return train(self._base, examples, plan, out, progress, facts)

    def evaluate(self, adapter: Path | None, examples: Sequence[Example]) -> Evaluation:
        plan = self._plan
        return evaluate(
            self._base, adapter, examples, max_tokens=plan.max_tokens,
            prompt_form=plan.prompt_form, threads=plan.threads, share=plan.share,
        )  # fmt: skip
