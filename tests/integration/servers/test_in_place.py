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


@pytest.mark.parametrize("fault", ["run-memory", "hang"])
def test_a_candidate_that_fails_while_it_serves_is_barred_and_the_incumbent_is_back(
    fronts: Made, tmp_path: Path, fault: str
) -> None:
    [front] = fronts("sglang", "in_place", **{KNOB: 32})
    front.scene({"fault": fault, "when": {KNOB: 64}, "after_requests": 8}, slower=SLOWER)
    loop = Loop([front.url], tmp_path, policy(KNOB, [2, 32, 64, 128]))
    with traffic([front.url], RATE_RPS, TOKENS) as seen:
        loop.cycle()
        loop.declare(**{KNOB: 64})
        test = loop.ended()
        loop.until(lambda: front.runs(KNOB) == 32 and front.serving())
        before = seen.served
        loop.until(lambda: seen.served > before + 5)
    assert verdict(test) is Verdict.HARMFUL
    assert test.conclusion is not None
    assert ("hung" if fault == "hang" else fault) in test.conclusion.reason
    loop.declare(**{KNOB: 64})
    loop.until(lambda: loop.heard("its engine failed"))
    assert len(loop.history.experiments(target="t")) == 1
    front.wait_single()
