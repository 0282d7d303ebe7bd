"""The engine of one replica: requests in, tokens out, one step at a time.

It knows the clock and joins scheduler and runner; nothing of processes, pipes or HTTP.
"""

from __future__ import annotations

import random
import time
from dataclasses import replace

import torch

from autotuner.worker.cuda_graphs import GraphExecutor, record_on_cuda
from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.executor import Executor, LocalExecutor
from autotuner.worker.limits import limits_of
from autotuner.worker.messages import (
    AddRequest,
    EngineReady,
    SamplingParams,
    ScoreOutput,
    ScoreRequest,
    StepOutput,
    TokenOutput,
)
from autotuner.worker.model_config import ModelConfig
from autotuner.worker.model_part import build_part, kv_blocks, model_len
from autotuner.worker.runner import Runner, StepResult
from autotuner.worker.scheduler import Scheduler
from autotuner.worker.scoring import Scores
from autotuner.worker.sequence import Sequence, StepPlan
from autotuner.worker.settings import WorkerSettings

# A scored text draws one token, which nobody sees, so that its last chunk ends it.
SCORING = SamplingParams(max_tokens=1, temperature=0.0, ignore_eos=True)


class Engine:
    """One model, wherever its ranks are, with its queue. Not thread-safe: one caller drives it."""

    def __init__(self, options: EngineOptions, executor: Executor | None = None) -> None:
        """Loads the model, unless an `executor` has it; raises ModelError."""
        config = ModelConfig.from_folder(options.model)
        device = torch.device(options.device)
        self.executor = executor or local_executor(options, config, device)
        self.runner = Runner(self.executor)
        self._scores = Scores()
        self._vocab_size = config.vocab_size
        self._seeds = random.Random(options.seed + options.replica)
        self._replica, self._generation = options.replica, options.generation
        self._scheduler = Scheduler(
            options.settings,
            kv_blocks(options, config, device),
            model_len(options, config),
            config.eos_token_ids,
            prefix_caching=options.prefix_caching,
        )
        self.limits = limits_of(options, config)
        self._model_name = options.model.name

    @property
    def settings(self) -> WorkerSettings:
        return self._scheduler.settings

    @property
    def generation(self) -> int:
        return self._generation

    def ready(self, load_s: float) -> EngineReady:
        """What the front is told once the engine has loaded, which took `load_s`."""
        return EngineReady(
            limits=self.limits,
            model_name=self._model_name,
            weight_dtype=self.settings.weight_dtype,
            load_s=load_s,
            weight_bytes=self.executor.weight_bytes,
            ops=self.executor.ops_name,
        )

    def add(self, request: AddRequest) -> None:
        """Queues a request; one that can't be served ends with an error in the next step."""
        tokens = request.prompt_token_ids
        if not self._known(tokens):
            self._scheduler.refuse(request.request_id, self._unknown_token())
            return
        self._scheduler.add(self._sequence(request.request_id, list(tokens), request.sampling))

    def score(self, request: ScoreRequest) -> ScoreOutput | None:
        """Queues a text to be scored; what can't be scored is answered at once."""
        tokens = request.token_ids
        if not self._known(tokens):
            return ScoreOutput(request.request_id, error=self._unknown_token())
        if not 1 <= request.first < len(tokens):
            problem = f"first={request.first}: give 1 to {len(tokens) - 1}"
            return ScoreOutput(request.request_id, error=problem)
        sequence = self._sequence(request.request_id, list(tokens), SCORING)
        sequence.score_from = request.first
        self._scores.expect(sequence)
        self._scheduler.add(sequence)
        return None

    def abort(self, request_id: str) -> None:
        """Ends a request; its blocks are free at once."""
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
        result = StepResult()
        if plan.chunks:
            result = self.runner.run(plan, self.settings, self._scores)
        self._clear_spoilt(result.drawn)
        tokens = self._scheduler.finish_step(plan, result.drawn)
        return self._output(plan, tokens, result.padded_rows, time.monotonic() - started)

    def scored(self) -> list[ScoreOutput]:
        """The texts whose scores the last steps completed."""
        return self._scores.take()

    def close(self) -> None:
        """Ends the ranks, if there are any."""
        self.executor.close()

    def _known(self, tokens: list[int]) -> bool:
        return all(0 <= token < self._vocab_size for token in tokens)

    def _unknown_token(self) -> str:
        return f"prompt: a token is not in 0 to {self._vocab_size - 1}"

    def _sequence(self, request_id: str, tokens: list[int], sampling: SamplingParams) -> Sequence:
        seed = self._seeds.getrandbits(64) if sampling.seed is None else sampling.seed
        return Sequence(
            request_id, tokens, len(tokens), sampling, seed, enqueued_s=time.monotonic()
        )

    def _clear_spoilt(self, drawn: list[tuple[Sequence, int | None]]) -> None:
        """Not-a-number must not stay in the cache: whoever gets the block next would read it."""
        for sequence, token in drawn:
            if token is None:
                self.executor.clear(self._scheduler.forget(sequence))

    def _output(
        self, plan: StepPlan, tokens: list[TokenOutput], padded_rows: int, step_s: float
    ) -> StepOutput:
        to_wall_s = time.time() - time.monotonic()
        counts = self._scheduler.take_counts()
        return StepOutput(
            at=time.time(),
            step_s=step_s,
            decode_seqs=len(plan.decodes),
            prefill_tokens=plan.prefill_tokens,
            context_tokens=plan.context_tokens,
            prefill_pairs=plan.prefill_pairs,
            running=len(self._scheduler.running),
            waiting=len(self._scheduler.waiting),
            kv_usage=self._scheduler.kv_usage,
            generation=self._generation,
            preemptions=counts.preemptions,
            prefix_queries=counts.prefix_queries,
            prefix_hits=counts.prefix_hits,
            padded_rows=padded_rows,
            replica=self._replica,
            tokens=[_on_wall_clock(token, to_wall_s) for token in self._scores.without(tokens)],
        )


def local_executor(options: EngineOptions, config: ModelConfig, device: torch.device) -> Executor:
    """The whole model in this process."""
    part = build_part(options, config, device)
    executor = LocalExecutor(part.decoder, part.cache)
    return GraphExecutor(executor, record_on_cuda) if device.type == "cuda" else executor


def _on_wall_clock(token: TokenOutput, to_wall_s: float) -> TokenOutput:
    if token.admitted_at is None:
        return token
    return replace(token, admitted_at=token.admitted_at + to_wall_s)
