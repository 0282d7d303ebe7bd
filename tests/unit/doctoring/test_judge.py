"""What each measured fact is judged to be, and the fix that goes with it."""

from __future__ import annotations

import math

import pytest
from packaging.requirements import Requirement

from autotuner.doctoring import judge
from autotuner.doctoring.finding import Finding, Level, counts, failed, warned, well
from autotuner.doctoring.judge import PortState
from autotuner.domain.telemetry import Histogram, Snapshot


@pytest.mark.parametrize(
    ("version", "level"),
    [((3, 10), "fail"), ((3, 11), "ok"), ((3, 13), "ok"), ((3, 14), "fail")],
)
def test_python(version: tuple[int, int], level: str) -> None:
    assert judge.python_version(version, "Python").level == level


def test_packages_are_one_line_where_all_fit_and_one_each_where_not() -> None:
    wanted = [Requirement("numpy>=2,<3"), Requirement("typer>=0.15"), Requirement("rich>=13")]
    (fine,) = judge.packages(wanted, {"numpy": "2.1.0", "typer": "0.16", "rich": "14.0"})
    assert fine.level is Level.OK
    old, gone = judge.packages(wanted, {"numpy": "1.26", "typer": None, "rich": "14.0"})
    assert (old.level, gone.level) == (Level.WARN, Level.FAIL)
    assert "'numpy<3,>=2'" in old.fix
    assert "typer" in gone.fix


def test_an_optional_package_fails_only_where_it_is_needed() -> None:
    assert judge.optional("chat", ["apprise"], "chat", needed=True).level is Level.FAIL
    assert judge.optional("worker", ["gguf"], "worker", needed=False).level is Level.WARN
    assert judge.optional("chat", [], "chat", needed=True).level is Level.OK


@pytest.mark.parametrize(
    ("there", "revision", "pending", "level", "told"),
    [
        (False, None, [], Level.OK, "not there yet"),
        (True, None, ["0001"], Level.OK, "empty"),
        (True, "0004", ["0005"], Level.WARN, "1 to come: 0005"),
        (True, "0005", [], Level.OK, "at revision 0005"),
    ],
)
def test_history(
    there: bool, revision: str | None, pending: list[str], level: Level, told: str
) -> None:
    found = judge.history(there, revision, pending, "sqlite:///x")
    assert found.level is level
    assert told in found.told


@pytest.mark.parametrize(
    ("skew_s", "round_trip_s", "level"),
    [
        (0.1, 0.0, Level.OK),
        (-3.0, 0.2, Level.WARN),
        (3.0, 4.0, Level.OK),  # the slow answer alone could explain it
        (-90.0, 0.1, Level.FAIL),
    ],
)
def test_clock(skew_s: float, round_trip_s: float, level: Level) -> None:
    assert judge.clock("chat", skew_s, round_trip_s).level is level


def test_blind_rules_are_named_with_their_series() -> None:
    found = judge.rules("chat", {"Hot": "temperature_c", "Slow": "attainment"}, {"kv_usage"})
    assert found.level is Level.WARN
    assert "1 of 2 rules are blind: Hot (temperature_c)" in found.told
    assert judge.rules("chat", {"Slow": "attainment"}, set()).level is Level.OK


@pytest.mark.parametrize(
    ("free", "level"), [(10**7, Level.FAIL), (5 * 10**8, Level.WARN), (10**11, Level.OK)]
)
def test_disk(free: int, level: Level) -> None:
    assert judge.disk("here", free).level is level


@pytest.mark.parametrize(
    ("state", "level"),
    [
        (PortState(free=True), Level.OK),
        (PortState(free=False, ours=True), Level.OK),
        (PortState(free=False, problem="address already in use"), Level.FAIL),
    ],
)
def test_port(state: PortState, level: Level) -> None:
    assert judge.port("127.0.0.1:9187", state).level is level


@pytest.mark.parametrize(
    ("systemd", "units", "level"),
    [(False, [], Level.OK), (True, [], Level.WARN), (True, ["autotuner.service"], Level.OK)],
)
def test_unit(systemd: bool, units: list[str], level: Level) -> None:
    assert judge.unit(systemd, units).level is level


def test_compiler() -> None:
    assert judge.compiler("/usr/bin/c++").level is Level.OK
    assert "g++" in judge.compiler(None).fix


def test_counts_and_keys_are_stable() -> None:
    found = [well("a", "x"), warned("b", "y", "z"), failed("c", "w")]
    assert counts(found) == {"ok": 1, "warn": 1, "fail": 1}
    assert Finding("b", Level.WARN, "y", "z").as_dict() == {
        "check": "b",
        "level": "warn",
        "told": "y",
        "fix": "z",
    }


COARSE = Snapshot(1.0, histograms={"ttft_s": Histogram((0.1, 0.4, math.inf), (1, 2, 2), 0.3)})


def test_a_promise_inside_of_a_wide_bucket_is_a_warning() -> None:
    found = judge.buckets("a", COARSE, {"ttft_s": 0.05, "tpot_s": 0.1, "e2el_s": None})
    assert found is not None
    assert (found.check, found.level) == ("buckets a", Level.WARN)
    assert "ttft_s ≤ 0.05 s (0 s to 0.1 s)" in found.told
    assert judge.buckets("a", COARSE, {"ttft_s": 0.4}) is None


def test_gaps_that_are_no_tokens_warn_only_where_the_policy_looks_at_them() -> None:
    several = Snapshot(1.0, {"spec_drafts": 5.0}, {"tokens_per_event": 2.6})
    warned_of = judge.gaps("a", several, ["slo.gap_max_s=0.1"])
    assert warned_of is not None
    assert warned_of.level is Level.WARN
    assert "2.6 tokens" in warned_of.told
    assert "the policy goes by slo.gap_max_s=0.1" in warned_of.told
    merely = judge.gaps("a", several, [])
    assert merely is not None
    assert merely.level is Level.OK
    assert judge.gaps("a", Snapshot(1.0, {}, {"tokens_per_event": 1.0}), ["x"]) is None
