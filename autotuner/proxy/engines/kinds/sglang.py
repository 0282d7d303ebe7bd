"""SGLang: its server arguments, over the names of several versions.

What `POST /set_internal_state` changes while it runs (pp_max_micro_batch_size and thresholds of
speculative decoding) is no knob here: none of it moves throughput or latency of a usual set-up,
and a value set that way is lost at the next restart, unseen by whoever reads the command line.
"""

from __future__ import annotations

from autotuner.proxy.engines.flags import LEFT_OUT
from autotuner.proxy.engines.kinds.base import Kind, choice, real, switch, table, whole

_MOST_REQUESTS = 1 << 16  # chosen
_MOST_TOKENS = 1 << 20  # chosen
_MOST_DEVICES = 1024

FLAGS = table(
    # the batch
    whole("max_running_requests", 1, _MOST_REQUESTS),
    whole("max_queued_requests", 0, _MOST_TOKENS),
    whole("chunked_prefill_size", -1, _MOST_TOKENS),  # -1: no chunks
    whole("max_prefill_tokens", 1, _MOST_TOKENS),
    whole("prefill_max_requests", 1, _MOST_REQUESTS),
    whole("prefill_decode_interval", 1, 1024),
    choice(
        "schedule_policy",
        *("fcfs", "lpm", "random", "dfs-weight", "lof", "priority", "routing-key", "hrrn"),
        "shortest-prefill-first",
    ),
    real("schedule_conservativeness", 0.01, 10.0),
    whole("num_continuous_decode_steps", 1, 64),
    whole("stream_interval", 1, 1024),
    switch("enable_mixed_chunk"),
    switch("disable_overlap_schedule"),
    # memory
    real("mem_fraction_static", 0.01, 0.99),
    whole("max_total_tokens", 1, 1 << 30),
    whole("page_size", 1, 1024),
    switch("disable_radix_cache"),
    # Requests beyond it are refused, so that other answers are given.
    whole("context_length", 1, 1 << 24, answers=True),
    choice(
        "kv_cache_dtype",
        *("auto", "bf16", "fp8_e5m2", "fp8_e4m3", "mxfp8", "nvfp4", "fp4_mx_block16"),
        answers=True,
    ),
    # graphs: one flag was split in two and its old name goes away
    whole("cuda_graph_max_bs_decode", 1, 8192, told="cuda_graph_max_bs"),
    whole("cuda_graph_max_bs", 1, 8192),
    switch("disable_cuda_graph"),
    switch("enable_torch_compile"),
    whole("torch_compile_max_bs", 1, 8192),
    # devices
    whole("tp_size", 1, _MOST_DEVICES, "--tensor-parallel-size", "--tp"),
    whole("pp_size", 1, _MOST_DEVICES, "--pipeline-parallel-size", "--pp"),
    whole("dp_size", 1, _MOST_DEVICES, "--data-parallel-size", "--dp"),
    whole("ep_size", 1, _MOST_DEVICES, "--expert-parallel-size", "--ep"),
    whole("attn_dp_size", 1, _MOST_DEVICES),
    switch("enable_dp_attention"),
    choice("attention_backend"),
    # numbers: other answers
    choice("dtype", "auto", "half", "float16", "bfloat16", "float", "float32", answers=True),
    choice(
        "quantization",
        *(LEFT_OUT, "awq", "awq_marlin", "bitsandbytes", "blockwise_int8", "fp8", "gptq"),
        *("gptq_marlin", "modelopt", "modelopt_fp4", "mxfp4", "w8a8_fp8", "w8a8_int8"),
        answers=True,
    ),
    choice(
        "speculative_algorithm",
        *(LEFT_OUT, "EAGLE", "EAGLE3", "NEXTN", "STANDALONE", "NGRAM", "DFLASH", "DSPARK", "UNO"),
        answers=True,
    ),
    whole("speculative_num_steps", 1, 64, answers=True),
    whole("speculative_eagle_topk", 1, 64, answers=True),
    whole("speculative_num_draft_tokens", 1, 256, answers=True),
)

SGLANG = Kind(
    name="sglang",
    flags=FLAGS,
    info_paths=("/server_info", "/get_server_info"),
    version_paths=("/server_info", "/get_server_info"),
    extra_body={"ignore_eos": True},
)
