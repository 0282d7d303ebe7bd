"""What targets tell of restarts and failures, over a real socket: all of it optional."""

from __future__ import annotations

import contextlib
import math
import time
from typing import Any

import pytest

from autotuner.domain.errors import SettingsRefusedError, TargetUnavailableError
from autotuner.domain.feasibility import EngineFault, Fault
from autotuner.domain.knobs import Settings
from autotuner.targets.capabilities import Capability, FloatRange
from autotuner.targets.worker import WorkerTarget
from tests.contract.targets.test_worker_answers import LIVE, SETTINGS, answering, apply

pytestmark = pytest.mark.process

FAILED: dict[str, Any] = {
    "error": {
        "type": "engine_failed",
        "fault": "start-kv",
        "field": None,
        "value": None,
        "message": "no room for the KV cache",
    }
}
DEATH: dict[str, Any] = {
    "seq": 3,
    "at": 1700.5,
    "fault": "run-memory",
    "message": "CUDA out of memory",
    "settings": {"max_num_seqs": 512, "gpu_memory_utilization": 0.95},
}
TOLD: dict[str, Any] = {
    **SETTINGS,
    "rebuilding": {"max_num_seqs": 16},
    "restart_s": 41,
    "server": {"kind": "vllm", "version": "0.33.0"},
    "faults": [DEATH],
    "capabilities": {
        "gpu_memory_utilization": {"type": "float", "min": 0.1, "max": 1, "live": False}
    },
}


def read(body: dict[str, Any]) -> Any:
    with answering((200, body)) as script:
        target = WorkerTarget(script.url)
        try:
            return target.read_settings()
        finally:
            target.close()


def test_a_restart_and_failures_are_read() -> None:
    live = read(TOLD)
    assert live.rebuilding == {"max_num_seqs": 16}
    assert (live.restart_s, live.server) == (41.0, "vllm")
    (fault,) = live.faults
    assert (fault.at, fault.fault, fault.message) == (1700.5, Fault.RUN_MEMORY, DEATH["message"])
    assert fault.settings == DEATH["settings"]


def test_a_target_that_tells_none_of_it_is_in_order() -> None:
    live = read(SETTINGS)
    assert (live.rebuilding, live.faults, live.server) == (None, (), "")
    assert math.isnan(live.restart_s)
    assert math.isnan(read({**SETTINGS, "restart_s": None, "rebuilding": None}).restart_s)


def test_two_failures_alike_are_told_apart_and_one_stays_itself() -> None:
    both = {**TOLD, "faults": [DEATH, {**DEATH, "seq": 4, "at": 1801.0}]}
    first, second = read(both).faults
    assert first.id != second.id
    assert read(TOLD).faults[0].id == first.id


def test_a_fault_of_a_newer_target_is_one_of_the_settings() -> None:
    live = read({**TOLD, "faults": [{**DEATH, "fault": "melted"}]})
    assert live.faults[0].fault is Fault.CRASHED


def test_numbers_between_whole_ones_are_a_capability() -> None:
    with answering((200, TOLD)) as script:
        target = WorkerTarget(script.url)
        offered = target.capabilities()
        target.close()
    assert offered == {"gpu_memory_utilization": Capability(FloatRange(0.1, 1.0), live=False)}


def test_a_refusal_says_whether_an_engine_was_tried() -> None:
    with answering((422, FAILED)) as script, pytest.raises(SettingsRefusedError) as failed:
        apply(script)
    assert failed.value.fault == "start-kv"
    assert failed.value.settings == Settings({"max_num_seqs": 8})
    assert str(failed.value) == FAILED["error"]["message"]  # what the log said, and no address
    plain = {"error": {"type": "invalid_setting", "field": "k", "value": 9, "message": "no"}}
    with answering((422, plain)) as script, pytest.raises(SettingsRefusedError) as refused:
        apply(script)
    assert refused.value.fault is None


def test_a_refusal_that_comes_after_the_caller_went_on_is_among_the_faults() -> None:
    """As in a real restart, whose answer takes minutes; here it takes as long as one reading."""
    with answering((422, FAILED), *((200, SETTINGS),) * 400, delay_s=0.3) as script:
        target = WorkerTarget(script.url, timeout_s=0.05)
        patient = contextlib.suppress(TargetUnavailableError)  # a busy machine may be slower
        with pytest.raises(TargetUnavailableError, match=r"no answer in 0\.05 s"):
            target.apply(Settings({"max_num_seqs": 8}), LIVE, "because")
        script.delay_s = 0.0
        found: tuple[EngineFault, ...] = ()
        again = found
        while not again:
            time.sleep(0.01)
            with patient:
                found, again = target.read_settings().faults, found
        target.close()
    assert [asked[0] for asked in script.asked].count("PUT") == 1
    assert [(fault.fault, dict(fault.settings)) for fault in found] == [
        (Fault.START_KV, {"max_num_seqs": 8})
    ]
    assert again == found
