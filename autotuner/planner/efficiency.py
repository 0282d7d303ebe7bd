"""How much of a data sheet's figures an engine gets: the one place with such constants."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Efficiency:
    """Shares of the peak, 0..1, and fixed times in seconds.

    `read`: of bandwidth for weights. `kv_read`: for keys and values. `decode`, `prompt`, `pair`: of
    the peak arithmetic for a decode batch, a prompt's chunk and its attention. `hidden`: the share
    of a decode step's arithmetic that runs behind its reads. `step_s`: what a step costs beside.
    `layer_s`: the same for each layer. `exchange_s`: one sum over the tensor ranks, for each
    doubling of their number. `handover_s`: from one pipeline stage to the next. `link`: of one
    direction of the links. `busy`: of the way from idle power to TDP while steps run.
    """

    read: float
    kv_read: float
    decode: float
    prompt: float
    pair: float
    hidden: float
    step_s: float
    layer_s: float
    exchange_s: float
    handover_s: float
    link: float
    busy: float
    noise: float


# Measured on the bundled worker, one thread, SmolLM2-135M in bfloat16 on Zen 5 (37 GB/s, 531
# GFLOP/s by the same kernels; the results of the studies worker_throughput and attention_knob):
# decode steps of 8.2, 8.9, 11.3, 16.0 and 27.3 ms at batches of 1, 4, 8, 16 and 32 with 140 tokens
# of context; 1.6 µs for a token of KV, which reading takes 0.39 of (0.41 on a Xeon in float32);
# prompts of 128 and 1,500 tokens at 2,060 and 1,650 tokens/s. The rest is chosen. What is measured
# are rates that kernels reach, so `read`, `decode` and `prompt` are 1; a data sheet's need less.
CPU = Efficiency(
    read=1.0,
    kv_read=0.39,
    decode=1.0,
    prompt=1.0,
    pair=0.5,
    hidden=0.2,
    step_s=0.3e-3,
    layer_s=5e-6,
    exchange_s=0.2e-3,
    handover_s=1e-3,
    link=0.7,
    busy=1.0,
    noise=0.05,
)
# All chosen, near what good kernels are reported to reach on data-centre GPUs: no GPU was measured.
GPU = Efficiency(
    read=0.8,
    kv_read=0.7,
    decode=0.6,
    prompt=0.6,
    pair=0.4,
    hidden=0.5,
    step_s=0.5e-3,
    layer_s=20e-6,
    exchange_s=6e-6,
    handover_s=0.1e-3,
    link=0.7,
    busy=0.7,
    noise=0.05,
)


def efficiency_of(kind: str) -> Efficiency:
    """Of a kind of device: "cpu", or any other for a GPU."""
    return CPU if kind == "cpu" else GPU
