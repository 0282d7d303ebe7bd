"""What is told while silences hold, with rules, inhibition and restarts."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from autotuner.alerts.inhibition import Change
from autotuner.alerts.lifecycle import AlertState, States, Timing, restore
from autotuner.alerts.limits import Limit, LimitKind
from autotuner.alerts.rules import AlertRule, Readings, Tier, evaluate
from autotuner.domain.silences import Silence

QUICK = Timing(for_s=0.0, resolve_for_s=0.0)
ABOVE_1 = Limit(LimitKind.ABOVE, 1.0)
SLOW = AlertRule("Slow", Tier.FRAMEWORK, "ttft_s", ABOVE_1, QUICK)
HOT = AlertRule(
    "Hot", Tier.HARDWARE, "heat", ABOVE_1, QUICK, inhibits=frozenset({"Slow"}), labels=(("r", "7"),)
)
TARGET = "gpu-1"
HUSH = Silence(0.0, 25.0, "ana", "known", alert="Slow")


def looked(now: float, slow: bool, hot: bool = False) -> Readings:
    return Readings({"ttft_s": 2.0 * slow, "heat": 2.0 * hot})


class Told:
    """Looks every ten seconds from 0 on; keeps what receivers heard: `+` fires, `-` is over."""

    def __init__(self, *silences: Silence, states: States | None = None, now: float = 0.0) -> None:
        self.silences, self.states, self.now = silences, dict(states or {}), now
        self.heard: list[str] = []
        self.changes: list[Change] = []

    def look(self, slow: bool, hot: bool = False) -> Told:
        readings = looked(self.now, slow, hot)
        self.states, changed = evaluate(
            [HOT, SLOW], self.states, readings, self.now, TARGET, self.silences
        )
        self.changes += changed
        names = [("+" if c.alert.firing else "-") + c.alert.name for c in changed if c.tell]
        self.heard.append(" ".join(names))
        self.now += 10.0
        return self


def test_a_silenced_alert_is_kept_and_told_when_the_silence_ends() -> None:
    told = Told(HUSH).look(True).look(True).look(True).look(True).look(False)
    assert told.heard == ["", "", "", "+Slow", "-Slow"]
    first, late, over = told.changes
    assert (first.alert.firing, first.tell) == (True, False)
    assert late.alert == first.alert
    assert over.alert.ends_at == 40.0


def test_what_begins_and_ends_under_a_silence_is_never_told() -> None:
    told = Told(HUSH).look(True).look(False).look(False).look(False)
    assert told.heard == [""] * 4
    assert [change.alert.firing for change in told.changes] == [True, False]


def test_what_was_told_before_the_silence_is_told_to_be_over() -> None:
    later = replace(HUSH, starts_at=5.0)
    assert Told(later).look(True).look(True).look(False).heard == ["+Slow", "", "-Slow"]


def test_a_silence_that_begins_again_tells_nothing_twice() -> None:
    again = replace(HUSH, starts_at=35.0, ends_at=55.0)
    told = Told(HUSH, again)
    for _ in range(8):
        told.look(True)
    assert told.heard == ["", "", "", "+Slow", "", "", "", ""]


def test_only_what_matches_is_silenced() -> None:
    other = replace(HUSH, target="gpu-2")
    rack = replace(HUSH, alert="", labels=(("r", "7"),))
    assert Told(other).look(True).heard == ["+Slow"]
    assert Told(rack).look(False, hot=True).heard == [""]
    assert Told(rack).look(True).heard == ["+Slow"]


def test_a_silenced_alert_still_inhibits() -> None:
    told = Told(replace(HUSH, alert="Hot"))
    assert told.look(True, hot=True).look(True, hot=False).heard == ["", "+Slow"]


def test_after_a_restart_a_silenced_alert_waits_on_and_ends_untold() -> None:
    before = Told(HUSH).look(True)
    kept = restore([change.alert for change in before.changes], told=lambda _alert: False)
    assert Told(HUSH, states=kept, now=10.0).look(True).look(False).heard == ["", ""]
    assert Told(HUSH, states=kept, now=10.0).look(True).look(True).look(True).heard[-1] == "+Slow"
    known = restore([change.alert for change in before.changes], told=lambda _alert: True)
    assert Told(HUSH, states=known, now=10.0).look(True).look(False).heard == ["", "-Slow"]


@given(
    st.lists(st.booleans(), max_size=30),
    st.floats(0, 300),
    st.floats(0, 300),
)
def test_firing_and_over_always_come_in_turn(
    looks: list[bool], starts_at: float, length_s: float
) -> None:
    told = Told(replace(HUSH, starts_at=starts_at, ends_at=starts_at + length_s))
    for slow in looks:
        told.look(slow)
    heard = [word for word in told.heard if word]
    assert heard == [("+Slow", "-Slow")[place % 2] for place in range(len(heard))]
    state: AlertState | None = next(iter(told.states.values()), None)
    if looks and looks[-1] and told.now - 10.0 >= starts_at + length_s:
        assert state is not None
        assert state.told is True
