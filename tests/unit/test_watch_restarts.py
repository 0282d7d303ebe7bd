"""A target that restarts because it was asked to raises no alarm of an outage."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autotuner.alerts.conditions import Builtin
from autotuner.tuner import Observation
from autotuner.watch import standing
from tests.unit.tuner.world import LIVE, NEW, seen

GONE = Observation(live=None, problem="no answer")
BLIND = seen(problem="metrics can't be read")
REBUILDING = seen(replace(LIVE, rebuilding=dict(NEW)), problem="metrics can't be read")


@pytest.mark.parametrize(
    ("world", "restarting", "down", "scrape"),
    [
        (GONE, False, True, None),
        (GONE, True, None, None),
        (BLIND, False, False, True),
        (BLIND, True, False, None),
        (REBUILDING, False, False, None),
        (seen(), True, False, False),
    ],
)
def test_nothing_is_known_while_it_restarts(
    world: Observation, restarting: bool, down: bool | None, scrape: bool | None
) -> None:
    found = {c.kind: c.active for c in standing(world, restarting=restarting)}
    assert found == {Builtin.TARGET_DOWN: down, Builtin.SCRAPE_FAILED: scrape}
