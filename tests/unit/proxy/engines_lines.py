"""Lines by which servers, torch and the kernel say why they ended, and what each one means.

Each row: what it is, whether the server was ready before, the fault, the lines.
"""

from __future__ import annotations

from autotuner.proxy.ports import Fault

Row = tuple[str, bool, Fault, tuple[str, ...]]

_V1 = "(EngineCore_DP0 pid=6804) ERROR 10-25 13:08:43 [core.py:708] "
_SGL = "[2025-07-02 07:41:59 DP0 TP0] "
_OOM = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.74 GiB. GPU 1 has a total "
    "capacity of 23.57 GiB of which 605.88 MiB is free."
)
_WAKE = (
    "RuntimeError: Engine core initialization failed. See root cause above. "
    "Failed core proc(s): {'EngineCore_DP0': 1}"
)

ROWS: list[Row] = [
    # no room for the KV cache: more share
    (
        "vllm v1 no blocks", False, Fault.START_KV,
        (
            "Available KV cache memory: -1.20 GiB",
            _V1 + "ValueError: No available memory for the cache blocks. Try increasing "
            "`gpu_memory_utilization` when initializing the engine.",
            _WAKE,
        ),
    ),
    (
        "vllm v1 one request does not fit", False, Fault.START_KV,
        (
            "ValueError: To serve at least one request with the models's max seq len (131072), "
            "(16.00 GiB KV cache is needed, which is larger than the available KV cache memory "
            "(11.07 GiB). Based on the available memory, the estimated maximum model length is "
            "90672. Try increasing `gpu_memory_utilization` or decreasing `max_model_len`",
        ),
    ),
    (
        "vllm v0 one request does not fit", False, Fault.START_KV,
        (
            "ValueError: The model's max seq len (4096) is larger than the maximum number of "
            "tokens that can be stored in KV cache (176). Try increasing "
            "`gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine.",
        ),
    ),
    (
        "sglang no tokens", False, Fault.START_KV,
        (
            _SGL + "Scheduler hit an exception: Traceback (most recent call last):",
            "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.",
            "Received sigquit from a child process. It usually means the child failed.",
        ),
    ),
    (
        "sglang no tokens, 2026", False, Fault.START_KV,
        ("RuntimeError: Not enough memory to allocate KV cache.",),
    ),
    # weights, or the buffers of one step, do not fit
    (
        "vllm weights", False, Fault.START_MEMORY,
        ("Starting to load model", _V1 + _OOM, _WAKE),
    ),
    (
        "sglang weights", False, Fault.START_MEMORY,
        (_SGL + "Load weight begin. avail mem=21.73 GB", "torch.cuda.OutOfMemoryError: CUDA out"),
    ),
    ("rocm", False, Fault.START_MEMORY, ("torch.OutOfMemoryError: HIP out of memory. Tried",)),
    ("cublas", False, Fault.START_MEMORY, ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED",)),
    ("driver", False, Fault.START_MEMORY, ("RuntimeError: CUDA error: out of memory",)),
    # the pools leave too little: less share
    (
        "vllm graphs", False, Fault.RUN_MEMORY,
        ("GPU KV cache size: 176,240 tokens", "Capturing CUDA graphs (mixed):  12%", _V1 + _OOM),
    ),
    (
        "vllm sampler", False, Fault.RUN_MEMORY,
        (
            "(VllmWorker rank=7 pid=10948) ERROR 03-16 06:12:38 [multiproc_executor.py:375] "
            "RuntimeError: CUDA out of memory occurred when warming up sampler with 1024 dummy "
            "requests. Please try lowering `max_num_seqs` or `gpu_memory_utilization` when "
            "initializing the engine.",
        ),
    ),
    (
        "vllm share is taken by others", False, Fault.RUN_MEMORY,
        (
            "ValueError: Free memory on device cuda:0 (10.2/23.5 GiB) on startup is less than "
            "desired GPU memory utilization (0.9, 21.2 GiB). Decrease GPU memory utilization or "
            "reduce GPU memory used by other processes.",
        ),
    ),
    (
        "vllm cpu share", False, Fault.RUN_MEMORY,
        (
            "ValueError: Available memory on node 0 (8.1/16.0 GiB) on startup is less than desired "
            "CPU memory utilization (0.92, 14.7 GiB).",
        ),
    ),
    (
        "sglang graphs", False, Fault.RUN_MEMORY,
        (
            _SGL + "Memory pool end. avail mem=8.38 GB",
            _SGL + "Capture cuda graph begin. This can take up to several minutes.",
            "Exception: Capture cuda graph failed: CUDA out of memory. Tried to allocate 448",
        ),
    ),
    ("vllm while serving", True, Fault.RUN_MEMORY, ("INFO: 200 OK", _V1 + _OOM)),
    (
        "sglang prefill", True, Fault.RUN_MEMORY,
        ("RuntimeError: Prefill out of memory. Try to lower your batch size.",),
    ),
    # host memory
    (
        "torch cpu allocator", True, Fault.KILLED,
        (
            "RuntimeError: [enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: "
            "can't allocate memory: you tried to allocate 17179869184 bytes.",
        ),
    ),
    (
        "vllm engine killed", False, Fault.KILLED,
        (
            "RuntimeError: Engine core initialization failed. See root cause above. Failed core "
            "proc(s): {'EngineCore_DP0': -9}",
        ),
    ),
    (
        "sglang scheduler killed", True, Fault.KILLED,
        ("Rank 0 scheduler is dead. Please check if there are relevant logs.", "Exit code: -9"),
    ),
    ("kernel", True, Fault.KILLED, ("Memory cgroup out of memory: Killed process 4242 (python3)",)),
    ("bad_alloc", False, Fault.KILLED, ("terminate called after throwing 'std::bad_alloc'",)),
    # refused
    (
        "argparse unknown", False, Fault.REFUSED,
        ("vllm: error: unrecognized arguments: --max-num-active-seqs 4",),
    ),
    (
        "argparse value", False, Fault.REFUSED,
        (
            "launch_server.py: error: argument --schedule-policy: invalid choice: 'x' (choose from "
            "'lpm', 'fcfs')",
        ),
    ),
    (
        "vllm pydantic", False, Fault.REFUSED,
        (
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for SchedulerConfig",
            "  Value error, max_num_batched_tokens (128) must be greater than or equal to "
            "max_num_seqs (256).",
        ),
    ),
    (
        "vllm heads", False, Fault.REFUSED,
        (
            "ValueError: Total number of attention heads (14) must be divisible by tensor parallel "
            "size (4).",
        ),
    ),
    (
        "sglang combination", False, Fault.REFUSED,
        ("AssertionError: chunked_prefill_size must be divisible by page_size",),
    ),
    # its port
    (
        "asyncio", False, Fault.PORT,
        (
            "ERROR: [Errno 98] error while attempting to bind on address ('0.0.0.0', 8000): "
            "address already in use",
        ),
    ),
    ("socket", False, Fault.PORT, ("OSError: [Errno 98] Address already in use",)),
    (
        "torch store", False, Fault.PORT,
        (
            "torch.distributed.DistNetworkError: The server socket has failed to listen on any "
            "local network address. port: 29500, code: -98, name: EADDRINUSE",
        ),
    ),
    # hung
    (
        "sglang watchdog", True, Fault.HUNG,
        (_SGL + "Watchdog timeout (self.watchdog_timeout=300, self.soft=False)",),
    ),
    (
        "nccl watchdog", True, Fault.HUNG,
        (
            "[rank0]:[E ProcessGroupNCCL.cpp:685] [Rank 0] Watchdog caught collective operation "
            "timeout: WorkNCCL(SeqNum=42, OpType=ALLREDUCE)",
        ),
    ),
    ("vllm rpc", True, Fault.HUNG, ("TimeoutError: RPC call to sample_tokens timed out.",)),
    # other ends; a retraction is no fault at all
    (
        "sglang retraction before an assertion", True, Fault.CRASHED,
        (
            _SGL + "KV cache pool is full. Retract requests. #retracted_reqs: 1",
            "AssertionError: alloc fail",
            "Received sigquit from a child process. It usually means the child failed.",
        ),
    ),
    (
        "vllm in the wake", True, Fault.CRASHED,
        (
            _V1 + "EngineCore encountered a fatal error.",
            _V1 + "KeyError: 'request-7'",
            "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue.",
        ),
    ),
]  # fmt: skip
