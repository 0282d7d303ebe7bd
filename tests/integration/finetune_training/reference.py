"""What several processes have to come to, computed in one: a replica of the model for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from autotuner.finetune.examples import Example
from autotuner.finetune.training.base import Base
from autotuner.finetune.training.batches import batches, steps_in_all
from autotuner.finetune.training.loop import learning_rate_factor
from autotuner.finetune.training.model import AnswerLoss, load_trainable, padded, trainable
from autotuner.finetune.training.plan import TrainingPlan
from autotuner.finetune.training.tokens import Tokeniser

Tensors = list[torch.Tensor]


def reference_weights(
    base: Path, examples: Sequence[Example], plan: TrainingPlan
) -> dict[str, torch.Tensor]:
    """The trained parameters by name, without any compression."""
    found = Base.find(base)
    tokens = Tokeniser(found, plan.prompt_form, plan.max_tokens).all(examples)
    models = [load_trainable(found, plan) for _ in range(plan.processes)]
    parameters = [list(trainable(model).values()) for model in models]
    optimizers = [
        torch.optim.AdamW(mine, lr=plan.learning_rate, weight_decay=plan.weight_decay)
        for mine in parameters
    ]
    ranks = [batches(tokens, plan, rank) for rank in range(plan.processes)]
    for together in zip(*ranks, strict=True):
        step, factor = together[0].step, plan.processes / together[0].answer_tokens
        for model, batch in zip(models, together, strict=True):
            for part in batch.mine:
                (AnswerLoss(model)(*padded(part, "cpu")) * factor).backward()
        is_local = plan.averaging == "hierarchical" and step > plan.local_start
        size = plan.group_size if is_local else plan.processes
        for start in range(0, plan.processes, size):
            set_to_mean([gradients(mine) for mine in parameters[start : start + size]])
        rate = plan.learning_rate * learning_rate_factor(
            step, steps_in_all(len(tokens), plan), plan.warmup_share
        )
        for mine, optimizer in zip(parameters, optimizers, strict=True):
            nn.utils.clip_grad_norm_(mine, plan.clip_norm)
            optimizer.param_groups[0]["lr"] = rate
            optimizer.step()
            optimizer.zero_grad()
        if is_local and (step - 1 - plan.local_start) % plan.average_every == 0:
            set_to_mean([weights(mine) for mine in parameters])
    set_to_mean([weights(mine) for mine in parameters])
    return {name: item.detach() for name, item in trainable(models[0]).items()}


def gradients(parameters: list[nn.Parameter]) -> Tensors:
    return [item.grad for item in parameters if item.grad is not None]


def weights(parameters: list[nn.Parameter]) -> Tensors:
    return [item.data for item in parameters]


def set_to_mean(replicas: list[Tensors]) -> None:
    for same in zip(*replicas, strict=True):
        mean = torch.stack(same).mean(0)
        for item in same:
            item.copy_(mean)
