"""Logs as the command line has them: not on the standard output."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from autotuner.logs import quiet_logs


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    before = structlog.get_config()
    quiet_logs()
    yield
    structlog.configure(**before)
