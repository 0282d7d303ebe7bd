"""A server of known event streams, and where configurations are written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.studies.proxy_overhead import processes
from experiments.studies.proxy_overhead.processes import Running

CORES = os.sched_getaffinity(0)


@pytest.fixture(scope="session")
def server() -> Iterator[Running]:
    with processes.source(CORES) as running:
        yield running


@pytest.fixture(scope="session")
def other_server() -> Iterator[Running]:
    with processes.source(CORES) as running:
        yield running


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "proxy.yaml"
