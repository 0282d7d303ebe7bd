"""Two proxies as the replicas of one target: both arms run at once, restarts and all."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotuner.domain.experiment import Design, Verdict
from tests.integration.servers.conftest import RATE_RPS, TOKENS, Made, policy
from tests.integration.servers.loop import Loop, verdict
from tests.integration.servers.traffic import traffic

pytestmark = pytest.mark.process


def test_a_split_test_over_two_proxies_ends_with_the_winner_on_both(
    fronts: Made, tmp_path: Path
) -> None:
    pair = fronts("vllm", "blue_green", 2, max_num_seqs=2)
    urls = [front.url for front in pair]
    loop = Loop(urls, tmp_path, policy("max_num_seqs", [2, 32]))
    with traffic(urls, 2 * RATE_RPS, TOKENS) as seen:
        loop.cycle()
        loop.declare(max_num_seqs=32)
        test = loop.ended()
        assert verdict(test) is Verdict.ACCEPTED, loop.said[-1]
        assert test.plan.design is Design.SPLIT
        loop.until(lambda: [front.runs() for front in pair] == [32, 32])
    assert seen.lost == []
