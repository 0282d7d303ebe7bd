"""The daemon at work on one workload: its own process, configuration and history."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from autotuner.demo.stage import end
from autotuner.domain.knobs import KnobSpace, Settings
from autotuner.history.store import History, open_history
from experiments.studies.live_tuning.bench import Bench
from experiments.studies.live_tuning.model import Sized
from experiments.studies.live_tuning.traffic import WORKLOADS, Workload

SLOT_S = 15.0
SLOT_REQUESTS = 14  # chosen: with Poisson arrivals a slot then rarely holds fewer than a test needs
OBSERVED = 30  # requests that the daemon looks back on
RESTS = 2  # so many looks without a candidate end the tuning
RESTING = "no candidate promises"
ENDED = frozenset(f"{what}-{name}" for what in ("load", "daemon") for name in WORKLOADS)


@dataclass(frozen=True)
class Trial:
    """One experiment of the daemon, with its verdict."""

    changes: dict[str, object]
    verdict: str
    effect: float
    predicted: float | None
    pairs: int
    seconds: float


@dataclass(frozen=True)
class Tuned:
    """What the daemon ended with, and how it got there."""

    found: Settings
    trials: tuple[Trial, ...]
    seconds: float
    why: str


def tune(
    bench: Bench,
    workload: Workload,
    load: Sized,
    space: KnobSpace,
    folder: Path,
    *,
    experiments: int,
    limit_s: float,
) -> Tuned:
    """Runs the daemon under load until it rests, made `experiments` tests, or time is up."""
    name = workload.name
    database = folder / f"{name}.sqlite3"
    database.unlink(missing_ok=True)
    config = _write_config(bench.url, name, load, space, folder, database)
    words = workload.load_words(bench.url, load.rate_rps, limit_s + 60, folder)
    sender = bench.stage.start(f"load-{name}", [*words, "--seed", "11"])
    daemon = bench.stage.start(f"daemon-{name}", ["run", "--config", str(config)], niceness=5)
    history = open_history(f"sqlite:///{database}")
    began = time.monotonic()
    watcher = _Watcher(history, name, experiments)
    why: str | None = None
    try:
        while why is None and time.monotonic() - began < limit_s:
            bench.stage.check(finished_is_fine=ENDED)
            time.sleep(0.5)
            why = watcher.enough()
    finally:
        end(daemon)
        end(sender)
    seconds = time.monotonic() - began
    incumbent = history.incumbent(name)
    # Without one the time was too short for the daemon's first cycle.
    ran = bench.target.read_settings().settings if incumbent is None else incumbent.settings
    trials = _trials(history, name)
    history.close()
    return Tuned(space.restrict(ran), trials, seconds, why or "time is up")


@dataclass
class _Watcher:
    """Reads in the history whether the daemon is done; None while it is not."""

    history: History
    name: str
    experiments: int
    rests: int = 0
    last: str = ""

    def enough(self) -> str | None:
        tests = self.history.experiments(target=self.name)
        ended = [t for t in tests if t.ended_at is not None]
        heartbeat = self.history.status(self.name).heartbeat
        word = heartbeat.sentence if heartbeat else ""
        self.rests += word.startswith(RESTING) and word != self.last
        self.last = word
        if len(ended) < len(tests):
            self.rests = 0
            return None
        if len(ended) >= self.experiments:
            return f"{len(ended)} experiments were made"
        if "meets the goal" in word:
            return word
        return "the daemon sees nothing better" if ended and self.rests >= RESTS else None


def _trials(history: History, name: str) -> tuple[Trial, ...]:
    return tuple(
        Trial(
            changes=dict(t.treatment.changed_from(t.control)),
            verdict=str(t.verdict),
            effect=t.effect,
            predicted=t.predicted_effect,
            pairs=t.pairs,
            seconds=(t.ended_at or t.started_at) - t.started_at,
        )
        for t in reversed(history.experiments(target=name))
    )


def _write_config(
    url: str, name: str, load: Sized, space: KnobSpace, folder: Path, database: Path
) -> Path:
    policy = {
        "name": name,
        "slo": {"ttft_s": load.slo.ttft_s, "gap_max_s": load.slo.gap_max_s},
        "knobs": {knob.name: {"levels": list(knob.levels)} for knob in space},
        "experiment": {
            "slot_s": max(SLOT_S, round(SLOT_REQUESTS / load.rate_rps)),
            "washout_min_s": 2, "washout_max_s": 8, "cooldown_s": 2,
            "max_pairs": 14, "min_requests_per_slot": 6, "prior_sd": 0.1,
        },
        "proposer": {
            "goal_attainment": 0.995, "pause_s": 20, "retry_s": 10,
            "observe_s": max(40, round(OBSERVED / load.rate_rps)), "min_requests": OBSERVED // 2,
        },
        "forecast": {"bucket_s": 5, "horizon_s": 120, "refit_s": 300},
    }  # fmt: skip
    config = {
        "history": f"sqlite:///{database}",
        "targets": [{"name": name, "url": url, "policy": str(folder / f"{name}-policy.yaml")}],
        "cycle_s": 1,
        "listen": {"port": 0},
        "log": {"format": "json"},
    }
    (folder / f"{name}-policy.yaml").write_text(yaml.safe_dump(policy, sort_keys=False))
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path
