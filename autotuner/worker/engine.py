"""The engine: schedule, run, book. In-process; the pipe around it is engine_process."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import torch

from autotuner.worker.dtypes import resolve_dtype
from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.kv import KVCache, slots_for
from autotuner.worker.messages import AddRequest, StepOutput, TokenOutput
from autotuner.worker.model import load_decoder
from autotuner.worker.model_config import ModelConfig
from autotuner.worker.runner import Runner
from autotuner.worker.scheduler import Scheduler
from autotuner.worker.sequence import Sequence, StepPlan
from autotuner.worker.settings import Limits, WorkerSettings


class Engine:
    """One model on one device, with its queue. Not thread-safe: one caller drives it."""

    def __init__(self, options: EngineOptions) -> None:
        """Loads the model; raises ModelError. Sets the number of torch's threads."""
        torch.set_num_threads(options.num_threads)
        config = ModelConfig.from_folder(options.model)
        device = torch.device(options.device)
        dtype = resolve_dtype(options.weight_dtype, device)
        max_len = min(options.max_model_len, config.max_model_len)
        slots = slots_for(config, max_len, options.kv_cache_gib, dtype)
        self.limits = Limits(kv_slots=slots, max_model_len=max_len)
        self.model_name = options.model.name
        self.weight_dtype = str(dtype).removeprefix("torch.")
        decoder = load_decoder(options.model, dtype, device, max_len)
        self.runner = Runner(decoder, KVCache(config, slots, max_len, dtype, device))
        self._vocab_size = config.vocab_size
        self._seeds = random.Random(options.seed)
        self._generation = options.generation
        self._scheduler = Scheduler(options.settings, slots, max_len, config.eos_token_ids)

    @property
    def settings(self) -> WorkerSettings:
        return self._scheduler.settings

    @property
    def generation(self) -> int:
        return self._generation

    def add(self, request: AddRequest) -> None:
        """Queues a request; one that can't be served ends with an error in the next step."""
        tokens = request.prompt_token_ids
        if not all(0 <= token < self._vocab_size for token in tokens):
            limit = self._vocab_size - 1
            self._scheduler.refuse(request.request_id, f"prompt: a token is not in 0 to {limit}")
            return
        seed = request.sampling.seed
        self._scheduler.add(
            Sequence(
                request.request_id,
                list(tokens),
                len(tokens),
                request.sampling,
                self._seeds.getrandbits(64) if seed is None else seed,
                enqueued_s=time.monotonic(),
            )
        )

    def abort(self, request_id: str) -> None:
        """Ends a request; its slot is free at once."""
        self._scheduler.abort(request_id)

    def apply(self, settings: WorkerSettings, generation: int) -> None:
        """Settings of the next step on; what runs goes on running."""
        self._scheduler.settings, self._generation = settings, generation

    def wait_s(self) -> float | None:
        """How long until a step has something to do: 0 now, None not before a request comes."""
        return self._scheduler.wait_s(time.monotonic())

    def step(self) -> StepOutput:
        """One step: schedule, run, book. May be empty, when only ended requests are to be told."""
        started = time.monotonic()
        plan = self._scheduler.schedule(started)
        drawn = self.runner.run(plan) if plan.chunks else []
        tokens = self._scheduler.finish_step(plan, drawn)
        return self._output(plan, tokens, time.monotonic() - started)

    def _output(self, plan: StepPlan, tokens: list[TokenOutput], step_s: float) -> StepOutput:
        to_wall_s = time.time() - time.monotonic()
        return StepOutput(
            at=time.time(),
            step_s=step_s,
            decode_seqs=len(plan.decodes),
            prefill_tokens=plan.prefill_tokens,
            context_tokens=plan.context_tokens,
            prefill_pairs=plan.prefill_pairs,
            running=len(self._scheduler.running),
            waiting=len(self._scheduler.waiting),
            kv_usage=self._scheduler.slots_used_ratio,
            generation=self._generation,
            tokens=[_on_wall_clock(token, to_wall_s) for token in tokens],
        )


def _on_wall_clock(token: TokenOutput, to_wall_s: float) -> TokenOutput:
    if token.admitted_at is None:
        return token
    return replace(token, admitted_at=token.admitted_at + to_wall_s)
