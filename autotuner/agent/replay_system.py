"""A served system on a virtual clock: requests in, exposures out, settings changed in between.

Engines and their fleet are those of `des_engine` and `des_fleet`; this is the stream of requests,
the settings with their generations, and a change that takes new engines.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from autotuner.agent.des_crowding import Crowding
from autotuner.agent.des_engine import Engine
from autotuner.agent.des_faults import NO_FAULTS, Faults
from autotuner.agent.des_fleet import Fleet
from autotuner.agent.des_request import Ended, Request, StepLog
from autotuner.agent.engine import ENGINE_KNOBS
from autotuner.agent.schedule import Schedule
from autotuner.agent.serving import Serving, ServingTable
from autotuner.agent.stepmodel import Floats, StepModel
from autotuner.agent.traffic import ArrivalStream, MixSchedule, RateFunction, TokenMix
from autotuner.domain.knobs import Value
from autotuner.domain.telemetry import Exposure, Outcome, StepRecord

ServingOf = Callable[[Mapping[str, Value]], ServingTable]

# A change of one of these takes new engines, as on the bundled worker.
REBUILD_KNOBS = frozenset(ENGINE_KNOBS) - {"attention"}
_NOISE_BLOCK = 4096


@dataclass(frozen=True)
class EngineRules:
    """What settings mean for the engines.

    `serving_of` gives the one row that settings ask for. A change of one of `rebuild_knobs` is
    blue/green: new engines take the requests that come `rebuild_s` later or after, the old ones
    serve on until then and finish what they have. `faults` and `crowding` are every engine's.
    """

    serving_of: ServingOf
    rebuild_s: float = 0.0
    rebuild_knobs: frozenset[str] = REBUILD_KNOBS
    faults: Faults = NO_FAULTS
    crowding: Crowding | None = None

    @classmethod
    def plain(cls, model: StepModel, crowding: Crowding | None = None) -> EngineRules:
        """One engine with memory for everything, whatever the engine knobs say."""
        table = ServingTable.of([Serving(model)])
        return cls(lambda _: table, rebuild_knobs=frozenset(), crowding=crowding)


@dataclass(frozen=True)
class _Pending:
    """Settings that come into force when their engines are there."""

    at_s: float
    generation: int
    settings: Mapping[str, Value]


class SimulatedSystem:
    """Serves a stream of random requests under settings that may change at any time.

    `engines` is a step model, for one engine without a memory limit, or the rules by which
    settings make engines. `rate(t)` is requests per second at time t (s); `mix` may change with
    time as well. A request that finds `max_waiting` others waiting is rejected.
    """

    def __init__(
        self,
        engines: StepModel | EngineRules,
        rate: RateFunction,
        mix: TokenMix | MixSchedule,
        settings: Mapping[str, Value],
        *,
        seed: int = 0,
        start_s: float = 0.0,
        burst: float = 0.0,
        max_waiting: int = 1024,
        step_log: int = 4096,
    ) -> None:
        self.rules = EngineRules.plain(engines) if isinstance(engines, StepModel) else engines
        self.max_waiting = max_waiting
        self.generation, self.applied_at_s, self.now_s = 1, start_s, start_s
        self._seed, self._built = seed, 0
        self._stream = ArrivalStream(rate, mix, seed, start_s, burst)
        self._coming: deque[tuple[float, int, int]] = deque()
        self._known_until_s = start_s
        self._log = StepLog(step_log)
        self._settings = settings
        self._fleet = self._build(settings, start_s)
        self._draining: list[Fleet] = []
        self._pending: _Pending | None = None
        self._requests = 0
        self._sequence = 0
        self._finished: list[Ended] = []
        self._in_flight: dict[int, int] = {}

    # ---- what a target offers
    def apply(self, settings: Mapping[str, Value]) -> int:
        """Put `settings` in force; their generation number.

        From the next step on or, where they take new engines, once those are there; until then
        `generation` stays what it was. Later settings take the place of such as wait.
        """
        now_s = self.now_s
        generation = (self._pending.generation if self._pending else self.generation) + 1
        if self._takes_engines(settings):
            self._pending = _Pending(now_s + self.rules.rebuild_s, generation, settings)
            self._switch_if_due(now_s)
        else:
            self._pending = None
            self._fleet.configure(self._serving(settings), Schedule.of(settings))
            self._put_in_force(settings, generation, now_s)
        return generation

    def advance(self, until_s: float) -> list[Exposure]:
        """Serve until `until_s`; the requests that ended since the last call, in order."""
        exposures: list[Exposure] = []
        while self._pending is not None and self._pending.at_s < until_s:
            at_s = self._pending.at_s
            self._serve(at_s)
            exposures += self._collect(at_s)
            self._switch_if_due(at_s)
        self._serve(until_s)
        self.now_s = until_s
        exposures += self._collect(until_s)
        self._switch_if_due(until_s)
        return exposures

    @property
    def in_flight(self) -> dict[int, int]:
        """Unfinished requests by the generation that they arrived under."""
        return {generation: n for generation, n in self._in_flight.items() if n}

    @property
    def running(self) -> int:
        return sum(fleet.running for fleet in self._fleets)

    @property
    def waiting(self) -> int:
        return sum(fleet.waiting for fleet in self._fleets)

    @property
    def context_tokens(self) -> int:
        """KV tokens computed for the running sequences."""
        return sum(engine.cached_tokens for engine in self._engines)

    @property
    def kv_usage(self) -> float:
        """The share of the KV blocks in use, 0..1, of the engine that has least left."""
        return max(engine.kv.used_ratio for engine in self._fleet.engines)

    @property
    def preemptions(self) -> int:
        """Preemptions of the engines that are there now."""
        return sum(engine.preemptions for engine in self._engines)

    @property
    def crashes(self) -> int:
        """Crashes of the engines that are there now."""
        return sum(engine.crashes for engine in self._engines)

    def steps(self, after: int) -> tuple[list[StepRecord], int]:
        """Recent steps after the cursor, and the next cursor. One step per stretch of decoding."""
        return self._log.after(after)

    # ---- engines
    @property
    def _fleets(self) -> list[Fleet]:
        return [*self._draining, self._fleet]

    @property
    def _engines(self) -> list[Engine]:
        return [engine for fleet in self._fleets for engine in fleet.engines]

    def _serving(self, settings: Mapping[str, Value]) -> Serving:
        return self.rules.serving_of(settings).row(0)

    def _build(self, settings: Mapping[str, Value], start_s: float) -> Fleet:
        serving, schedule = self._serving(settings), Schedule.of(settings)
        engines = [
            Engine(
                serving,
                schedule,
                self._normals(),
                self._log,
                start_s=start_s,
                faults=self.rules.faults,
                crowding=self.rules.crowding,
            )
            for _ in range(serving.replicas)
        ]
        return Fleet(engines, self.max_waiting)

    def _normals(self) -> Callable[[], Floats]:
        """Draws of its own for each engine."""
        rng = np.random.default_rng(
            (self._seed, 1, self._built) if self._built else (self._seed, 1)
        )
        self._built += 1
        return lambda: rng.standard_normal(_NOISE_BLOCK)

    def _takes_engines(self, settings: Mapping[str, Value]) -> bool:
        before = self._settings
        return any(before.get(name) != settings.get(name) for name in self.rules.rebuild_knobs)

    def _switch_if_due(self, at_s: float) -> None:
        pending = self._pending
        if pending is None or pending.at_s > at_s:
            return
        self._pending = None
        self._draining.append(self._fleet)
        self._fleet = self._build(pending.settings, at_s)
        self._put_in_force(pending.settings, pending.generation, at_s)

    def _put_in_force(self, settings: Mapping[str, Value], generation: int, at_s: float) -> None:
        self._settings, self.generation, self.applied_at_s = settings, generation, at_s

    # ---- requests
    def _serve(self, until_s: float) -> None:
        """Play all that begins before `until_s`."""
        while self._next_arrival_s(until_s) < until_s:
            arrival_s, prompt, output = self._coming.popleft()
            self._run(arrival_s)
            self._requests += 1
            self._in_flight[self.generation] = self._in_flight.get(self.generation, 0) + 1
            self._fleet.submit(Request(self._requests, arrival_s, prompt, output, self.generation))
        self._run(until_s)

    def _run(self, until_s: float) -> None:
        for fleet in self._fleets if self._draining else (self._fleet,):
            fleet.run(until_s)

    def _next_arrival_s(self, until_s: float) -> float:
        """When the next request comes; `until_s` if none does before."""
        while not self._coming and self._known_until_s < until_s:
            rows, self._known_until_s = self._stream.next_block()
            self._coming.extend(rows)
        return self._coming[0][0] if self._coming else until_s

    def _collect(self, until_s: float) -> list[Exposure]:
        for fleet in self._fleets:
            self._finished += fleet.take_ended()
        self._draining = [f for f in self._draining if f.running or f.waiting]
        due = sorted((e for e in self._finished if e.at_s <= until_s), key=lambda e: e.at_s)
        self._finished = [e for e in self._finished if e.at_s > until_s]
        return [self._exposure(*ended) for ended in due]

    def _exposure(
        self, ended_s: float, request: Request, outcome: Outcome, gap_s: float
    ) -> Exposure:
        self._sequence += 1
        self._in_flight[request.generation] -= 1
        served, many = outcome is Outcome.LENGTH, request.output_tokens > 1
        mean_gap_s = (ended_s - request.first_s) / max(request.output_tokens - 1, 1)
        return Exposure(
            seq=self._sequence,
            id=f"sim-{request.number}",
            generation_start=request.generation,
            generation_end=self.generation,
            arrival=request.arrival_s,
            queue_s=request.admitted_s - request.arrival_s if served else None,
            ttft_s=request.first_s - request.arrival_s if served else None,
            tpot_s=mean_gap_s if served and many else None,
            gap_max_s=gap_s if served and many else None,
            e2el_s=ended_s - request.arrival_s,
            prompt_tokens=request.prompt_tokens,
            output_tokens=request.output_tokens if served else 0,
            outcome=outcome,
        )
