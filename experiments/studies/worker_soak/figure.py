"""The figure: memory, queue and KV usage over the soak."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from experiments.studies.worker_soak.watch import Sample


def draw(samples: Sequence[Sample], warm_up_s: float, path: Path) -> None:
    figure = Figure(figsize=(9, 7), layout="constrained")
    memory, queue, cache = figure.subplots(3, 1, sharex=True)
    minutes = [sample.at_s / 60 for sample in samples]
    memory.plot(minutes, [s.engine_mib for s in samples], color="#2a78b5", label="engine")
    memory.plot(minutes, [s.front_mib for s in samples], color="#d1772e", label="front")
    memory.axvspan(0, warm_up_s / 60, color="#eeeeee", lw=0)
    memory.set_ylim(bottom=0)
    memory.set_title("Resident memory, MiB (grey: warm-up, not judged)", loc="left")
    memory.legend(frameon=False, ncols=2)
    queue.plot(minutes, [s.waiting for s in samples], color="#4d4d4d", label="waiting")
    queue.plot(minutes, [s.running for s in samples], color="#2a78b5", label="running")
    queue.set_title("Requests", loc="left")
    queue.legend(frameon=False, ncols=2)
    cache.plot(minutes, [100 * s.kv_usage for s in samples], color="#2a78b5")
    cache.set_ylim(0, 100)
    cache.set_title("KV cache in use, %", loc="left")
    cache.set_xlabel("minutes")
    figure.savefig(path, dpi=120)
