"""The trained model as a module from token ids to a loss, and what of it is trained."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autotuner.finetune.errors import TrainingError
from autotuner.finetune.training.base import Base
from autotuner.finetune.training.continuing import continue_from
from autotuner.finetune.training.plan import TrainingPlan
from autotuner.finetune.training.tokens import TokenExample

IGNORED = -100  # a label that is no answer token


class AnswerLoss(nn.Module):
    """Cross-entropy of the answer tokens alone, summed (nats).

    The output layer is applied where answers are: with a vocabulary of 50,000 tokens, logits of
    the prompts would take more memory than all the rest.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """`ids` and `labels`: [sequences, tokens]; a label is what follows, or IGNORED."""
        chosen = labels != IGNORED
        loss: torch.Tensor = nn.functional.cross_entropy(
            self._logits(ids, chosen), labels[chosen], reduction="sum"
        )
        return loss

    @torch.no_grad()
    def score(self, ids: torch.Tensor, labels: torch.Tensor) -> tuple[list[float], int]:
        """(each sequence's loss, how many answer tokens of all were the most likely ones)."""
        chosen = labels != IGNORED
        logits, wanted = self._logits(ids, chosen), labels[chosen]
        each = torch.zeros(labels.shape, device=logits.device)
        each[chosen] = nn.functional.cross_entropy(logits, wanted, reduction="none")
        return each.sum(dim=1).tolist(), int((logits.argmax(-1) == wanted).sum())

    def _logits(self, ids: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """Logits at the `chosen` places, [places, vocabulary], float32.

        Sequences are padded at their end, where causal attention never looks: no mask is needed.
        """
        hidden = self.model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
        logits: torch.Tensor = self.model.get_output_embeddings()(hidden[chosen])
        return logits.float()


def load_trainable(base: Base, plan: TrainingPlan) -> Any:
    """The base with adapters (method "lora", drawn from the plan's seed) or with all weights free.

    Raises TrainingError, for a model without the layers that the plan names as well.
    """
    on_gpu = plan.backend == "nccl"
    frozen_dtype = torch.bfloat16 if on_gpu and plan.method == "lora" else torch.float32
    model = base.load_model(frozen_dtype)
    torch.manual_seed(plan.seed)
    if plan.method == "full":
        return model.requires_grad_(True)
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=plan.rank,
        lora_alpha=plan.alpha,  # type: ignore[arg-type]  # a float does, whatever its annotation
        target_modules=list(plan.targets),
        task_type="CAUSAL_LM",
    )
    try:
        with _peft_at_work():
            adapted = get_peft_model(model, config)
    except ValueError as error:
        layers = ", ".join(sorted(_linear_names(model)))
        raise TrainingError(
            f"targets={list(plan.targets)!r}: {base.name} has no such layers; it has {layers}"
        ) from error
    if plan.start:
        continue_from(adapted, plan)
    return adapted


def load_adapter(model: Any, folder: Path) -> Any:
    """The model with the adapter of a folder in PEFT's layout; raises TrainingError."""
    from peft import PeftModel

    try:
        with _peft_at_work():
            return PeftModel.from_pretrained(model, str(folder))
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise TrainingError(f"adapter={str(folder)!r}: can't be read ({error})") from error


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training changes, by name."""
    return {name: item for name, item in model.named_parameters() if item.requires_grad}


def padded(examples: Sequence[TokenExample], device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, labels) for AnswerLoss, [sequences, tokens of the longest one less one].

    Of no examples: one token without an answer, whose loss and gradients are 0.
    """
    longest = max((len(example.ids) - 1 for example in examples), default=1)
    ids = torch.zeros(max(len(examples), 1), longest, dtype=torch.long)
    labels = torch.full_like(ids, IGNORED)
    for row, example in enumerate(examples):
        tokens = torch.tensor(example.ids)
        ids[row, : len(tokens) - 1] = tokens[:-1]
        labels[row, example.answer_from - 1 : len(tokens) - 1] = tokens[example.answer_from :]
    return ids.to(device), labels.to(device)


@contextmanager
def _peft_at_work() -> Iterator[None]:
    """It asks transformers by a name that goes out of use: their affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _linear_names(model: nn.Module) -> set[str]:
    return {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
    }
