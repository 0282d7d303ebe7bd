"""The embeddings that are compared: ours in variants, and the embedded model's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from autotuner.finetune.intake.embedding import Embedding
from autotuner.finetune.intake.ngrams import BUCKETS, batches

Vectors = npt.NDArray[np.float32]
Embed = Callable[[Sequence[str]], Vectors]
_MOST_TOKENS = 64


class _HalfRare(Embedding):
    """What is in one text or none weighs half: typing errors would count for less."""

    def weights(self) -> npt.NDArray[np.float64]:
        return np.where(self.frequencies <= 1, 0.5, 1.0) * super().weights()


def ours(texts: Sequence[str], stale: Sequence[str]) -> dict[str, Embed]:
    """By name; the first is the default. `texts`: all that the file has; `stale`: less of it."""
    default = Embedding.learnt(texts)
    made = {
        "TF-IDF of 3-4 characters": default,
        "the same, frequencies from before": Embedding.learnt(stale),
        "rare ones at half weight": _HalfRare(default.documents, default.frequencies),
        "3 to 5 characters": Embedding.learnt(texts, sizes=(3, 4, 5)),
        "512 dimensions": replace(default, dimensions=512),
        "128 dimensions": replace(default, dimensions=128),
        "without document frequencies": Embedding(0, np.zeros(BUCKETS, dtype=np.int64)),
    }
    return {name: _in_batches(embedding.embed) for name, embedding in made.items()}


def of_the_model(texts: Sequence[str]) -> dict[str, Embed]:
    """The mean of SmolLM2-135M's last hidden states, as it is and with the corpus's mean taken off,
    and the mean of its token embeddings with each token's inverse document frequency.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    from autotuner.worker.weights import resolve_model

    folder = str(resolve_model(None))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    table = model.get_input_embeddings().weight.detach().numpy()
    every = list(dict.fromkeys(texts))
    tokens = [tokenizer(text).input_ids[:_MOST_TOKENS] for text in every]
    seen = np.bincount(np.concatenate([list(set(one)) for one in tokens]), minlength=len(table))
    weights = 1 + np.log((1 + len(every)) / (1 + seen))
    static = np.stack([np.average(table[one], axis=0, weights=weights[one]) for one in tokens])
    with torch.inference_mode():
        hidden = np.stack(
            [
                model(input_ids=torch.tensor([one])).last_hidden_state[0].mean(0).numpy()
                for one in tokens
            ]
        )
    places = {text: place for place, text in enumerate(every)}
    found = {
        "SmolLM2, hidden states": hidden,
        "SmolLM2, hidden states, centred": hidden - hidden.mean(axis=0),
        "SmolLM2, token embeddings": static,
        "SmolLM2, token embeddings, centred": static - static.mean(axis=0),
    }
    return {name: _looked_up(_units(vectors), places) for name, vectors in found.items()}


def _in_batches(embed: Embed) -> Embed:
    return lambda texts: np.concatenate([embed(batch) for batch in batches(texts, len)])


def _looked_up(vectors: Vectors, places: dict[str, int]) -> Embed:
    return lambda texts: vectors[[places[text] for text in texts]]


def _units(vectors: npt.NDArray[np.float64]) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / lengths, dtype=np.float32)
