"""How many requests may run at once, under any server's name for it."""

from __future__ import annotations

import pytest

from autotuner.domain.knobs import Value
from autotuner.domain.ports import LiveSettings
from autotuner.watch import places


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"max_num_seqs": 64}, 128.0),
        ({"max_running_requests": 64, "max_concurrency": 4096}, 128.0),
        ({"max_running_requests": 64, "max_concurrency": 16}, 32.0),
        ({"max_concurrency": 16}, 32.0),
        ({"schedule_policy": "fcfs"}, None),
    ],
)
def test_the_least_of_batch_and_cap_counts(
    settings: dict[str, Value], expected: float | None
) -> None:
    assert places(LiveSettings(settings, 1, "b", 0.0, 0.0), replicas=2) == expected
