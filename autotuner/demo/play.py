"""The demo's acts: raise the stage, size the load, let the daemon work, tell what came of it."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import FrameType

import numpy as np
import yaml
from rich.console import Console

from autotuner.agent.calibration import calibrate
from autotuner.demo import report
from autotuner.demo.figure import draw
from autotuner.demo.recorder import Figures, Recorder
from autotuner.demo.screen import Scene, Screen
from autotuner.demo.sizing import CHUNK, POOR, Sizing, size
from autotuner.demo.stage import Stage, StageError
from autotuner.domain.experiment import Arm, Experiment, Slot, Verdict
from autotuner.domain.knobs import Settings, Value
from autotuner.domain.telemetry import StepRecord
from autotuner.history.store import History, open_history
from autotuner.targets.worker import WorkerTarget

TARGET = "demo"
POOR_TOKENS = POOR.max_num_batched_tokens
PROBE_S = 12.0
SLOW_END = 0.95
PROBE_RPS = 1.5
PROBE_SEED = 1  # gives long prompts in both halves
PROBE_MIX = [
    {"weight": 0.3, "prompt": [1000, 2000], "output": [16, 96]},
    {"weight": 0.7, "prompt": [64, 256], "output": [16, 96]},
]
REST_S = 60.0  # the daemon's rest after a test: the time in which "after" is measured
RECENT_S = 30.0
PATIENCE_S = 30.0  # a step of whole prompts on a busy machine keeps an answer waiting
OBSERVE_S = 60.0  # chosen: traffic under the poor settings before the first test
DRAIN_S = 5.0  # chosen: longer than nearly every request takes
COOLDOWN_S = 3.0
SLOT_S = 18  # chosen: the shortest slot
SLOT_REQUESTS = 12  # chosen: expected in a slot; a slot with less than half of them counts nothing
BIN_S = 10.0
BINS = 40


@dataclass(frozen=True)
class DemoOptions:
    """`minutes` bounds the demo from its first to its last line; results go to `folder`.

    `probe_s`: how long each of two settings is measured before the load is chosen.
    """

    folder: Path
    minutes: float = 15.0
    seed: int = 7
    goal_ratio: float = 2.0
    probe_s: float = PROBE_S


@dataclass(frozen=True)
class Ending:
    """What the demo ended with."""

    before: Figures
    after: Figures
    accepted: int
    confidence: float

    @property
    def ratio(self) -> float:
        base = self.before.goodput_rps
        return self.after.goodput_rps / base if base > 0 else float("inf")


def perform(
    options: DemoOptions, console: Console, raise_stage: Callable[[Path], Stage] = Stage
) -> int:
    """Plays the demo; returns its exit status: 0 goal reached, 1 not reached, 130 interrupted."""
    try:
        ending = play(options, console, raise_stage)
    except KeyboardInterrupt:
        console.print("stopped; nothing is left running")
        return 130
    return 0 if ending.accepted and ending.ratio >= options.goal_ratio else 1


def play(options: DemoOptions, console: Console, raise_stage: Callable[[Path], Stage]) -> Ending:
    """Runs the whole demo and prints its end; every process that it started is gone afterwards."""
    options.folder.mkdir(parents=True, exist_ok=True)
    with _terminated_as_interrupt(), raise_stage(options.folder) as stage:
        return _Play(options, console, stage).run()


class _Play:
    """One performance; its clock starts when it is made."""

    def __init__(self, options: DemoOptions, console: Console, stage: Stage) -> None:
        self.options, self.console, self.stage = options, console, stage
        self.began = time.monotonic()
        self.database = options.folder / "history.sqlite3"

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.began

    def run(self) -> Ending:
        say = self.console.print
        say("starting the worker: SmolLM2-135M-Instruct on this machine's CPU")
        url = self.stage.start_worker([], limit_s=180)
        target = WorkerTarget(url, timeout_s=PATIENCE_S)
        sizing = self._size(url, target)
        say(
            f"this machine: {sizing.rate_rps:.2f} requests/s, SLO {sizing.slo.describe()}; "
            f"the simulator expects {sizing.poor:.0%} attainment now and {sizing.best:.0%} at best"
        )
        poor = {"max_num_seqs": POOR.max_num_seqs, "max_num_batched_tokens": POOR_TOKENS}
        apply(target, poor, "the demo's poor start")
        config = self._write_config(url, sizing, target)
        history = open_history(f"sqlite:///{self.database}")
        recorder = Recorder(target, sizing.slo)
        recorder.poll()
        recorder.exposures.clear()  # the probe's requests are no part of the story
        self._start_load(url, sizing)
        self.stage.start("daemon", ["run", "--config", str(config)], niceness=5)
        began_at = recorder.now
        self._watch(history, recorder, sizing, began_at)
        return self._finish(history, recorder, sizing, began_at)

    def _size(self, url: str, target: WorkerTarget) -> Sizing:
        """Traffic with whole prompts in a step, then in moderate chunks: what steps cost here."""
        probe_s = self.options.probe_s
        self.console.print(f"measuring this machine for {2 * probe_s:.0f} s")
        mix = self.options.folder / "probe-mix.yaml"
        mix.write_text(yaml.safe_dump(PROBE_MIX))
        words = [*load_words(url, PROBE_RPS, 2 * probe_s, str(mix)), "--arrivals", "constant"]
        probe = self.stage.start("probe", [*words, "--seed", str(PROBE_SEED)])
        apply(target, {"max_num_batched_tokens": POOR_TOKENS}, "probe: whole prompts")
        time.sleep(probe_s)
        switched = apply(target, {"max_num_batched_tokens": CHUNK}, "probe: moderate chunks")
        probe.wait(probe_s + 120)
        steps = all_steps(target)
        chunked = [s.step_s for s in steps if s.at > switched + 1 and s.prefill_tokens >= CHUNK / 2]
        if not chunked:
            raise StageError("the probe saw no prompt: see probe.log")
        self.console.print("choosing a load and an SLO that suit it")
        slow_s = float(np.quantile(chunked, SLOW_END))
        return size(calibrate(steps).model, slow_s, self.options.seed)

    def _start_load(self, url: str, sizing: Sizing) -> None:
        seconds = self.options.minutes * 60 + 120
        slo = ["--slo-ttft-s", f"{sizing.slo.ttft_s:g}", "--slo-gap-s", f"{sizing.slo.gap_max_s:g}"]
        words = load_words(url, sizing.rate_rps, seconds, "long-tail")
        self.stage.start("load", [*words, "--seed", str(self.options.seed), *slo])

    def _write_config(self, url: str, sizing: Sizing, target: WorkerTarget) -> Path:
        """The daemon's configuration and policy, as a user writes them, with a demo's haste."""
        takes = target.capabilities()["max_num_seqs"].accepted
        seqs = [n for n in (1, 2, 4, 8, 12, 16, 24, 32, 48, 64) if takes.accepts(n)]
        policy = {
            "name": "demo",
            "slo": {"ttft_s": sizing.slo.ttft_s, "gap_max_s": round(sizing.slo.gap_max_s or 0, 4)},
            "knobs": {
                "max_num_seqs": {"levels": seqs},
                "max_num_batched_tokens": {
                    "levels": [32, 64, 96, 128, 192, 256, 384, 512, 1024, 2048, 4096]
                },
                "batch_timeout_ms": {"levels": [0, 5, 10, 20, 50, 100]},
                "schedule_policy": {"levels": ["fcfs", "length-grouped"]},
            },
            "experiment": {
                "slot_s": slot_s(sizing), "cooldown_s": COOLDOWN_S,
                "washout_min_s": 2, "washout_max_s": 10,
                "max_pairs": 14, "min_requests_per_slot": SLOT_REQUESTS // 2,
                "prior_sd": 0.2,
            },
            "goal": {"attainment": 0.97},
            "proposer": {
                "observe_s": OBSERVE_S,
                "min_requests": round(0.7 * OBSERVE_S * sizing.rate_rps),
                "pause_s": REST_S, "retry_s": 15,
            },
            "forecast": {"bucket_s": 5, "horizon_s": 120, "refit_s": 120},
        }  # fmt: skip
        config = {
            "history": f"sqlite:///{self.database}",
            "targets": [
                {"name": TARGET, "url": url, "policy": str(self.options.folder / "policy.yaml")}
            ],
            "cycle_s": 1,
            "listen": {"port": 0},
            "log": {"format": "json"},
        }
        (self.options.folder / "policy.yaml").write_text(yaml.safe_dump(policy, sort_keys=False))
        path = self.options.folder / "autotuner.yaml"
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        return path

    # ---- the long act
    def _watch(self, history: History, recorder: Recorder, sizing: Sizing, began_at: float) -> None:
        """Shows what happens until the goal is reached and measured, or time is up."""
        deadline_s = self.options.minutes * 60 - 30
        with Screen(self.console) as screen:
            while self.elapsed_s < deadline_s:
                self.stage.check(finished_is_fine=frozenset({"probe"}))
                recorder.poll()
                tests = read_experiments(history)
                screen.show(self._scene(history, recorder, sizing, tests))
                if self._reached(recorder, tests, began_at):
                    return
                time.sleep(0.5)

    def _reached(self, recorder: Recorder, tests: list[Experiment], began_at: float) -> bool:
        """Whether an accepted change has been measured long enough, with goodput at the goal."""
        won = [t for t in tests if t.conclusion and t.conclusion.verdict is Verdict.ACCEPTED]
        if not won or tests[-1].running or recorder.now - _ended(won[-1]) < REST_S - 5:
            return False
        before, after = self._stretches(recorder, tests, began_at)
        return after.goodput_rps >= self.options.goal_ratio * before.goodput_rps

    def _stretches(
        self, recorder: Recorder, tests: list[Experiment], began_at: float
    ) -> tuple[Figures, Figures]:
        """All traffic under the first settings alone, and all since the last test less its drain.

        The first settings ran until the first slot, and in the control slots of the first test.
        """
        first = tests[0].slots[0].started_at if tests and tests[0].slots else recorder.now
        spans = [(began_at + DRAIN_S, first - DRAIN_S)]
        spans += [_counted(s) for s in tests[0].slots if s.arm is Arm.CONTROL] if tests else []
        last = _ended(tests[-1]) + DRAIN_S if tests and not tests[-1].running else recorder.now
        after = [(last, max(last, recorder.now - DRAIN_S))]
        return recorder.figures(*spans), recorder.figures(*after)

    def _scene(
        self, history: History, recorder: Recorder, sizing: Sizing, tests: list[Experiment]
    ) -> Scene:
        status = history.status(TARGET)
        running = tests[-1] if tests and tests[-1].running else None
        act = "testing a candidate" if running else "observing under the incumbent"
        recent = recorder.figures((recorder.now - RECENT_S, recorder.now - COOLDOWN_S))
        live = dict(status.incumbent.settings) if status.incumbent else {}
        return Scene(
            elapsed_s=self.elapsed_s,
            act=act,
            rate_rps=sizing.rate_rps,
            slo=sizing.slo,
            goodput=list(_bins(recorder)),
            attainment=recent.attainment,
            live=", ".join(f"{k}={v}" for k, v in live.items()) or "not known yet",
            experiment=running,
            word=status.heartbeat.sentence if status.heartbeat else "the daemon is starting",
        )

    # ---- the end
    def _finish(
        self, history: History, recorder: Recorder, sizing: Sizing, began_at: float
    ) -> Ending:
        tests = read_experiments(history)
        before, after = self._stretches(recorder, tests, began_at)
        won = [t for t in tests if t.conclusion and t.conclusion.verdict is Verdict.ACCEPTED]
        confidence = won[-1].conclusion.confidence if won and won[-1].conclusion else 0.0
        ending = Ending(before, after, len(won), confidence)
        live = history.status(TARGET).incumbent
        settings = _changes(tests[0].control if tests else None, live.settings if live else None)
        self.console.print(report.before_after(before, after, settings))
        self.console.print(_verdict_words(ending))
        report.show_sql(self.console, self.database)
        path = self.options.folder / "demo.png"
        ends = {one.id: one.ended_at for one in history.experiments(target=TARGET)}
        shown = [(test, ends.get(test.id) or recorder.now) for test in tests]
        draw(path, recorder.exposures, shown, sizing.slo, (began_at, recorder.now - COOLDOWN_S))
        self.console.print(f"figure: {path}\nhistory: {self.database}", highlight=False)
        return ending


def slot_s(sizing: Sizing) -> int:
    """A slot long enough for SLOT_REQUESTS that end in it.

    A slow machine is sized to few requests a second, and each of them takes long: those that live
    under both arms count for neither. The TTFT target stands for how long.
    """
    lasts_s = sizing.slo.ttft_s or 0.0
    return max(SLOT_S, math.ceil(SLOT_REQUESTS / sizing.rate_rps + lasts_s))


def load_words(url: str, rate_rps: float, seconds: float, mix: str) -> list[str]:
    """`autotuner load` with these options."""
    words = ["load", "--url", url, "--rate", f"{rate_rps:g}", "--duration-s", f"{seconds:g}"]
    return [*words, "--mix", mix]


def apply(target: WorkerTarget, changes: Mapping[str, Value], why: str) -> float:
    """Applies some knobs, as a person would; returns when, on the worker's clock."""
    live = target.read_settings()
    return target.apply(Settings({**live.settings, **changes}), live, why).applied_at


