"""The lines by which servers, torch and the kernel say why they ended. Patterns only.

From reports of the servers' users and from what is known of their sources, over several versions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from autotuner.proxy.ports import Fault


class Cause(StrEnum):
    """What a line says; out of memory means another fault early than late."""

    KV = "kv"  # no room for the KV cache: more share
    SHARE = "share"  # the reserved pools leave too little for the rest: less share
    DEVICE_MEMORY = "device-memory"  # by phase: see faults.py
    HOST_MEMORY = "host-memory"
    REFUSED = "refused"
    PORT = "port"
    HUNG = "hung"


FAULT_OF = {
    Cause.KV: Fault.START_KV,
    Cause.SHARE: Fault.RUN_MEMORY,
    Cause.HOST_MEMORY: Fault.KILLED,
    Cause.REFUSED: Fault.REFUSED,
    Cause.PORT: Fault.PORT,
    Cause.HUNG: Fault.HUNG,
}


@dataclass(frozen=True)
class Rule:
    cause: Cause
    pattern: re.Pattern[str]


def _rule(cause: Cause, *patterns: str) -> Rule:
    return Rule(cause, re.compile("|".join(patterns), re.IGNORECASE))


# In the order of how much a line explains: a message with its own advice before a bare exception.
RULES = (
    _rule(
        Cause.PORT,
        r"address already in use",
        r"EADDRINUSE",
        r"port \d+ is (already in use|not available|in use)",
    ),
    _rule(
        Cause.KV,
        r"No available memory for the cache blocks",
        r"larger than the maximum number of tokens that can be stored in KV cache",
        r"KV cache is needed, which is larger than the available KV cache memory",
        r"Not enough memory(\.| to allocate KV cache)",
        r"please try to increase --mem-fraction-static",
        r"leave no GPU memory for the KV cache|or increase --mem-fraction-static",
        r"try increasing `?(gpu_memory_utilization|VLLM_CPU_KVCACHE_SPACE)",
        r"Failed to allocate memory for requests [\d.]+ KV",
    ),
    _rule(
        Cause.SHARE,
        r"Free memory on device .* is less than desired GPU memory utilization",
        r"Available memory on node .* is less than desired CPU memory utilization",
        r"try lowering `max_num_seqs` or `gpu_memory_utilization`",
        r"Capture (cuda|gpu|device) graph failed.*out of memory",
        r"(Prefill|Decode) out of memory\. Try to lower your batch size",
        r"out of memory.*(captur|cuda ?graph)",
    ),
    _rule(
        Cause.DEVICE_MEMORY,
        r"torch(\.cuda)?\.OutOfMemoryError",
        r"(CUDA|HIP|XPU|NPU|MUSA) out of memory",
        r"(CUDA|HIP) error: out of memory",
        r"CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation|hipErrorOutOfMemory",
        r"CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED",
        r"(Cuda|HIP) failure (2 )?'out of memory'",
        r"UR_RESULT_ERROR_OUT_OF_(DEVICE|HOST)_MEMORY",
        r"RESOURCE_EXHAUSTED: .*memory",
    ),
    _rule(
        Cause.HOST_MEMORY,
        r"DefaultCPUAllocator: (can't allocate|not enough) memory",
        r"std::bad_alloc",
        r"^(numpy.*\.)?_?(Array)?MemoryError\b",
        r"Cannot allocate memory",
        r"No space left on device.*(shm|/dev/shm)",
        r"killed by the OOM killer|Out of memory: Killed process|oom-kill|OOMKilled",
        r"exit ?code[:=]? ?-9\b|'EngineCore[^']*': -9|exitcode=-9|signal 9\b|SIGKILL",
        r"DataLoader worker .* killed by signal: Killed",
    ),
    _rule(
        Cause.REFUSED,
        r"error: (unrecognized|ambiguous) (arguments|option)",
        r"error: argument .*: (invalid|expected|ignored|not allowed)",
        r"error: the following arguments are required",
        r"error: (unexpected|invalid) (argument|value)",
        r"ValidationError: \d+ validation errors? for",
        r"(ValueError|AssertionError|NotImplementedError|RuntimeError|TypeError): .*"
        r"(must be|should be|not supported|unsupported|does ?n[o']t support|is not divisible"
        r"|cannot be used|can't be used|incompatible|not compatible|is larger than|is greater than"
        r"|is smaller than|is less than the|exceeds|mutually exclusive|only supported|requires"
        r"|unknown quantization|invalid)",
        r"max_num_scheduled_tokens is set to -?\d+",
    ),
    _rule(
        Cause.HUNG,
        r"Watchdog (timeout|caught collective operation timeout)",
        r"RPC call to \w+ timed out",
        r"TimeoutError: (RPC|.*execute_model|.*sample_tokens)",
        r"Health check failed.*(timeout|took too long)",
    ),
)

# The pools stand: out of memory from here on means that they leave too little for the rest.
POOLS_STAND = re.compile(
    r"(GPU|CPU) KV cache size:|# (GPU|cuda|CPU) blocks:|KV Cache is allocated|Memory pool end"
    r"|Capture (cuda|gpu) graph begin|Capturing (CUDA|the model for CUDA) graph|Graph capturing",
    re.IGNORECASE,
)

# Said in the wake of a cause; never the cause.
CONSEQUENCE = re.compile(
    r"EngineDeadError|Engine core initialization failed|See (root cause|stack trace).*above"
    r"|died unexpectedly|Received sig(quit|term|child)|shutting down|destroy_process_group"
    r"|resource_tracker|Parent process exited|Task exception was never retrieved|CancelledError"
    r"|DistBackendError|BrokenPipeError|KeyboardInterrupt|SystemExit",
    re.IGNORECASE,
)

# A process of the server is gone without an exception of its own: it was killed from outside.
GONE = re.compile(
    r"(engine core|EngineCore|worker proc|scheduler)\b.*\b(exited|died) unexpectedly",
    re.IGNORECASE,
)

EXCEPTION = re.compile(r"^[\w.]*(Error|Exception|Interrupt|Fault)\b(: .*)?$")
# Who said it and when, before what was said: (EngineCore_DP0 pid=1) ERROR 10-25 13:08:43 [a.py:7]
PREFIX = re.compile(
    r"^\s*(?:\([\w .=:-]+\)\s*)?"
    r"(?:(?:ERROR|CRITICAL|WARNING|INFO)\s+\d\d-\d\d \d\d:\d\d:\d\d\s+)?"
    r"(?:\[[^\]]*\]\s*)*"
)
