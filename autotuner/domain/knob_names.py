"""One thing under several servers' names: what a knob is called by those who reckon with it.

Names alone. The bundled worker's and vLLM's name is the common one.
"""

from __future__ import annotations

from collections.abc import Mapping

Value = int | float | str | bool

COMMON: Mapping[str, str] = {
    # SGLang
    "max_running_requests": "max_num_seqs",
    "chunked_prefill_size": "max_num_batched_tokens",
    "tp_size": "tensor_parallel_size",
    "pp_size": "pipeline_parallel_size",
    "dp_size": "data_parallel_size",
}
# They leave `max_num_seqs` as it is and let fewer requests run: the least of all counts. The second
# one is the proxy's.
CAPS = ("max_num_active_seqs", "max_concurrency")

UNCUT_TOKENS = 2**17  # chosen: longer than the prompts that are met


def common_name(knob: str) -> str:
    """The name that means the same as `knob` on every server; its own where only it has it."""
    return COMMON.get(knob, knob)


def in_common_names(settings: Mapping[str, Value]) -> dict[str, Value]:
    """The settings under common names, `max_num_seqs` as small as the caps make it.

    Caps alone, without the knob, stand for it. A chunk size below 1 cuts nothing (SGLang's -1): it
    becomes UNCUT_TOKENS.
    """
    found = {common_name(name): value for name, value in settings.items() if name not in CAPS}
    limits = [settings[name] for name in CAPS if name in settings]
    limits += [found["max_num_seqs"]] if "max_num_seqs" in found else []
    numbers = [limit for limit in limits if isinstance(limit, int | float)]
    if numbers:
        found["max_num_seqs"] = min(numbers)
    budget = found.get("max_num_batched_tokens")
    if isinstance(budget, int | float) and budget < 1:
        found["max_num_batched_tokens"] = UNCUT_TOKENS
    return found
