"""Which inputs of a model's layers carry large activations: found once per model, kept in a file.

The model runs once over a small set of texts; every linear layer looks at what comes in and picks
its gains on the spot, so that no activations are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from autotuner.worker.batching import make_batch
from autotuner.worker.dtypes import activation_dtype
from autotuner.worker.kv import KVCache
from autotuner.worker.kv_layout import block_count
from autotuner.worker.linear import Linear, PlainLinear
from autotuner.worker.messages import SamplingParams
from autotuner.worker.model_cache import derived_path, made_once, states_of
from autotuner.worker.models.load import load_decoder
from autotuner.worker.ops.reference import ReferenceOps
from autotuner.worker.quantise import ALPHAS, GROUP_INPUTS, choose_gains
from autotuner.worker.sequence import Chunk
from autotuner.worker.sequence import Sequence as RequestSequence
from autotuner.worker.tokens import TextTokenizer
from autotuner.worker.weights import cache_folder

log = logging.getLogger(__name__)

FORMAT_VERSION = "1"
TEXTS_FILE = "quantise_texts.txt"
MOST_TOKENS = 96  # of a text: enough for the activations of late positions to look as they do
SAMPLE_TOKENS = 256  # whose outputs are compared; more changed no choice worth its time
SAMPLE_OUTPUTS = 512  # of a layer, evenly over its rows
LEAST_TOKENS = 32  # an expert that saw fewer stays with plain quantisation
HEAD_TOKENS = 6  # of each text whose logits are computed, so that the head sees activations


def gains_of(
    model: Path, cache: Path | None = None, adapter: Path | None = None
) -> dict[str, Tensor]:
    """Gains [inputs] by layer name, from the cache folder or found now; a model with an adapter
    has its own.

    Empty for a folder without tokenizer.json: there are no token ids to run then.
    """
    if not (model / "tokenizer.json").is_file():
        log.warning(
            "%s has no tokenizer.json: int8 weights without activation-aware scaling", model
        )
        return {}
    made_by = [FORMAT_VERSION, str((GROUP_INPUTS, ALPHAS)), calibration_text()]
    if adapter is not None:
        made_by += [adapter.name, *states_of(adapter)]
    path = derived_path(cache or cache_folder(), model, "int8.safetensors", *made_by)
    try:
        made_once(path, lambda partial: save_file(calibrate(model, adapter), partial))
        return load_file(path)
    except OSError as error:
        log.warning("calibration is not kept, and is done anew at each start: %s", error)
        return calibrate(model, adapter)


def calibration_text() -> str:
    return files("autotuner.worker").joinpath(TEXTS_FILE).read_text(encoding="utf-8")


def calibration_ids(tokenizer: TextTokenizer) -> list[list[int]]:
    """Token ids of each text, cut to MOST_TOKENS."""
    texts = (text.strip() for text in calibration_text().split("\n---\n"))
    return [tokenizer.encode(text, add_special_tokens=True)[:MOST_TOKENS] for text in texts]


def calibrate(model: Path, adapter: Path | None = None) -> dict[str, Tensor]:
    """Runs the model over the texts in the number format that int8 weights go with."""
    texts = calibration_ids(TextTokenizer.from_folder(model))
    watch = Watch()
    device = torch.device("cpu")
    dtype = activation_dtype("int8", device)
    ops = ReferenceOps()
    decoder = load_decoder(
        model, dtype, device, MOST_TOKENS, ops, linears=watch.linear, adapter=adapter
    )
    chunks, blocks = _chunks(texts)
    cache = KVCache(decoder.kv_shape, blocks, dtype, device)
    with torch.inference_mode():
        decoder.forward(make_batch(chunks, "full", device), cache)
    return watch.gains


class Watch:
    """Makes layers that pick their gains by what they are given first."""

    def __init__(self) -> None:
        self.gains: dict[str, Tensor] = {}

    def linear(self, name: str, weight: Tensor, bias: Tensor | None, inputs: slice) -> Linear:
        """A layer of the whole weight: calibration does not split models."""
        assert inputs.start in (None, 0)
        return _WatchedLinear(name, weight, bias, self.gains)


class _WatchedLinear(PlainLinear):
    def __init__(
        self, name: str, weight: Tensor, bias: Tensor | None, found: dict[str, Tensor]
    ) -> None:
        super().__init__(weight, bias)
        self._name, self._found = name, found

    def __call__(self, x: Tensor) -> Tensor:
        self._look(x)
        return super().__call__(x)

    def add_to(self, residual: Tensor, x: Tensor) -> Tensor:
        self._look(x)
        return super().add_to(residual, x)

    def _look(self, x: Tensor) -> None:
        if len(x) < LEAST_TOKENS or self._name in self._found:
            return
        sample = _evenly(x, SAMPLE_TOKENS).float()
        rows = _evenly(self._weight, SAMPLE_OUTPUTS)
        self._found[self._name] = choose_gains(rows, x.float().abs().mean(0), sample)


def _evenly(rows: Tensor, most: int) -> Tensor:
    return rows[:: -(-len(rows) // most)]


def _chunks(texts: Sequence[list[int]]) -> tuple[list[Chunk], int]:
    """The texts as whole prompts of one step, and the blocks that their cache needs."""
    chunks, free = [], 1
    for ids in texts:
        sequence = RequestSequence("", ids, len(ids), SamplingParams(), 0, enqueued_s=0.0)
        sequence.score_from = max(1, len(ids) - HEAD_TOKENS)
        needed = block_count(len(ids))
        sequence.blocks = list(range(free, free + needed))
        free += needed
        chunks.append(Chunk(sequence, 0, len(ids)))
    return chunks, free
