"""How the fake server fails: which fault under which settings, and the log that tells of it.

The logs are those of the real servers, shortened: what is decisive stands in them word for word.
A scene is a JSON file that the test may rewrite while the server runs:
`{"slower": 1.0, "start_s": 0.0, "rules": [{"fault": "start-kv", "when": {"max_num_seqs": 64}}]}`.
A rule holds where each flag in `when` is at least its number (or is its word); with
`after_requests` it waits until the server has taken so many.
A server that hangs answers nothing, one that stalls /health alone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

AT_START = (
    *("start-memory", "start-share", "start-kv", "refused", "crash-at-start", "killed-at-start"),
    *("hang-at-start", "never-healthy"),
)
WHILE_SERVING = ("run-memory", "crash", "killed", "hang", "stall")

_TORCH = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 448.00 MiB. GPU 0 has a "
_TORCH += "total capacity of 79.33 GiB of which 16.00 MiB is free."
_ILLEGAL = "CUDA error: an illegal memory access was encountered"


@dataclass(frozen=True)
class Rule:
    fault: str
    when: dict[str, Any] = field(default_factory=dict)
    after_requests: int = 0

    def holds(self, settings: dict[str, Any], requests: int) -> bool:
        if requests < self.after_requests:
            return False
        return all(_reached(settings.get(name), least) for name, least in self.when.items())


@dataclass(frozen=True)
class Scene:
    slower: float = 1.0
    start_s: float = 0.0
    rules: tuple[Rule, ...] = ()

    def fault(self, among: tuple[str, ...], settings: dict[str, Any], requests: int) -> str | None:
        found = (rule for rule in self.rules if rule.fault in among)
        return next((rule.fault for rule in found if rule.holds(settings, requests)), None)


def scene_at(path: str) -> Scene:
    """The scene as the file has it now; without a file nothing fails."""
    if not path or not Path(path).exists():
        return Scene()
    told = json.loads(Path(path).read_text())
    rules = tuple(Rule(**rule) for rule in told.pop("rules", ()))
    return Scene(**told, rules=rules)


def _reached(value: Any, least: Any) -> bool:
    return bool(value == least if isinstance(least, str | bool) else value >= least)


def leave(kind: str, fault: str) -> None:
    """Ends the process as the real server ends with this fault."""
    if fault.startswith("killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    lines = (_VLLM if kind == "vllm" else _SGLANG)[fault]
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    sys.stderr.flush()
    if kind == "sglang" and fault != "refused":
        os.kill(os.getpid(), signal.SIGKILL)  # it kills its whole process tree, itself included
    os._exit(1)


def _core(title: str, *error: str) -> list[str]:
    """What vLLM's engine process says, then its API server."""
    at = "(EngineCore pid=211) ERROR 11-28 14:30:41 [core.py:1131] "
    lines = [at + line for line in (title, "Traceback (most recent call last):", *error)]
    if "fatal" in title:
        end = "ERROR 11-28 14:30:41 [async_llm.py:699] vllm.v1.engine.exceptions.EngineDeadError: "
        end += "EngineCore encountered an issue. See stack trace (above) for the root cause."
    else:
        end = "RuntimeError: Engine core initialization failed. See root cause above. "
        end += "Failed core proc(s): {}"
    return [*lines, f"(APIServer pid=1) {end}"]


def _scheduler(phase: str, *error: str) -> list[str]:
    """What SGLang's scheduler process says, then its main process."""
    at = "[2026-11-28 14:30:41 TP0] "
    end = {
        "start": "Received sigquit from a child process. It usually means the child failed.",
        "run": "SIGQUIT received. signum=3, frame=None. It usually means one child failed.",
    }[phase]
    trace = f"{at}Scheduler hit an exception: Traceback (most recent call last):"
    return [trace, *error, "", f"[2026-11-28 14:30:41] {end}"]


_FAILED, _FATAL = "EngineCore failed to start.", "EngineCore encountered a fatal error."
_VLLM = {
    "start-memory": _core(_FAILED, _TORCH),
    "start-share": _core(
        _FAILED,
        "ValueError: Free memory on device cuda:0 (19.77/22.05 GiB) on startup is less than "
        "desired GPU memory utilization (0.95, 20.95 GiB). Decrease GPU memory utilization or "
        "reduce GPU memory used by other processes.",
    ),
    "start-kv": _core(
        _FAILED,
        "ValueError: No available memory for the cache blocks. Try increasing "
        "`gpu_memory_utilization` when initializing the engine.",
    ),
    "refused": [
        "(APIServer pid=1) pydantic_core._pydantic_core.ValidationError: 1 validation error for "
        "SchedulerConfig",
        "(APIServer pid=1)   Value error, max_num_batched_tokens (8) must be greater than or "
        "equal to max_num_seqs (64). [type=value_error, input_type=ArgsKwargs]",
    ],
    "crash-at-start": _core(_FAILED, f"torch.AcceleratorError: {_ILLEGAL}"),
    "run-memory": _core(_FATAL, _TORCH),
    "crash": _core(_FATAL, f"torch.AcceleratorError: {_ILLEGAL}"),
}
_SGLANG = {
    "start-memory": _scheduler("start", _TORCH),
    "start-share": _scheduler(
        "start",
        "Exception: Capture cuda graph failed: CUDA out of memory. Tried to allocate 1.16 GiB.",
        "Possible solutions:",
        "1. set --mem-fraction-static to a smaller value (e.g., 0.8 or 0.7)",
        "2. set --cuda-graph-max-bs-decode to a smaller value (e.g., 16)",
    ),
    "start-kv": _scheduler(
        "start",
        "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static. "
        "Current value: mem_fraction_static=0.3",
    ),
    "refused": [
        "usage: launch_server.py [-h] --model-path MODEL_PATH",
        "launch_server.py: error: argument --schedule-policy: invalid choice: 'fastest'",
    ],
    "crash-at-start": _scheduler("start", f"torch.AcceleratorError: {_ILLEGAL}"),
    "run-memory": _scheduler("run", _TORCH),
    "crash": _scheduler("run", f"torch.AcceleratorError: {_ILLEGAL}"),
}
