"""A PostgreSQL server for this folder's tests; the fixture is the contract suite's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.history.conftest import new_database, postgresql
from tests.integration.leading.cluster import Cluster

__all__ = ["postgresql"]


@pytest.fixture
def database(postgresql: Path) -> str:
    """A fresh database with all tables."""
    return new_database(postgresql, "template1")


@pytest.fixture
def cluster(tmp_path: Path, database: str) -> Iterator[Cluster]:
    built = Cluster(tmp_path, database=database)
    try:
        yield built
    finally:
        built.close()
