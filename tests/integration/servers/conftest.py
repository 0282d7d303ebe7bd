"""Proxies over fake servers; each test has its own, with a daemon that has seen nothing yet.

Its own, because a restart that was measured makes the slots of the next test ten times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.servers.front import Front

# Chosen: at 2 requests at once the fake, five times slower than usual, carries 7 of these in a
# second; at 32 it carries all.
RATE_RPS = 10.0
TOKENS = 12
SLOWER = 5.0

Made = Callable[..., list[Front]]


def policy(knob: str, levels: list[int]) -> dict[str, Any]:
    """Nothing is proposed by itself: the goal is met by whatever there is."""
    return {
        "name": "servers",
        "slo": {"ttft_s": 0.3},
        "knobs": {knob: {"levels": levels, "live": False, "memory": "working"}},
        "experiment": {
            "slot_s": 1.2, "washout_min_s": 0.2, "washout_max_s": 4, "cooldown_s": 0.1,
            "max_pairs": 16, "min_requests_per_slot": 3, "confidence": 0.8,
        },
        "proposer": {
            "kind": "hill-climb", "observe_s": 2, "min_requests": 5, "pause_s": 1, "retry_s": 1,
            "goal_attainment": 0.0001,
        },
    }  # fmt: skip


@pytest.fixture
def fronts(tmp_path: Path) -> Iterator[Made]:
    """`fronts(kind, mode, count, **settings)`: proxies that serve, which the test's end ends."""
    made: list[Front] = []

    def make(kind: str, mode: str, count: int = 1, **settings: Any) -> list[Front]:
        # In place, users wait while the old server drains; a slow machine needs long beside it.
        drain_s = 60 if mode == "blue_green" else 5
        new = [
            Front(tmp_path / f"front{at}", kind, mode, settings, drain_s=drain_s)
            for at in range(count)
        ]
        made.extend(new)
        for front in new:
            front.scene(slower=SLOWER)
            front.start()
        for front in new:
            front.wait_serving()
        return new

    yield make
    for front in made:
        front.end()
