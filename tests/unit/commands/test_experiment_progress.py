from __future__ import annotations

from dataclasses import replace

import pytest

from autotuner.commands.experiment_follow import Daemon, Seen, idleness, progress, succeeded
from autotuner.domain.experiment import Conclusion, Experiment, Look, Phase, Plan, Verdict
from autotuner.domain.knobs import Settings
from autotuner.domain.mode import Mode
from autotuner.history.records import Ask, Control, Heartbeat

OLD, NEW = Settings({"a": 1}), Settings({"a": 2})
WAITING = Control(7, "chat", Ask.EXPERIMENT, "ana", "larger", 100.0)
TAKEN = replace(WAITING, taken_at=110.0, experiment_id="e1")
LOOKS = (Look(1, 0.3, -1.0, 0.25, 0.041, -0.2, 0.3), Look(2, 1.3, -1.0, 0.712, -0.02, -0.2, 0.3))


def running(looks: int = 0, treatment: Settings = NEW) -> Experiment:
    washing = Experiment("e1", "chat", OLD, treatment, Plan(), 1, 0.0, phase=Phase.WASHOUT)
    return replace(washing, looks=LOOKS[:looks])


def ended(verdict: Verdict, pairs: int = 2, treatment: Settings = NEW) -> Seen:
    conclusion = Conclusion(verdict, "so it is", pairs, 0.1, 0.0, 0.2, 0.97)
    return Seen(TAKEN, running(2, treatment).closed(conclusion))


def beat(at: float, sentence: str = "held", mode: Mode = Mode.ACTIVE) -> Heartbeat:
    return Heartbeat("d1", "chat", at, sentence, mode, 3)


def test_a_daemon_that_gives_no_sign_is_told_with_the_fix() -> None:
    daemon = Daemon(cycle_s=5.0, command="autotuner run -c a.yaml")
    assert daemon.absence("chat", beat(100.0), now=160.0) is None
    silent = daemon.absence("chat", beat(100.0), now=161.0)
    assert silent is not None
    assert "a sign on chat for 61 s" in silent
    assert "`autotuner run -c a.yaml`" in silent
    assert "has run on chat yet" in (daemon.absence("chat", None, now=0.0) or "")


def test_a_slow_daemon_has_more_time() -> None:
    daemon = Daemon(cycle_s=60.0, command="")
    assert daemon.absence("chat", beat(100.0), now=400.0) is None


def test_a_daemon_that_starts_nothing_is_told() -> None:
    assert idleness(None) is None
    assert idleness(beat(0.0)) is None
    assert "paused: `autotuner resume`" in (idleness(beat(0.0, mode=Mode.PAUSED)) or "")


def test_what_the_daemon_says_is_repeated_once_while_a_request_waits() -> None:
    first = Seen(WAITING, beat=beat(1.0, "held: 3 of 30 requests seen"))
    second = Seen(WAITING, beat=beat(2.0, "held: 9 of 30 requests seen"))
    third = Seen(WAITING, beat=beat(3.0, "held: the target does not answer"))
    assert list(progress(None, first)) == [
        "request 7 waits for the daemon",
        "the daemon says: held: 3 of 30 requests seen",
    ]
    assert list(progress(first, second)) == []
    assert list(progress(second, third)) == ["the daemon says: held: the target does not answer"]


def test_each_pair_is_told_once() -> None:
    none, one, two = (Seen(TAKEN, running(looks)) for looks in (0, 1, 2))
    assert list(progress(Seen(WAITING), none)) == ["experiment e1 has started: 30 pairs at most"]
    assert list(progress(none, one)) == ["pair 1: +4.1 points, 25.0% confidence"]
    assert list(progress(one, two)) == ["pair 2: −2.0 points, 71.2% confidence"]
    assert list(progress(two, two)) == []
    assert list(progress(two, ended(Verdict.ACCEPTED))) == ["ACCEPTED: so it is"]


def test_one_that_comes_late_is_told_everything() -> None:
    assert len(list(progress(None, ended(Verdict.REJECTED)))) == 4


def test_a_refusal_is_told_with_its_reason() -> None:
    refused = Seen(replace(WAITING, taken_at=110.0, result="the target has no such knob"))
    assert refused.ended
    (told,) = progress(Seen(WAITING), refused)
    assert told == "request 7 was not run: the target has no such knob"
    assert not succeeded(refused)


@pytest.mark.parametrize(
    ("verdict", "of_a_candidate", "of_an_aa"),
    [
        (Verdict.ACCEPTED, True, False),
        (Verdict.REJECTED, False, True),
        (Verdict.HARMFUL, False, False),
        (Verdict.INCONCLUSIVE, False, True),
        (Verdict.ABORTED, False, False),
    ],
)
def test_what_a_script_may_go_on_with(
    verdict: Verdict, of_a_candidate: bool, of_an_aa: bool
) -> None:
    assert succeeded(ended(verdict)) == of_a_candidate
    assert succeeded(ended(verdict, treatment=OLD)) == of_an_aa


def test_an_aa_that_counted_nothing_says_nothing() -> None:
    assert not succeeded(ended(Verdict.INCONCLUSIVE, pairs=0, treatment=OLD))
    assert not succeeded(Seen(TAKEN, running()))
