"""Silences: kept over restarts, listed newest first, ended once."""

from __future__ import annotations

from dataclasses import replace

from autotuner.domain.forecasts import Alert
from autotuner.domain.knobs import Settings
from autotuner.domain.ports import LiveSettings
from autotuner.domain.silences import Silence
from autotuner.forecast.service import Forecaster, ForecastSettings
from autotuner.history.store import History
from autotuner.tuner import Action, Decision, Observation, TunerState
from autotuner.watch import Watch, WatchOptions

AT = 1_764_000_000.0
HUSH = Silence(AT, AT + 60, "ana", "moving racks", "chat", "Hot", (("rack", "7"), ("tier", "x")))
OPTIONS = WatchOptions("chat", receivers=("pager",))
DOWN = Observation(live=None, problem="it does not answer")
UP = Observation(live=LiveSettings(Settings({"k": 1}), 1, "boot", 0.0, AT))
HOLD = Decision(Action.HOLD, "nothing to do", TunerState(Settings({"k": 1})))


def test_what_was_added_is_read_back(bare: History) -> None:
    first = bare.add_silence(HUSH)
    second = bare.add_silence(Silence(AT + 30, AT + 90, "ben", "all"))
    assert bare.silences(AT) == (
        Silence(AT + 30, AT + 90, "ben", "all", id=second),
        replace(HUSH, id=first),
    )
    assert [one.id for one in bare.silences(AT + 60)] == [second]
    assert bare.silences(AT + 90) == ()
    assert [one.id for one in bare.silences()] == [second, first]


def test_ending_is_done_once(bare: History) -> None:
    made = bare.add_silence(HUSH)
    assert bare.end_silence(made, AT + 10) is True
    assert bare.end_silence(made, AT + 11) is False
    assert bare.end_silence(made + 1, AT) is False
    (kept,) = bare.silences()
    assert kept.ends_at == AT + 10
    assert bare.silences(AT + 10) == ()


def test_what_has_ended_is_pruned(bare: History) -> None:
    bare.add_silence(HUSH)
    lasting = bare.add_silence(replace(HUSH, ends_at=AT + 900))
    assert bare.prune(AT + 61)["silences"] == 1
    assert [one.id for one in bare.silences()] == [lasting]


def watch(history: History) -> Watch:
    return Watch(history, Forecaster(ForecastSettings(use_prophet=False)), OPTIONS)


def cycles(watching: Watch, seen: Observation, start: float, seconds: int) -> None:
    for second in range(0, seconds, 10):
        watching.look(seen, start + second)
        watching.tell(seen, HOLD, start + second)


def sent(history: History) -> list[str]:
    return [message.status for message in history.due(AT + 1e6)]


def test_a_daemon_keeps_quiet_over_a_restart_and_tells_afterwards(history: History) -> None:
    history.add_silence(replace(HUSH, ends_at=AT + 300, alert="TargetDown", labels=()))
    cycles(watch(history), DOWN, AT, 120)
    (alert,) = history.firing_alerts("chat")
    assert alert.name == "TargetDown"
    again = watch(history)
    cycles(again, DOWN, AT + 120, 180)
    assert sent(history) == []
    cycles(again, DOWN, AT + 300, 20)
    assert sent(history) == ["firing"]
    assert history.firing_alerts("chat") == [alert]
    cycles(watch(history), UP, AT + 400, 120)
    assert sent(history) == ["firing", "resolved"]


def test_what_nobody_was_told_of_ends_untold_over_a_restart(history: History) -> None:
    history.add_silence(Silence(AT, AT + 900, "ana", "all of it"))
    cycles(watch(history), DOWN, AT, 120)
    cycles(watch(history), UP, AT + 120, 120)
    assert sent(history) == []
    assert [one.firing for one in history.alerts("chat", since=AT)] == [False]


def test_a_receiver_that_is_new_is_told_of_what_fires(history: History) -> None:
    cycles(watch(history), DOWN, AT, 120)
    more = replace(OPTIONS, receivers=("pager", "chat"))
    forecaster = Forecaster(ForecastSettings(use_prophet=False))
    cycles(Watch(history, forecaster, more), DOWN, AT + 120, 20)
    assert [message.receiver for message in history.due(AT + 1e6)] == ["pager", "chat"]


def test_firing_alerts_are_listed_whether_silenced_or_not(history: History) -> None:
    history.add_silence(HUSH)
    history.record_alert(Alert("f", "Hot", "info", "chat", "-", AT, labels=HUSH.labels), AT)
    assert len(history.firing_alerts("chat")) == 1
