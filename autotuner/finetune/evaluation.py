"""How well a model, with or without an adapter, gives the answers of examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotuner.finetune.errors import TrainingError
from autotuner.finetune.examples import Example
from autotuner.finetune.training.base import Base
from autotuner.finetune.training.pacing import Pacer, cores_allowed
from autotuner.finetune.training.plan import PromptForm
from autotuner.finetune.training.trained import DESCRIPTION_FILE, read_description

if TYPE_CHECKING:
    from autotuner.finetune.training.tokens import TokenExample

BATCH_TOKENS = 2048  # chosen: with padding; logits of as many answer tokens take 400 MB


@dataclass(frozen=True)
class Evaluation:
    """`loss`: nats per answer token; `agreement`: share of answer tokens that were the model's
    most likely; both over all `tokens` of the answers of `examples`. `each`: every example's own
    loss (nats per token), in their order.
    """

    loss: float
    agreement: float
    tokens: int
    examples: int
    each: tuple[float, ...]


def evaluate(
    base: Path,
    adapter: Path | None,
    examples: Sequence[Example],
    *,
    max_tokens: int = 512,
    prompt_form: PromptForm = "plain",
    threads: int = 1,
    share: float = 1.0,
    device: str = "cpu",
) -> Evaluation:
    """The evaluation of `base` with `adapter`'s changes (None: without), in float32.

    Each example counts by its answer tokens, whatever it is computed beside. Paced to `share` of
    the cores that the process may use; torch keeps `threads`. Raises TrainingError, for an
    adapter that was trained on other weights too.
    """
    if not examples:
        raise TrainingError("examples: none: give at least one")
    import torch

    from autotuner.finetune.training.model import AnswerLoss, padded
    from autotuner.finetune.training.tokens import Tokeniser

    torch.set_num_threads(threads)
    found = Base.find(base)
    tokens = Tokeniser(found, prompt_form, max_tokens).all(examples)
    scorer = AnswerLoss(_model(found, adapter).to(device).eval())
    pacer = Pacer(share * cores_allowed())
    losses, hits = [0.0] * len(tokens), 0
    for places in _batches(tokens):
        found_losses, more_hits = scorer.score(*padded([tokens[n] for n in places], device))
        for place, one in zip(places, found_losses, strict=True):
            losses[place] = one
        hits += more_hits
        pacer.pause()
    counts = [example.answer_tokens for example in tokens]
    each = tuple(one / count for one, count in zip(losses, counts, strict=True))
    whole = sum(counts)
    return Evaluation(sum(losses) / whole, hits / whole, whole, len(examples), each)


def _model(base: Base, adapter: Path | None) -> Any:
    import torch

    from autotuner.finetune.training.model import load_adapter

    model = base.load_model(torch.float32)
    if adapter is None:
        return model
    if (adapter / DESCRIPTION_FILE).exists():
        told = read_description(adapter)["base"]
        if told["files_sha256"] != base.files_sha256:
            raise TrainingError(
                f"adapter={str(adapter)!r}: it was trained on other weights ({told['name']}) than "
                f"{base.name}'s: give the model that it was trained on"
            )
    return load_adapter(model, adapter)


def _batches(examples: Sequence[TokenExample]) -> Iterator[list[int]]:
    """The places of examples of like length together, so that little is padded."""
    batch: list[int] = []
    for place in sorted(range(len(examples)), key=lambda n: len(examples[n].ids)):
        if batch and (len(batch) + 1) * len(examples[place].ids) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(place)
    yield batch
