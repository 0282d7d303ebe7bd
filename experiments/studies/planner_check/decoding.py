"""Decode steps of the bundled engine: seconds for each by the process's CPU clock and the wall's.

One thread, so on an idle machine the two agree; the CPU clock leaves out what others take.
"""

from __future__ import annotations

import random
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from autotuner.worker.allocator import keep_freed_memory
from autotuner.worker.engine import Engine
from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.messages import AddRequest, SamplingParams
from autotuner.worker.settings import WeightDtype, WorkerSettings

WARM_UP_STEPS = 2


@dataclass(frozen=True)
class StepTimes:
    """Medians over steps in which all of the batch decode."""

    cpu_s: float
    wall_s: float


class Bench:
    """The engine with its default settings and no prefix cache."""

    def __init__(self, folder: Path, dtype: str, vocab_size: int, seed: int) -> None:
        keep_freed_memory()  # as the worker does
        settings = WorkerSettings(weight_dtype=cast(WeightDtype, dtype))
        self._engine = Engine(EngineOptions(folder, prefix_caching=False, settings=settings))
        self._vocab_size, self._rng, self._asked = vocab_size, random.Random(seed), 0

    def steps(self, batch: int, prompt_tokens: int, steps: int) -> StepTimes:
        """`batch` random prompts that decode together, over `steps` counted steps."""
        self._add(batch, prompt_tokens, WARM_UP_STEPS + steps + batch + 8)
        started: set[str] = set()
        while len(started) < batch:
            started |= {token.request_id for token in self._engine.step().tokens}
        cpu, wall = [], []
        for number in range(WARM_UP_STEPS + steps):
            before = time.process_time(), time.perf_counter()
            made = len(self._engine.step().tokens)
            after = time.process_time(), time.perf_counter()
            if made != batch:
                raise RuntimeError(f"a step made {made} tokens, not {batch}")
            if number >= WARM_UP_STEPS:
                cpu.append(after[0] - before[0])
                wall.append(after[1] - before[1])
        self._finish()
        return StepTimes(statistics.median(cpu), statistics.median(wall))

    def _add(self, batch: int, prompt_tokens: int, output_tokens: int) -> None:
        sampling = SamplingParams(max_tokens=output_tokens, temperature=0.0, ignore_eos=True)
        for _ in range(batch):
            prompt = [self._rng.randrange(self._vocab_size) for _ in range(prompt_tokens)]
            self._asked += 1
            self._engine.add(AddRequest(f"{self._asked}", prompt, sampling, arrival=0.0))

    def _finish(self) -> None:
        while self._engine.wait_s() is not None:
            self._engine.step()