def all_steps(target: WorkerTarget) -> list[StepRecord]:
    """Every step that the worker still remembers."""
    found: list[StepRecord] = []
    page, cursor = target.steps(0)
    while page:
        found.extend(page)
        page, cursor = target.steps(cursor)
    return found


def read_experiments(history: History) -> list[Experiment]:
    """All tests of the demo with their slots, oldest first."""
    found = (history.experiment(one.id) for one in reversed(history.experiments(target=TARGET)))
    return [one for one in found if one is not None]


def _ended(experiment: Experiment) -> float:
    """When the last slot gave way to the winner, on the worker's clock."""
    ends = [slot.ended_at or slot.started_at for slot in experiment.slots]
    return max(ends, default=experiment.started_at)


def _counted(slot: Slot) -> tuple[float, float]:
    """The part of a slot whose arrivals counted; nothing where it never got so far."""
    if slot.counted_from is None or slot.ended_at is None:
        return (slot.started_at, slot.started_at)
    return (slot.counted_from, slot.ended_at - COOLDOWN_S)


def _bins(recorder: Recorder) -> Iterator[float]:
    last = recorder.now - COOLDOWN_S
    for index in range(BINS, 0, -1):
        start = last - index * BIN_S
        if recorder.exposures and start >= recorder.exposures[0].arrival:
            yield recorder.figures((start, start + BIN_S)).goodput_rps


def _changes(first: Settings | None, last: Settings | None) -> tuple[str, str]:
    """The knobs that differ, with their first and last values."""
    if first is None or last is None:
        return ("unknown", "unknown")
    names = last.changed_from(first) or dict(first)
    sides = ("\n".join(f"{name}={side[name]}" for name in names) for side in (first, last))
    return (next(sides), next(sides))


def _verdict_words(ending: Ending) -> str:
    if not ending.accepted:
        return "[bold red]no change was proven within the time; the old settings stay[/bold red]"
    return (
        f"[bold green]goodput ×{ending.ratio:.2f}[/bold green], "
        f"{ending.accepted} change(s) accepted, the last with {ending.confidence:.1%} confidence"
    )


@contextmanager
def _terminated_as_interrupt() -> Iterator[None]:
    """SIGTERM and a closed terminal unwind like Ctrl-C, so that the stage is always cleared."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    kinds = (signal.SIGTERM, signal.SIGHUP)
    previous = [signal.signal(kind, interrupt) for kind in kinds]
    try:
        yield
    finally:
        for kind, handler in zip(kinds, previous, strict=True):
            signal.signal(kind, handler)


def default_folder() -> Path:
    return Path(".demo") / datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
