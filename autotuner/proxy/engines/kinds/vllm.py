"""vLLM: its engine arguments. All of them are read at start; nothing changes while it runs."""

from __future__ import annotations

from autotuner.proxy.engines.flags import LEFT_OUT, Flag
from autotuner.proxy.engines.kinds.base import Kind, choice, real, switch, table, whole

_MOST_SEQS = 8192  # chosen: far beyond the default of the largest GPUs (1024)
_MOST_TOKENS = 1 << 20  # chosen, likewise (16384)
_MOST_DEVICES = 1024


def _both(name: str, *, answers: bool = False) -> Flag:
    """A bool that is written either way: --NAME and --no-NAME."""
    return switch(name, negation="--no-" + name.replace("_", "-"), answers=answers)


# Ranges: what the server's own checks let through. A policy narrows them.
FLAGS = table(
    # the batch
    whole("max_num_seqs", 1, _MOST_SEQS),
    whole("max_num_batched_tokens", 1, _MOST_TOKENS),
    whole("max_num_active_seqs", 1, _MOST_SEQS),
    whole("max_num_queued_reqs", 0, _MOST_TOKENS),
    whole("max_num_queued_tokens", 0, 1 << 30),
    whole("max_num_partial_prefills", 1, 256),  # gone by 0.32
    whole("max_long_partial_prefills", 1, 256),  # gone by 0.32
    whole("long_prefill_token_threshold", 0, _MOST_TOKENS),
    whole("prefill_schedule_interval", 1, 1024),
    whole("num_scheduler_steps", 1, 64),  # V0
    choice("scheduling_policy", "fcfs", "priority", told="policy"),
    whole("stream_interval", 1, 1024),
    _both("enable_chunked_prefill"),
    _both("async_scheduling"),
    choice("performance_mode", "balanced", "interactivity", "throughput"),
    # memory
    real("gpu_memory_utilization", 0.01, 1.0),
    real("watermark", 0.0, 0.99),
    real("swap_space", 0.0, 4096.0),  # V0
    real("cpu_offload_gb", 0.0, 4096.0),
    whole("kv_cache_memory_bytes", 1, 1 << 44),
    whole("num_gpu_blocks_override", 1, 1 << 30),
    choice("block_size", 1, 8, 16, 32, 64, 128, 256),
    _both("enable_prefix_caching"),
    # Requests beyond it are refused, so that other answers are given.
    whole("max_model_len", 1, 1 << 24, answers=True),
    choice(
        "kv_cache_dtype",
        *("auto", "float16", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc", "fp8_ds_mla"),
        *("nvfp4", "nvfp4_4over6", "nvfp4_ds_mla"),
        *("int8_per_token_head", "int4_per_token_head", "fp8_per_token_head"),
        *("turboquant_k8v4", "turboquant_4bit_nc", "turboquant_k3v4_nc", "turboquant_3bit_nc"),
        "ultraquant_4bit",
        answers=True,
        told="cache_dtype",
    ),
    # graphs
    whole("max_cudagraph_capture_size", 0, _MOST_SEQS),
    whole("max_seq_len_to_capture", 1, 1 << 24),  # V0
    _both("enforce_eager"),
    choice("compilation_config", words=("-cc",)),
    # devices
    whole("tensor_parallel_size", 1, _MOST_DEVICES, "-tp"),
    whole("pipeline_parallel_size", 1, _MOST_DEVICES, "-pp"),
    whole("data_parallel_size", 1, _MOST_DEVICES, "-dp"),
    whole("api_server_count", 1, 256, "-asc"),
    _both("enable_expert_parallel"),
    # numbers: other answers
    choice("dtype", "auto", "half", "float16", "bfloat16", "float", "float32", answers=True),
    choice(
        "quantization",
        *(LEFT_OUT, "awq", "awq_marlin", "bitsandbytes", "compressed-tensors", "fp8", "gptq"),
        *("gptq_marlin", "modelopt", "modelopt_fp4", "mxfp4", "torchao"),
        words=("-q",),
        answers=True,
    ),
    choice("speculative_config", words=("-sc",), answers=True),
)

# /server_info answers only with VLLM_SERVER_DEV_MODE=1; the metric needs statistics to be on.
VLLM = Kind(
    name="vllm",
    flags=FLAGS,
    info_paths=("/server_info?config_format=json",),
    version_paths=("/version",),
    info_metric="vllm:cache_config_info",
    extra_body={"ignore_eos": True},
)
