"""The models that groups are tried on."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotuner.worker.weights import resolve_model
from tests.integration.worker_front.fake_engine import write_model
from tests.integration.worker_parallel.groups import tiny_model


@pytest.fixture(scope="session")
def smollm() -> Path:
    """The packaged model's folder, converted into the cache on first use."""
    return resolve_model(None)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model with three K/V heads, which no two ranks share evenly, and three layers."""
    return tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_biased(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with biases everywhere: summed outputs must take theirs once."""
    return tiny_model(tmp_path_factory.mktemp("biased"), attention_bias=True, mlp_bias=True)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with a tokenizer that has a token for each byte."""
    return write_model(tiny_model(tmp_path_factory.mktemp("served"), vocab_size=300))
