"""How near a mode's next-token probabilities are to full attention's, on a given long text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from autotuner.worker.decoder import Batch
from autotuner.worker.engine import Engine, local_executor
from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.executor import Executor
from autotuner.worker.messages import ScoreRequest
from autotuner.worker.model_config import ModelConfig
from autotuner.worker.settings import AttentionMode, WeightDtype, WorkerSettings
from autotuner.worker.tokens import TextTokenizer

ROOT = Path(__file__).resolve().parents[3]
SLICE_ROWS = 256  # compared at a time: bounds the memory in float32
PREFILL_BUDGET = 512


@dataclass(frozen=True)
class Agreement:
    """Over `positions` tokens of the text: the share where both find the same next token most
    likely, the mean KL(full || mode) in nats, and the mode's perplexity.
    """

    positions: int
    same: float
    kl: float
    perplexity: float


def long_text(folder: Path, tokens: int) -> list[int]:
    """The first tokens of the project's own documents, one behind the other."""
    paths = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    text = "\n\n".join(path.read_text("utf-8") for path in paths)
    return TextTokenizer.from_folder(folder).encode(text, add_special_tokens=True)[:tokens]


class _Recording:
    """An executor that keeps the logits of every pass."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.logits: list[Tensor] = []

    @property
    def weight_bytes(self) -> int:
        return self._executor.weight_bytes

    @property
    def ops_name(self) -> str:
        return self._executor.ops_name

    @property
    def batch_device(self) -> torch.device:
        return self._executor.batch_device

    def forward(self, batch: Batch) -> Tensor:
        logits = self._executor.forward(batch)
        self.logits.append(logits)
        return logits

    def clear(self, blocks: list[int]) -> None:
        self._executor.clear(blocks)

    def close(self) -> None:
        self._executor.close()


def agreement_with_full(
    folder: Path, dtype: WeightDtype, text: list[int], modes: Sequence[AttentionMode]
) -> dict[AttentionMode, Agreement]:
    """Each mode against full attention; the whole text goes through the mode, as a prompt would."""
    options = EngineOptions(
        folder,
        kv_cache_gib=1.0,
        max_model_len=len(text) + 1,
        prefix_caching=False,
        settings=WorkerSettings(weight_dtype=dtype, max_num_batched_tokens=PREFILL_BUDGET),
    )
    recording = _Recording(
        local_executor(options, ModelConfig.from_folder(folder), torch.device("cpu"))
    )
    engine = Engine(options, recording)
    try:
        full = _logits(engine, recording, text, "full")
        return {
            mode: _compared(
                full, full if mode == "full" else _logits(engine, recording, text, mode), text
            )
            for mode in modes
        }
    finally:
        engine.close()


def _logits(engine: Engine, recording: _Recording, text: list[int], mode: AttentionMode) -> Tensor:
    """[len(text) - 1, vocab]: row i predicts token i + 1."""
    settings = WorkerSettings(
        weight_dtype=engine.settings.weight_dtype,
        max_num_batched_tokens=PREFILL_BUDGET,
        attention=mode,
    )
    engine.apply(settings, engine.generation + 1)
    recording.logits.clear()
    refused = engine.score(ScoreRequest(mode, text, 1))
    if refused is not None:
        raise RuntimeError(refused.error)
    while engine.wait_s() is not None:
        engine.step()
    for output in engine.scored():
        if output.error is not None:
            raise RuntimeError(output.error)
    logits = torch.cat(recording.logits)[: len(text) - 1]
    recording.logits.clear()
    return logits


@torch.inference_mode()
def _compared(full: Tensor, mine: Tensor, text: list[int]) -> Agreement:
    following = torch.tensor(text[1:])
    same, kl, log_probs = 0, 0.0, 0.0
    for first in range(0, len(full), SLICE_ROWS):
        rows = slice(first, first + SLICE_ROWS)
        theirs, ours = full[rows].float().log_softmax(-1), mine[rows].float().log_softmax(-1)
        same += int((theirs.argmax(-1) == ours.argmax(-1)).sum())
        kl += float((theirs.exp() * (theirs - ours)).sum())
        log_probs += float(ours.gather(1, following[rows, None]).sum())
    count = len(full)
    return Agreement(count, same / count, kl / count, math.exp(-log_probs / count))
