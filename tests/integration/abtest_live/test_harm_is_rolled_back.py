"""A token budget far too small, on a real worker: a hard limit puts the old one back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autotuner.bootstrap import Ends, assemble
from autotuner.config import parse_policy
from autotuner.daemon import Daemon
from autotuner.domain.experiment import Arm, Experiment, Verdict
from autotuner.forecast.service import Forecaster, ForecastSettings
from autotuner.history.records import Ask
from autotuner.history.store import History, open_history
from autotuner.instruments import Instruments
from autotuner.metrics.scrape import PrometheusTextSource
from autotuner.targets.worker import WorkerTarget
from tests.integration.abtest_live.long_prompts import PROMPT_TOKENS, LongPrompts
from tests.integration.worker_whole.whole_worker import WholeWorker, make_model, started

pytestmark = [pytest.mark.process]

KNOB = "max_num_batched_tokens"
SOUND, TOO_SMALL = 2048, 16
OVERLOAD = 1.8  # of what the worker bears under TOO_SMALL: its queue grows all the time
TTFT_ROOM = 5.0  # the SLO over what a lone request takes under SOUND
WITHIN_S = 240.0


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeWorker]:
    folder = tmp_path_factory.mktemp("worker")
    model = make_model(folder / "model")
    config = model / "config.json"
    longer = json.loads(config.read_text()) | {"max_position_embeddings": 2 * PROMPT_TOKENS}
    config.write_text(json.dumps(longer))
    flags = (f"--max-model-len={2 * PROMPT_TOKENS}", f"--max-num-batched-tokens={SOUND}")
    with started(model, folder, *flags, "--no-prefix-caching", "--kv-cache-gib=0.2") as made:
        yield made


def policy_of(ttft_s: float) -> dict[str, Any]:
    """Nothing is proposed by itself: the goal is met by whatever there is."""
    return {
        "name": "harm-test",
        "slo": {"ttft_s": ttft_s},
        "knobs": {KNOB: {"levels": [TOO_SMALL, SOUND]}},
        "experiment": {
            "slot_s": 3, "washout_min_s": 0.3, "washout_max_s": 20, "cooldown_s": 0.3,
            "max_pairs": 20, "min_requests_per_slot": 3,
        },
        "proposer": {"kind": "hill-climb", "min_requests": 3, "goal_attainment": 0.0001},
    }  # fmt: skip


def daemon_of(worker: WholeWorker, ttft_s: float, history: History) -> Daemon:
    ends = Ends(WorkerTarget(worker.url), PrometheusTextSource(worker.url), stale_s=1e9)
    forecaster = Forecaster(ForecastSettings(use_prophet=False))
    policy = parse_policy(policy_of(ttft_s))
    return assemble("t", worker.url, policy, history, Instruments(), ends, forecaster)


def put(worker: WholeWorker, budget: int) -> None:
    generation = worker.get("/admin/settings").json()["generation"]
    body = {"generation": generation, "settings": {KNOB: budget}}
    assert worker.put("/admin/settings", body).status_code == 200


def budget_in_force(worker: WholeWorker) -> int:
    return int(worker.get("/admin/settings").json()["settings"][KNOB])


def cycles_until_verdict(daemon: Daemon, history: History) -> Experiment:
    """The daemon's cycles until the one test is closed."""
    end = time.monotonic() + WITHIN_S
    while time.monotonic() < end:
        daemon.run_cycle(time.time())
        for told in history.experiments(target="t"):
            test = history.experiment(told.id) if told.verdict else None
            if test is not None:
                return test
        time.sleep(0.1)
    raise AssertionError(f"no verdict within {WITHIN_S:g} s: {daemon.state}")


def test_a_harmful_change_is_rolled_back_by_a_hard_limit(
    worker: WholeWorker, tmp_path: Path
) -> None:
    load = LongPrompts(worker)
    sound_s = load.lone_s()
    put(worker, TOO_SMALL)
    harmful_s = load.lone_s()
    put(worker, SOUND)
    assert harmful_s > OVERLOAD * sound_s, "the load that tells them apart is beyond both"
    history = open_history(f"sqlite:///{tmp_path / 'history.sqlite3'}")
    daemon = daemon_of(worker, TTFT_ROOM * sound_s, history)
    history.ask("t", Ask.EXPERIMENT, "tester", time.time(), payload={"changes": {KNOB: TOO_SMALL}})
    with load.sent_at(OVERLOAD / harmful_s):
        ended = cycles_until_verdict(daemon, history)
        assert budget_in_force(worker) == SOUND
    assert ended.conclusion is not None
    assert ended.conclusion.verdict is Verdict.HARMFUL
    assert "hard limit: P95 of TTFT" in ended.conclusion.reason
    assert "missed the SLO" in ended.conclusion.reason
    treated = [slot for slot in ended.slots if slot.arm is Arm.TREATMENT and slot.outcome]
    assert any(slot.outcome.attainment < 0.5 for slot in treated if slot.outcome)
