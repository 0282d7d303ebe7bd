"""The compiled library, built once into the user's cache folder."""

from __future__ import annotations

import ctypes

import pytest

from autotuner.worker.ops.build import library


@pytest.fixture(scope="session")
def compiled() -> ctypes.CDLL:
    """These tests are about compiled code: without a compiler they fail, they don't pass."""
    found = library()
    assert found is not None, "no C++ compiler, or AUTOTUNER_NATIVE=0"
    return found
