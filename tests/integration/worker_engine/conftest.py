"""The packaged model, for the tests that need a real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotuner.worker.weights import resolve_model


@pytest.fixture(scope="session")
def smollm() -> Path:
    """The packaged model's folder, converted into the cache on first use."""
    return resolve_model(None)
