"""Serves a plan of requests in real time on one engine, and logs every step. No HTTP."""

from __future__ import annotations

import random
import time
from collections import deque
from dataclasses import dataclass, field

from autotuner.load.plan import PlannedRequest
from autotuner.worker.engine import Engine
from autotuner.worker.messages import AddRequest, SamplingParams, StepOutput

IDLE_S = 0.0005  # chosen: an open loop looks for due requests at least this often


@dataclass(frozen=True)
class StepLog:
    """One engine step; `end_s` counts from the run's start; `backlog` requests waited after it."""

    end_s: float
    step_s: float
    prefill_tokens: int
    decode_tokens: int
    running: int
    backlog: int


@dataclass
class Request:
    """When it was due, and when its first and last token came (s)."""

    due_s: float
    first_s: float = 0.0
    last_s: float = 0.0


@dataclass
class Run:
    """What serving a plan looked like: every step and every request."""

    steps: list[StepLog] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)


class Server:
    """One run of a plan. `groups_of`: static batches, the next only once the last is done."""

    def __init__(
        self, engine: Engine, plan: tuple[PlannedRequest, ...], groups_of: int | None, seed: int
    ) -> None:
        self._engine, self._groups_of = engine, groups_of
        self._plan = deque(enumerate(plan))
        self._held: deque[AddRequest] = deque()
        self._prompts = random.Random(seed)
        self._run = Run(requests=[Request(planned.at_s) for planned in plan])
        self._began = 0.0

    def run(self) -> Run:
        """Returns after the last token; raises RuntimeError for a request that failed."""
        self._began = time.perf_counter()
        while True:
            self._take_due()
            wait_s = self._engine.wait_s()
            if wait_s == 0.0:
                self._step()
            elif wait_s is None and not self._plan and not self._held:
                return self._run
            else:
                time.sleep(IDLE_S)

    def _now_s(self) -> float:
        return time.perf_counter() - self._began

    def _take_due(self) -> None:
        now_s = self._now_s()
        while self._plan and self._plan[0][1].at_s <= now_s:
            index, planned = self._plan.popleft()
            self._held.append(self._request(index, planned))
        if self._groups_of is None:
            self._hand_over(len(self._held))
        elif self._engine.wait_s() is None:
            self._hand_over(self._groups_of)

    def _hand_over(self, most: int) -> None:
        for _ in range(min(most, len(self._held))):
            self._engine.add(self._held.popleft())

    def _request(self, index: int, planned: PlannedRequest) -> AddRequest:
        prompt = [self._prompts.randrange(1000, 40_000) for _ in range(planned.prompt_tokens)]
        sampling = SamplingParams(
            max_tokens=planned.output_tokens, temperature=0.0, ignore_eos=True
        )
        return AddRequest(f"{index}", prompt, sampling, arrival=0.0)

    def _step(self) -> None:
        began = time.perf_counter()
        step = self._engine.step()
        step_s = time.perf_counter() - began
        now_s = self._now_s()
        self._run.steps.append(
            StepLog(
                now_s,
                step_s,
                step.prefill_tokens,
                step.decode_seqs,
                max(step.running, step.decode_seqs),  # those that ended in it ran too
                step.waiting + len(self._held),
            )
        )
        self._book(step, now_s)

    def _book(self, step: StepOutput, now_s: float) -> None:
        for token in step.tokens:
            if token.error is not None:
                raise RuntimeError(token.error)
            request = self._run.requests[int(token.request_id)]
            request.first_s = request.first_s or now_s
            request.last_s = now_s
