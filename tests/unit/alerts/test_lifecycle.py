from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.alerts.lifecycle import (
    AlertState,
    Phase,
    Severity,
    Signal,
    Subject,
    Timing,
    advance,
    restore,
)
from autotuner.domain.errors import ConfigError
from autotuner.domain.forecasts import Alert

SUBJECT = Subject("HighTtft", "gpu-1", Severity.CRITICAL, (("tier", "framework"), ("a", "b")))
TIMING = Timing(for_s=30.0, resolve_for_s=60.0)
B, C, H = Signal.BREACHED, Signal.CLEAR, Signal.HOLD


def run(*looks: tuple[float, Signal], start: AlertState | None = None) -> AlertState:
    state = start or AlertState(timing=TIMING)
    for now, signal in looks:
        state = advance(state, signal, now, SUBJECT, "too slow")
    return state


def test_the_whole_life() -> None:
    assert run().phase is Phase.INACTIVE
    assert run((0, B)).phase is Phase.PENDING
    assert run((0, B), (29, B)).phase is Phase.PENDING
    firing = run((0, B), (30, B))
    assert firing.phase is Phase.FIRING
    assert firing.alert == Alert(
        SUBJECT.fingerprint,
        "HighTtft",
        "critical",
        "gpu-1",
        "too slow",
        0,
        None,
        (("a", "b"), ("tier", "framework")),
    )
    assert run((40, C), start=firing).phase is Phase.FIRING
    resolved = run((40, C), (100, C), start=firing)
    assert resolved.phase is Phase.RESOLVED
    assert resolved.alert is not None
    assert (resolved.alert.starts_at, resolved.alert.ends_at) == (0, 100)
    assert run((110, C), start=resolved).phase is Phase.INACTIVE


def test_without_a_wait_it_fires_at_once() -> None:
    assert run((5, B), start=AlertState(timing=Timing(0.0, 0.0))).phase is Phase.FIRING


@pytest.mark.parametrize("signal", [C, H])
def test_an_interruption_starts_the_wait_again(signal: Signal) -> None:
    assert run((0, B), (20, signal), (25, B), (50, B)).phase is Phase.PENDING
    assert run((0, B), (20, signal), (25, B), (55, B)).phase is Phase.FIRING


@pytest.mark.parametrize("signal", [B, H])
def test_a_relapse_starts_the_recovery_again(signal: Signal) -> None:
    firing = run((0, B), (30, B))
    assert run((40, C), (80, signal), (90, C), (120, C), start=firing).phase is Phase.FIRING


def test_no_data_holds_a_firing_alert_for_ever() -> None:
    firing = run((0, B), (30, B))
    assert run(*((t, H) for t in range(31, 10_000, 100)), start=firing).phase is Phase.FIRING


def test_a_second_episode_is_an_alert_of_its_own() -> None:
    resolved = run((0, B), (30, B), (40, C), (100, C))
    again = run((200, B), (230, B), start=resolved)
    assert again.alert is not None
    assert (again.alert.starts_at, again.alert.ends_at) == (200, None)
    assert again.alert.fingerprint == SUBJECT.fingerprint


def test_fingerprints_tell_name_target_and_labels_apart() -> None:
    one = Subject("A", "t", Severity.INFO, (("x", "1"), ("y", "2")))
    assert one.fingerprint == Subject("A", "t", Severity.INFO, (("y", "2"), ("x", "1"))).fingerprint
    assert one.fingerprint == Subject("A", "t", Severity.CRITICAL, one.labels).fingerprint
    others = [
        Subject("B", "t", Severity.INFO, one.labels),
        Subject("A", "u", Severity.INFO, one.labels),
        Subject("A", "t", Severity.INFO, (("x", "1"),)),
        Subject("A", "t", Severity.INFO, (("x", "12"), ("y", ""))),
    ]
    assert len({s.fingerprint for s in (one, *others)}) == 5


def test_a_restart_takes_firing_alerts_up_again() -> None:
    firing = run((0, B), (30, B)).alert
    resolved = run((0, B), (30, B), (40, C), (100, C)).alert
    assert firing is not None
    assert resolved is not None
    assert restore([resolved]) == {}
    (state,) = restore([firing]).values()
    ended = run((300, C), (360, C), start=state)
    assert ended.phase is Phase.RESOLVED
    assert ended.alert is not None
    assert ended.alert.starts_at == 0


@pytest.mark.parametrize("bad", [-1.0, float("nan")])
def test_impossible_times_are_refused(bad: float) -> None:
    with pytest.raises(ConfigError, match="for_s="):
        Timing(for_s=bad)


@given(st.lists(st.tuples(st.floats(0, 100), st.sampled_from(Signal)), max_size=60))
def test_every_life_is_legal(looks: list[tuple[float, Signal]]) -> None:
    legal = {
        Phase.INACTIVE: {Phase.INACTIVE, Phase.PENDING},
        Phase.PENDING: {Phase.PENDING, Phase.INACTIVE, Phase.FIRING},
        Phase.FIRING: {Phase.FIRING, Phase.RESOLVED},
        Phase.RESOLVED: {Phase.INACTIVE, Phase.PENDING},
    }
    state, now = AlertState(timing=TIMING), 0.0
    for step, signal in looks:
        now += step
        before, state = state, advance(state, signal, now, SUBJECT, "s")
        assert state.phase in legal[before.phase]
        assert (state.alert is not None) == (state.phase in (Phase.FIRING, Phase.RESOLVED))
        assert state.timing == TIMING
