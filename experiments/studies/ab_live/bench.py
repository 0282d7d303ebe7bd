"""The real worker under load, and one live test driven to its end; never what a test is about."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

from autotuner.abtest import switchback
from autotuner.abtest.view import View
from autotuner.demo.stage import Stage, end
from autotuner.domain.experiment import Arm, Experiment, Plan
from autotuner.domain.knobs import Settings
from autotuner.domain.ports import LiveSettings
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Exposure
from autotuner.load.plan import Plan as Requests
from autotuner.load.results import RequestResult
from autotuner.load.runner import LoadOptions, generate
from autotuner.targets.worker import WorkerTarget

CYCLE_S = 0.2
WORKER = ("--max-num-seqs", "16", "--no-prefix-caching")
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Tested:
    """A test as it ended.

    `requests`: all that finished from its start until its slots were drained. `settled_at`: when
    the settings that its verdict left came into force, on the worker's clock (the last look, where
    the study stopped looking before there was one). `restored`: whether those in force then were
    the control's.
    """

    experiment: Experiment
    requests: tuple[Exposure, ...]
    seconds: float
    settled_at: float
    restored: bool

    def generations(self, arm: Arm) -> frozenset[int]:
        """The generations under which that arm's slots ran."""
        slots = self.experiment.slots
        return frozenset(s.generation for s in slots if s.arm is arm and s.generation > 0)


@dataclass
class Bench:
    """One worker, and at most one stream of background requests at a time."""

    stage: Stage
    target: WorkerTarget
    url: str
    cursor: int = 0
    _load: Popen[bytes] | None = None

    @classmethod
    def raised_on(cls, stage: Stage) -> Bench:
        """Starts the worker on the stage and waits until it serves."""
        url = stage.start_worker(WORKER, limit_s=300)
        return cls(stage, WorkerTarget(url), url)

    def load(self, mix: str, rate_rps: float, seed: int, arrivals: str = "poisson") -> None:
        """Sends requests of the mix in the background, in place of those sent so far."""
        self.quiet()
        words = ["load", "--url", self.url, "--duration-s", "7200", "--rate", f"{rate_rps:.3f}"]
        words += ["--mix", str(HERE / f"{mix}.yaml"), "--seed", str(seed), "--arrivals", arrivals]
        self._load = self.stage.start("load", words)

    def quiet(self) -> None:
        """Ends the background requests and waits for the last answer."""
        if self._load is not None:
            end(self._load)
        self._load = None
        while self.finished()[1]:
            time.sleep(CYCLE_S)

    def wait(self, seconds: float) -> None:
        """Lets the background requests run."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.check()
            time.sleep(CYCLE_S)

    def check(self) -> None:
        """Raises StageError when the worker or the load has ended by itself."""
        self.stage.check(finished_is_fine=frozenset({"load"}))

    def finished(self) -> tuple[tuple[Exposure, ...], Mapping[int, int]]:
        """Requests that finished since the last call, and those in flight by generation."""
        batch = self.target.exposures(self.cursor)
        self.cursor = batch.next
        return batch.exposures, batch.in_flight

    def apply(self, settings: Settings, reason: str) -> LiveSettings:
        return self.target.apply(settings, self.target.read_settings(), reason)

    def replay(self, requests: Requests, seed: int) -> tuple[RequestResult, ...]:
        """Sends just these and waits for all answers; the client's own times."""
        return generate(LoadOptions(self.url, requests, seed=seed)).results

    def test(
        self, experiment: Experiment, slo: SLO, enough: Callable[[Experiment], bool] | None = None
    ) -> Tested:
        """Runs the test on the worker under the present load until its verdict, or `enough`."""
        self.finished()
        return _Run(self, slo, experiment).to_its_end(enough)


@dataclass
class _Run:
    """A test that runs: what a daemon does, without the daemon."""

    bench: Bench
    slo: SLO
    experiment: Experiment
    seen: list[Exposure] = field(default_factory=list)
    in_flight: int = 0
    settled_at: float = 0.0

    def to_its_end(self, enough: Callable[[Experiment], bool] | None) -> Tested:
        began = time.monotonic()
        while self.experiment.running and not (enough and enough(self.experiment)):
            self.bench.check()
            self._turn()
            time.sleep(CYCLE_S)
        lasted_s = time.monotonic() - began
        if not self.experiment.running:
            self._drain()
        live = self.bench.target.read_settings()
        restored = self.experiment.control.changed_from(live.settings) == {}
        settled_at = live.now if self.experiment.running else self.settled_at
        return Tested(self.experiment, tuple(self.seen), lasted_s, settled_at, restored)

    def _turn(self) -> None:
        """One cycle: read, advance, apply."""
        live = self.bench.target.read_settings()
        view = self._view(live)
        step = switchback.advance(self.experiment, view, time.time(), self.slo)
        self.experiment = step.experiment
        if step.apply is None:
            return
        applied = self.bench.target.apply(step.apply, live, step.reason)
        if self.experiment.running:
            self.experiment = switchback.slot_started(self.experiment, applied)
        else:
            self.settled_at = applied.applied_at

    def _view(self, live: LiveSettings) -> View:
        more, in_flight = self.bench.finished()
        self.seen.extend(more)
        last = max((slot.generation for slot in self.experiment.slots), default=0)
        self.in_flight = sum(n for g, n in in_flight.items() if g <= last)
        return View(live, tuple(self.seen), in_flight)

    def _drain(self) -> None:
        """Waits for the requests that the test's slots admitted."""
        while True:
            self.bench.check()
            self._view(self.bench.target.read_settings())
            if not self.in_flight:
                return
            time.sleep(CYCLE_S)


def about_to_start(
    name: str, control: Settings, treatment: Settings, plan: Plan, seed: int
) -> Experiment:
    """A test before its first slot."""
    return Experiment(name, "worker", control, treatment, plan, seed, started_at=time.time())
