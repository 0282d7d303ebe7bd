"""The watch over a real history: samples, forecasts and alerts that outlive a restart."""

from __future__ import annotations

import math
from dataclasses import replace

from autotuner.domain.forecasts import Forecast, ForecastPoint
from autotuner.domain.knobs import Settings
from autotuner.domain.ports import LiveSettings, Workload
from autotuner.forecast.service import Forecaster, ForecastSettings
from autotuner.history.store import History
from autotuner.tuner import Action, Decision, Observation, Traffic, TunerState
from autotuner.watch import LOAD, Watch, WatchOptions

NOW = 1_767_571_200.0
OPTIONS = WatchOptions("t", bucket_s=60.0, horizon_s=600.0, receivers=("pager",))
LIVE = LiveSettings(Settings({"k": 1}), 1, "boot", 0.0, NOW)
HOLD = Decision(Action.HOLD, "nothing to do", TunerState(Settings({"k": 1})))


def seen(rate: float) -> Observation:
    return Observation(live=LIVE, traffic=Traffic(50, 0.9, Workload(rate)))


def make(history: History) -> Watch:
    history.record_target("t", kind="worker", url="u", at=NOW)
    return Watch(history, Forecaster(ForecastSettings(60.0, use_prophet=False)), OPTIONS)


def test_buckets_become_samples_and_a_forecast_that_outlives_a_restart(history: History) -> None:
    watch = make(history)
    for minute in range(90):
        for part in (0, 20, 40):
            watch.look(seen(2.0 + (minute % 2)), NOW + minute * 60 + part)
    kept = history.samples("t", LOAD, since=NOW)
    assert len(kept) == 89
    later = NOW + 90 * 60
    watch.refit(later)
    ahead = watch.look(seen(2.0), later).forecast_rate_rps
    assert ahead is not None
    assert 2.0 <= ahead <= 3.0
    assert make(history).look(seen(2.0), later).forecast_rate_rps == ahead
    for minute in range(1, 5):
        watch.look(seen(2.0 + (minute % 2)), later + minute * 60)
    assert watch.coverages[LOAD].points == 4
    assert watch.coverages[LOAD].share == 1.0
    assert watch.nominal_coverage == 0.99


def test_an_outage_is_one_alert_that_resolves(history: History) -> None:
    watch = make(history)
    down = replace(seen(1.0), live=None, traffic=None, problem="it does not answer")
    for second in range(0, 120, 10):
        watch.look(down, NOW + second)
        watch.tell(down, HOLD, NOW + second)
    assert [a.name for a in history.firing_alerts("t")] == ["TargetDown"]
    restarted = make(history)
    for second in range(120, 300, 10):
        restarted.look(seen(1.0), NOW + second)
        restarted.tell(seen(1.0), HOLD, NOW + second)
    assert history.firing_alerts("t") == []
    statuses = [message.payload["status"] for message in history.due(NOW + 1000)]
    assert statuses == ["firing", "resolved"]


def test_it_says_for_how_long_the_load_stays_as_it_is(history: History) -> None:
    points = tuple(
        ForecastPoint(NOW + 60 * minute, 2.0 if minute < 7 else 3.0, 1.0, 4.0)
        for minute in range(11)
    )
    assert make(history).look(seen(2.0), NOW).steady_for_s == math.inf
    history.record_forecast("t", Forecast(LOAD, NOW, "seasonal", points))
    watch = make(history)
    assert watch.look(seen(9.0), NOW).steady_for_s == 420.0, "by the forecast's own present"
    assert watch.look(seen(2.0), NOW + 300).steady_for_s == 120.0
    assert watch.look(seen(2.0), NOW + 480).steady_for_s == math.inf
    assert watch.look(seen(2.0), NOW + 9000).steady_for_s == math.inf, "the forecast is over"
