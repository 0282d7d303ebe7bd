"""How fast one thread of this machine reads weights and multiplies: one line of JSON, in seconds.

`python -m autotuner.worker.machine_speed [FLOAT TYPE]`. The kernels are the engine's own, so the
figures are those that its steps meet; nothing of a model. Timed by the process's own CPU clock:
what neighbours take of the core does not count.
"""

from __future__ import annotations

import json
import mmap
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from autotuner.worker.bf16_linear import Bf16Factory, has_fast_kernel
from autotuner.worker.cpu_features import default_weight_dtype
from autotuner.worker.linear import Linear, make_linear
from autotuner.worker.ops.build import library

READ_BYTES = 512 * 2**20  # chosen: far more than the caches hold
OUTPUTS, INPUTS = 1536, 576  # of a matrix; a small model's width, which gives the least rates
BATCH_ROWS = 32  # a decode batch
PROMPT_ROWS = 256  # a chunk of a prompt
REPEATS = 4


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else default_weight_dtype("cpu")
    print(json.dumps(measured(getattr(torch, name), READ_BYTES, REPEATS)))  # noqa: T201


@torch.inference_mode()
def measured(dtype: torch.dtype, read_bytes: int, repeats: int) -> dict[str, float | str]:
    """The best of `repeats` passes over `read_bytes` of weights, for each number of rows.

    `batch_flop_per_s`: of the rows that a decode batch has beyond one, reading left out.
    """
    torch.set_num_threads(1)
    count = max(read_bytes // (OUTPUTS * INPUTS * dtype.itemsize), 1)
    layers = _layers(_weights(count, dtype))
    total = count * OUTPUTS * INPUTS

    def best_s(rows: int, some: list[Linear]) -> float:
        row = torch.ones(rows, INPUTS, dtype=dtype)
        return min(_seconds(lambda: _each(some, row)) for _ in range(repeats + 1))

    read_s, batch_s = best_s(1, layers), best_s(BATCH_ROWS, layers)
    few = layers[: max(count // 8, 1)]  # a prompt's arithmetic takes long
    prompt_s = best_s(PROMPT_ROWS, few) * count / len(few)
    # What further rows take beyond the reading; a part at least, where a clock is too coarse.
    more_s = max(batch_s - read_s, 0.1 * batch_s)
    return {
        "dtype": str(dtype).removeprefix("torch."),
        "read_bytes_per_s": total * dtype.itemsize / read_s,
        "batch_flop_per_s": 2 * (BATCH_ROWS - 1) * total / more_s,
        "prompt_flop_per_s": 2 * PROMPT_ROWS * total / prompt_s,
    }


def _weights(count: int, dtype: torch.dtype) -> list[Tensor]:
    """One behind the other, in huge pages where the system has them, as an engine's are."""
    pages = mmap.mmap(-1, count * OUTPUTS * INPUTS * dtype.itemsize, flags=mmap.MAP_PRIVATE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        pages.madvise(mmap.MADV_HUGEPAGE)
    return list(torch.frombuffer(pages, dtype=dtype).fill_(0.01).view(count, OUTPUTS, INPUTS))


def _layers(weights: list[Tensor]) -> list[Linear]:
    compiled = library() if has_fast_kernel() else None
    if compiled is None:
        return [make_linear(weight) for weight in weights]
    make = Bf16Factory(compiled, threads=1)
    return [make("", weight, None, slice(None)) for weight in weights]


def _each(layers: list[Linear], rows: Tensor) -> None:
    for layer in layers:
        layer(rows)


def _seconds(run: Callable[[], object]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


if __name__ == "__main__":
    main()
