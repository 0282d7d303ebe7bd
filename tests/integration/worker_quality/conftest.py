"""Models for the tests of int8 weights and of the probe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from autotuner.worker.weights import resolve_model
from tests.integration.worker_engine.tiny_models import TINY, make_tiny

BYTES: Sequence[str] = sorted(pre_tokenizers.ByteLevel.alphabet())


@pytest.fixture(scope="session")
def smollm() -> Path:
    """The packaged model's folder, converted into the cache on first use."""
    return resolve_model(None)


@pytest.fixture(scope="session", params=["llama-biased", "qwen2-tied"])
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model with a tokenizer of 97 of the 256 bytes."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    make_tiny(TINY[request.param]).save_pretrained(folder)
    write_tokenizer(folder, TINY[request.param].vocab_size)
    return folder


def write_tokenizer(folder: Path, vocab_size: int) -> None:
    """Bytes as tokens; those beyond the vocabulary are the unknown token, 0."""
    vocab = {"<unk>": 0} | {byte: i for i, byte in enumerate(BYTES[: vocab_size - 1], 1)}
    tokenizer = Tokenizer(models.BPE(vocab, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
