"""Rules against a real history: what is usual outlives a restart, and nobody is told twice."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from autotuner.alerts.lifecycle import Timing
from autotuner.alerts.limits import Limit, LimitKind
from autotuner.alerts.rules import AlertRule, Tier
from autotuner.domain.errors import HistoryError
from autotuner.domain.forecasts import Alert, Forecast, ForecastPoint
from autotuner.domain.knobs import Settings
from autotuner.domain.ports import LiveSettings, Workload
from autotuner.domain.telemetry import Histogram, Window
from autotuner.forecast.service import Forecaster
from autotuner.history.records import OutboxMessage
from autotuner.history.store import History, open_history
from autotuner.tuner import Action, Decision, Observation, Traffic, TunerState
from autotuner.watch import Watch, WatchOptions, places

NOW = 1_770_000_000.0
CYCLE_S = 10.0
SETTINGS = Settings({"max_num_seqs": 64})
HELD = Decision(Action.HOLD, "nothing to do", TunerState(SETTINGS))
SLOW = AlertRule(
    "Slow", Tier.FRAMEWORK, "step_s", Limit(LimitKind.TIMES_P99, 2.0), Timing(20.0, 20.0)
)
HOT = AlertRule(
    "Hot", Tier.HARDWARE, "temperature_c", Limit(LimitKind.ABOVE, 81.0, clear=77.0),
    Timing(0.0, 0.0), inhibits=frozenset({"Slow"}),
)  # fmt: skip
OPTIONS = WatchOptions("gpu", rules=(SLOW, HOT), receivers=("pager",))


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    opened = open_history(f"sqlite:///{tmp_path / 'history.sqlite3'}")
    opened.record_target("gpu", kind="worker", url="http://gpu", at=NOW)
    yield opened
    opened.close()


def times(total: float, count: float) -> Histogram:
    return Histogram((math.inf,), (count,), total)


def seen(
    at: float, step_s: float = 0.1, heat: float = 60.0, rate_rps: float = 2.0, good: float = 1.0
) -> Observation:
    service_s = 2.0 / (1.0 - 0.1 * rate_rps)
    count = rate_rps * CYCLE_S
    window = Window(
        at - CYCLE_S, at, count, gauges={"temperature_c": heat},
        histograms={"step_s": times(step_s, 1.0), "e2el_s": times(service_s * count, count)},
    )  # fmt: skip
    live = LiveSettings(SETTINGS, 1, "boot", 0.0, at)
    return Observation(live, traffic=Traffic(100, good, Workload(rate_rps)), window=window)


@dataclass
class Run:
    """A watch that is shown one look after another."""

    watch: Watch
    at: float = NOW
    changed: list[Alert] = field(default_factory=list)

    def shows(self, *, cycles: int = 1, **what: float) -> list[str]:
        """What changed, `+` fires and `-` is over."""
        told = []
        for _ in range(cycles):
            self.at += CYCLE_S
            looked = self.watch.look(seen(self.at, **what), self.at)
            changed = self.watch.tell(looked, HELD, self.at)
            told += [("+" if alert.firing else "-") + alert.name for alert in changed]
        return told


def run(history: History, options: WatchOptions = OPTIONS, at: float = NOW) -> Run:
    return Run(Watch(history, Forecaster(), options), at)


def remember(history: History, series: str, *values: float) -> None:
    rows = [(series, NOW - 300.0 * (len(values) - i), value) for i, value in enumerate(values)]
    history.append_samples("gpu", rows)


def posted(history: History) -> list[tuple[str, str]]:
    due = history.due(NOW + 1e6)
    return [(d.payload["alerts"][0]["labels"]["alertname"], d.status) for d in due]


def test_without_a_past_a_rule_against_it_says_nothing(history: History) -> None:
    assert run(history).shows(cycles=30, step_s=99.0) == []


def test_what_is_usual_is_taken_over_from_an_earlier_process(history: History) -> None:
    remember(history, "step_s", *np.linspace(0.08, 0.12, 100))
    watched = run(history)
    assert watched.shows(cycles=10, step_s=0.23) == []
    assert watched.shows(cycles=3, step_s=0.25) == ["+Slow"]
    assert watched.shows(cycles=3, step_s=0.1) == ["-Slow"]
    (alert,) = history.alerts("gpu", since=0.0)
    level = 2 * np.quantile(np.linspace(0.08, 0.12, 100)[:98], 0.99)  # the last two are too fresh
    assert alert.summary == f"step_s is 0.25, above {level:.4g} (2 × its P99) on gpu"


def test_it_learns_what_is_usual_by_itself(history: History) -> None:
    watched = run(history)
    assert watched.shows(cycles=6 * 76, step_s=0.1) == []
    assert watched.shows(cycles=3, step_s=0.21) == ["+Slow"]


def test_an_inhibited_alert_is_kept_but_not_posted_until_it_stands_alone(history: History) -> None:
    remember(history, "step_s", *[0.1] * 100)
    watched = run(history)
    assert watched.shows(cycles=4, heat=85.0, step_s=0.3) == ["+Hot", "+Slow"]
    assert posted(history) == [("Hot", "firing")]
    assert {alert.name for alert in history.firing_alerts("gpu")} == {"Hot", "Slow"}
    again = run(history, at=watched.at)  # a restart changes nothing of it
    again.shows(cycles=2, heat=79.0, step_s=0.3)
    assert posted(history) == [("Hot", "firing")]
    again.shows(cycles=1, heat=76.0, step_s=0.3)
    assert ("Slow", "firing") in posted(history)
    assert len(posted(history)) == len(set(posted(history)))


def test_what_could_not_be_recorded_is_told_in_the_next_cycle(
    history: History, tmp_path: Path
) -> None:
    class Full(History):
        """The same history on a disk that is full for a while."""

        full = True

        def record_alert(self, alert: Alert, at: float, messages: object = (), *_: object) -> None:
            if self.full:
                raise HistoryError("disk full")
            assert isinstance(messages, list)
            assert all(isinstance(message, OutboxMessage) for message in messages)
            super().record_alert(alert, at, messages)

    broken = Full.__new__(Full)
    broken.__dict__.update(history.__dict__)
    watched = run(broken)
    with pytest.raises(HistoryError):
        watched.shows(heat=85.0)
    broken.full = False
    assert watched.shows(heat=85.0) == ["+Hot"]
    assert posted(history) == [("Hot", "firing")]


def test_a_forecast_beyond_what_the_settings_can_serve_is_told_beforehand(
    history: History,
) -> None:
    peak_at = NOW + 4500.0
    points = tuple(
        ForecastPoint(NOW + 300.0 * i, 9.0 if NOW + 300.0 * i == peak_at else 3.0, 0.0, 20.0)
        for i in range(40)
    )
    history.record_forecast("gpu", Forecast("offered_rps", NOW, "prophet", points))
    watched = run(history)
    for minute in range(60):  # the load rises, the goal is met, the peak comes into sight
        watched.shows(cycles=6, rate_rps=1.0 + minute / 20)
    (alert,) = history.firing_alerts("gpu")
    assert alert.name == "ForecastExceedsCapacity"
    assert alert.summary.startswith("9 requests per second are forecast in ")
    assert "can serve 6." in alert.summary
    assert alert.starts_at < peak_at - 1800.0


def test_the_places_of_all_replicas_count() -> None:
    live = LiveSettings({"max_num_seqs": 8}, 1, "b", 0.0, 0.0)
    assert places(live, 2) == 16.0
    other = LiveSettings({"max_running_requests": 8}, 1, "b", 0.0, 0.0)
    assert places(other, 1) == 8.0
    assert places(LiveSettings({"policy": "fcfs"}, 1, "b", 0.0, 0.0), 1) is None
