"""A daemon tunes a vLLM server by restarts, blue/green, while users' requests go on."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from autotuner.asking import lift_named
from autotuner.domain.experiment import Verdict
from tests.integration.servers.conftest import RATE_RPS, SLOWER, TOKENS, Made, policy
from tests.integration.servers.loop import Loop, verdict
from tests.integration.servers.traffic import traffic

pytestmark = pytest.mark.process

POLICY = policy("max_num_seqs", [1, 2, 32, 64, 128])


@pytest.mark.parametrize(
    ("first", "tried", "verdicts", "kept"),
    [
        (2, 32, {Verdict.ACCEPTED}, 32),
        (32, 1, {Verdict.HARMFUL, Verdict.REJECTED}, 32),
    ],
    ids=["better", "worse"],
)
def test_a_restart_that_serves_more_is_kept_and_one_that_serves_less_is_rolled_back(
    fronts: Made, tmp_path: Path, first: int, tried: int, verdicts: set[Verdict], kept: int
) -> None:
    [front] = fronts("vllm", "blue_green", max_num_seqs=first)
    loop = Loop([front.url], tmp_path, POLICY)
    with traffic([front.url], RATE_RPS, TOKENS) as seen:
        loop.cycle()
        loop.declare(max_num_seqs=tried)
        test = loop.ended()
        assert verdict(test) in verdicts, loop.said[-1]
        loop.until(lambda: front.runs() == kept)
    assert seen.lost == []
    assert seen.served > 0
    incumbent = loop.history.incumbent("t")
    assert incumbent is not None
    assert incumbent.settings["max_num_seqs"] == kept
    front.wait_single()


def test_a_candidate_that_does_not_start_is_barred_with_all_that_is_as_bad(
    fronts: Made, tmp_path: Path
) -> None:
    [front] = fronts("vllm", "blue_green", max_num_seqs=32)
    front.scene({"fault": "start-kv", "when": {"max_num_seqs": 64}}, slower=SLOWER)
    loop = Loop([front.url], tmp_path, POLICY)
    with traffic([front.url], RATE_RPS, TOKENS) as seen:
        loop.cycle()
        loop.declare(max_num_seqs=64)
        test = loop.ended()
        assert verdict(test) is Verdict.ABORTED
        assert test.conclusion is not None
        assert test.conclusion.reason == (
            "the candidate's engine did not start (start-kv, no room for its KV cache: ValueError: "
            "No available memory for the cache blocks. Try increasing `gpu_memory_utilization` "
            "when initializing the engine.) (no pair counted)"
        )
        assert front.runs() == 32
        loop.declare(max_num_seqs=128)
        loop.until(lambda: loop.heard("at least as much memory"))
        loop.restart()  # what is barred is not forgotten
        loop.cycle()
        loop.declare(max_num_seqs=64)
        loop.until(lambda: loop.heard("its engine failed (start-kv"))
        assert front.runs() == 32
        assert len(loop.history.experiments(target="t")) == 1
        front.scene(slower=SLOWER)  # a person makes room, and says so to the running daemon
        [barred] = loop.history.held("t", time.time())
        lift_named(loop.history, barred.settings.digest, "t", "ada", "more memory", time.time())
        loop.declare(max_num_seqs=64)
        loop.until(lambda: front.runs() == 64)
    assert len(loop.history.experiments(target="t")) == 2
    assert seen.lost == []


def test_what_a_person_changes_at_the_proxy_is_adopted(fronts: Made, tmp_path: Path) -> None:
    [front] = fronts("vllm", "blue_green", max_num_seqs=2)
    loop = Loop([front.url], tmp_path, POLICY)
    loop.cycle()
    assert front.put(max_num_seqs=32).ok
    loop.until(lambda: loop.heard("a person changed"))
    loop.cycle()
    incumbent = loop.history.incumbent("t")
    assert incumbent is not None
    assert incumbent.settings["max_num_seqs"] == 32 == front.runs()
