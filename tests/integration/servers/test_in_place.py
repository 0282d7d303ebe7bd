"""A daemon tunes an SGLang server by restarts in place, and the server fails under a candidate."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotuner.domain.experiment import Verdict
from tests.integration.servers.conftest import RATE_RPS, SLOWER, TOKENS, Made, policy
from tests.integration.servers.loop import Loop, verdict
from tests.integration.servers.traffic import traffic

pytestmark = pytest.mark.process

KNOB = "max_running_requests"


# A hang is found within a slot: there is silence for a while before the server counts as hung.
@pytest.mark.parametrize(("fault", "slot_s"), [("run-memory", 1.2), ("hang", 20), ("stall", 20)])
def test_a_candidate_that_fails_while_it_serves_is_barred_and_the_incumbent_is_back(
    fronts: Made, tmp_path: Path, fault: str, slot_s: float
) -> None:
    [front] = fronts("sglang", "in_place", **{KNOB: 32})
    front.scene({"fault": fault, "when": {KNOB: 64}, "after_requests": 8}, slower=SLOWER)
    told = policy(KNOB, [2, 32, 64, 128])
    told["experiment"]["slot_s"] = slot_s
    loop = Loop([front.url], tmp_path, told)
    with traffic([front.url], RATE_RPS, TOKENS) as seen:
        loop.cycle()
        loop.declare(**{KNOB: 64})
        test = loop.ended()
        loop.until(lambda: front.runs(KNOB) == 32 and front.serving())
        before = seen.served
        loop.until(lambda: seen.served > before + 5)
    # Failed requests may end the test before the proxy has told why they failed.
    assert verdict(test) is Verdict.HARMFUL
    loop.declare(**{KNOB: 64})
    told_as = "hung" if fault in ("hang", "stall") else fault
    loop.until(lambda: loop.heard(f"its engine failed ({told_as}"))
    assert len(loop.history.experiments(target="t")) == 1
    front.wait_single()
