"""Ends of servers as they were recorded, where the decisive line is easily taken for another."""

from __future__ import annotations

import pytest

from autotuner.proxy.engines.faults import death
from autotuner.proxy.engines.launchers.port import Exit
from autotuner.proxy.ports import Fault

KILLED_ITSELF = Exit(signal=9)
FAILED = "[2026-04-20 08:00:44 TP0] Scheduler hit an exception: Traceback (most recent call last):"
CHILD = "[2026-04-20 08:00:44] Received sigquit from a child process. It usually means the child "
CHILD += "failed."
CHILD_LATER = "[2026-04-20 08:12:44] SIGQUIT received. signum=<Signals.SIGQUIT: 3>, frame=None. It "
CHILD_LATER += "usually means one child failed."

# SGLang kills its own process tree after each of these: the signal says nothing.
WEIGHTS_TAKE_ALL = (
    FAILED,
    "ValueError: Loaded weights leave no GPU memory for the KV cache under "
    "--mem-fraction-static=0.3. Raise --mem-fraction-static above 0.342 (minimum viable = 1 - "
    "available/pre = 0.3413).",
    CHILD,
    "Killed",
)
# The advice on memory follows whatever went wrong at the capture.
PEER_GONE = (
    "[2026-04-20 08:00:41 TP0] Capture cuda graph begin. This can take up to several minutes.",
    FAILED,
    "Exception: Capture cuda graph failed: [pair.cc:534] Connection closed by peer [10.0.0.2]:6123",
    "Possible solutions:",
    "1. set --mem-fraction-static to a smaller value (e.g., 0.8 or 0.7)",
    CHILD,
)
ILLEGAL = (
    FAILED,
    "torch.AcceleratorError: CUDA error: an illegal memory access was encountered",
    "CUDA kernel errors might be asynchronously reported at some other API call.",
    CHILD_LATER,
)
# vLLM on a CPU, its engine process killed with SIGKILL: no line says so, and the status is its own.
ENGINE_KILLED = (
    "(APIServer pid=27951) WARNING 11-28 12:52:35 [core_client.py:817] [shutdown] MPClient: engine "
    "core exited unexpectedly; starting cleanup",
    "(APIServer pid=27951) ERROR 11-28 12:52:35 [async_llm.py:906] Traceback (most recent call "
    "last):",
    "(APIServer pid=27951) ERROR 11-28 12:52:35 [async_llm.py:906] "
    "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace "
    "(above) for the root cause.",
    "INFO:     Application shutdown complete.",
    "nanobind: leaked 4 instances!",
)
ENGINE_CRASHED = (
    "(EngineCore pid=1) ERROR 11-28 12:52:34 [core.py:1131] torch.AcceleratorError: CUDA error: "
    "an illegal memory access was encountered",
    *ENGINE_KILLED,
)
CPU_POOLS_STAND = (
    "(EngineCore pid=2) INFO 11-28 12:49:04 [kv_cache_utils.py:2327] CPU KV cache size: 23,296 "
    "tokens, Maximum concurrency for 1,024 tokens per request: 22.75x",
    "(EngineCore pid=2) ERROR 11-28 12:49:09 [core.py:1131] XPU out of memory. Tried to allocate "
    "2 GiB",
)


@pytest.mark.parametrize(
    ("lines", "ended", "was_ready", "fault", "told"),
    [
        (WEIGHTS_TAKE_ALL, KILLED_ITSELF, False, Fault.START_KV, "leave no GPU memory"),
        (PEER_GONE, KILLED_ITSELF, False, Fault.CRASHED, "Connection closed by peer"),
        (ILLEGAL, KILLED_ITSELF, True, Fault.CRASHED, "illegal memory access"),
        (ENGINE_KILLED, Exit(0), True, Fault.KILLED, "engine core exited unexpectedly"),
        (ENGINE_CRASHED, Exit(1), True, Fault.CRASHED, "illegal memory access"),
        (CPU_POOLS_STAND, Exit(1), False, Fault.RUN_MEMORY, "out of memory"),
    ],
)
def test_what_a_recorded_end_is_taken_for(
    lines: tuple[str, ...], ended: Exit, was_ready: bool, fault: Fault, told: str
) -> None:
    found = death(ended, lines, was_ready=was_ready)
    assert found.fault is fault, found
    assert told in found.message
