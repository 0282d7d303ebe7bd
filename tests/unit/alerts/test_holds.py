from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.alerts.holds import Answer, Word, answer
from autotuner.alerts.inbox import Action, IncomingAlert
from autotuner.domain.mode import Mode

A = IncomingAlert("a", "NodeDrain", True, Action.PAUSE)
B = IncomingAlert("b", "PowerCap", True, Action.PAUSE)
GO = IncomingAlert("go", "PeakAhead", True, Action.START)
MODES = {"pause": Mode.PAUSED, "resume": Mode.ACTIVE, "advisory": Mode.ADVISORY}


def over(alert: IncomingAlert) -> IncomingAlert:
    return replace(alert, firing=False)


@dataclass
class Talk:
    """The words about one target, as the history would keep them."""

    configured: Mode = Mode.ACTIVE
    words: list[Word] = field(default_factory=list)

    def mode(self) -> Mode:
        return self.words[0].mode if self.words else self.configured

    def person(self, mode: Mode) -> None:
        self.words.insert(0, Word(mode))

    def hear(self, alert: IncomingAlert) -> Answer:
        said = answer(alert, self.words, self.configured)
        if said.ask is not None:
            self.words.insert(0, Word(MODES[said.ask], said.told))
        return said


@pytest.mark.parametrize("configured", [Mode.ACTIVE, Mode.ADVISORY, Mode.PAUSED])
def test_a_pause_lasts_as_long_as_its_alert(configured: Mode) -> None:
    talk = Talk(configured)
    assert talk.hear(A).note == "NodeDrain pauses tuning"
    assert talk.mode() is Mode.PAUSED
    assert talk.hear(over(A)).note == "NodeDrain is resolved and lets tuning go on"
    assert talk.mode() is configured


def test_what_is_told_again_changes_nothing() -> None:
    talk = Talk()
    talk.hear(A)
    assert talk.hear(A) == Answer("NodeDrain: known already")
    talk.hear(over(A))
    assert talk.hear(over(A)).ask is None
    assert len(talk.words) == 2


def test_the_pause_lasts_until_the_last_alert_is_over() -> None:
    talk = Talk()
    talk.hear(A)
    talk.hear(B)
    assert talk.hear(over(A)).note == "NodeDrain is resolved; other alerts hold it paused"
    assert talk.mode() is Mode.PAUSED
    talk.hear(over(B))
    assert talk.mode() is Mode.ACTIVE


def test_a_persons_pause_outlasts_an_alerts() -> None:
    talk = Talk()
    talk.person(Mode.PAUSED)
    talk.hear(A)
    talk.hear(over(A))
    assert talk.mode() is Mode.PAUSED


def test_a_person_who_resumes_is_not_overruled_by_the_same_alert() -> None:
    talk = Talk()
    talk.hear(A)
    talk.person(Mode.ACTIVE)
    assert talk.hear(A).ask is None
    assert talk.hear(over(A)).ask is None
    assert talk.mode() is Mode.ACTIVE
    talk.hear(replace(A, key="a2"))  # a new episode
    assert talk.mode() is Mode.PAUSED


def test_after_a_persons_word_older_alerts_hold_nothing_up() -> None:
    talk = Talk()
    talk.hear(A)
    talk.person(Mode.ADVISORY)
    talk.hear(B)
    talk.hear(over(B))
    assert talk.mode() is Mode.ADVISORY


def test_a_start_lifts_a_persons_pause_once() -> None:
    talk = Talk()
    talk.person(Mode.PAUSED)
    assert talk.hear(GO).note == "PeakAhead starts tuning"
    assert talk.mode() is Mode.ACTIVE
    talk.person(Mode.PAUSED)
    assert talk.hear(GO).ask is None
    assert talk.hear(over(GO)).ask is None
    assert talk.mode() is Mode.PAUSED


def test_a_start_makes_no_advisory_daemon_act() -> None:
    talk = Talk(Mode.ADVISORY)
    talk.person(Mode.PAUSED)
    talk.hear(GO)
    assert talk.mode() is Mode.ADVISORY


def test_a_hold_is_stronger_than_a_start_which_may_come_again() -> None:
    talk = Talk()
    talk.hear(A)
    assert talk.hear(GO).note == "PeakAhead: not started, since another alert holds it paused"
    talk.hear(over(A))
    talk.person(Mode.PAUSED)
    talk.hear(GO)
    assert talk.mode() is Mode.ACTIVE


EVENTS = st.tuples(st.integers(0, 3), st.booleans())


@given(st.lists(EVENTS, max_size=40), st.sampled_from(list(Mode)))
def test_paused_just_while_something_holds_it(events: list[tuple[int, bool]], mode: Mode) -> None:
    talk, firing, ever = Talk(mode), set[int](), 0
    keys = dict.fromkeys(range(4), "")
    for who, fires in events:
        if fires and who not in firing:
            keys[who], ever = f"{who}.{ever}", ever + 1  # each episode has a key of its own
        talk.hear(IncomingAlert(keys[who], "X", fires, Action.PAUSE))
        (firing.add if fires else firing.discard)(who)
        assert talk.mode() is (Mode.PAUSED if firing else mode)
