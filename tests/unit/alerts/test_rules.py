from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.alerts.conditions import Builtin, Condition
from autotuner.alerts.lifecycle import AlertState, Phase, Severity, Timing, restore
from autotuner.alerts.rules import AlertRule, Comparison, Readings, Tier, evaluate
from autotuner.domain.errors import ConfigError
from autotuner.domain.forecasts import Alert

QUICK = Timing(for_s=0.0, resolve_for_s=0.0)
SLOW = AlertRule("HighTtft", Tier.FRAMEWORK, "ttft_p95_s", threshold=1.0, timing=QUICK)
TAIL = AlertRule("TailTtft", Tier.FRAMEWORK, "ttft_p95_s", p99_factor=2.0, timing=QUICK)
IDLE = AlertRule(
    "LowGpu", Tier.HARDWARE, "gpu_utilisation", Comparison.BELOW, threshold=0.2, timing=QUICK
)


def run(
    rules: Sequence[AlertRule], *looks: Readings, step_s: float = 10.0
) -> tuple[dict[str, AlertState], list[tuple[Alert, ...]]]:
    states: dict[str, AlertState] = {}
    changes = []
    for i, readings in enumerate(looks):
        states, changed = evaluate(rules, states, readings, i * step_s, "gpu-1")
        changes.append(changed)
    return states, changes


def ttft(*values: float, p99: float = math.nan) -> list[Readings]:
    return [Readings({"ttft_p95_s": v}, {"ttft_p95_s": p99}) for v in values]


def told(changes: list[tuple[Alert, ...]]) -> list[str]:
    return ["".join("F" if a.firing else "R" for a in changed) for changed in changes]


def test_a_change_is_told_once() -> None:
    _, changes = run([SLOW], *ttft(0.5, 1.5, 1.6, 0.5, 0.5, 2.0))
    assert told(changes) == ["", "F", "", "R", "", "F"]


def test_the_alert_says_what_was_seen() -> None:
    _, changes = run([SLOW], *ttft(1.5))
    (alert,) = changes[0]
    assert alert.summary == "ttft_p95_s is 1.5, above 1 on gpu-1"
    assert alert.labels == (("series", "ttft_p95_s"), ("tier", "framework"))


def test_the_limit_itself_is_no_breach() -> None:
    assert told(run([SLOW], *ttft(1.0))[1]) == [""]


def test_between_limit_and_margin_it_stays_up() -> None:
    assert told(run([SLOW], *ttft(1.5, 0.97, 0.99, 0.96, 0.94))[1]) == ["F", "", "", "", "R"]


def test_below_is_mirrored() -> None:
    looks = [Readings({"gpu_utilisation": v}) for v in (0.5, 0.1, 0.205, 0.22)]
    assert told(run([IDLE], *looks)[1]) == ["", "F", "", "R"]


@pytest.mark.parametrize("gap", [Readings(), Readings({"ttft_p95_s": math.nan})])
def test_no_data_neither_fires_nor_resolves(gap: Readings) -> None:
    assert told(run([SLOW], gap, gap)[1]) == ["", ""]
    assert told(run([SLOW], *ttft(2.0), gap, gap, gap)[1]) == ["F", "", "", ""]


def test_an_unknown_p99_says_nothing() -> None:
    assert told(run([TAIL], *ttft(1e9))[1]) == [""]


def test_a_rising_p99_does_not_end_the_alert() -> None:
    looks = [*ttft(0.5, 0.9, p99=0.4), *ttft(0.9, p99=0.9), *ttft(0.7, p99=0.9)]
    states, changes = run([TAIL], *looks)
    assert told(changes) == ["", "F", "", "R"]
    assert changes[1][0].summary == "ttft_p95_s is 0.9, above 0.8 (2 × its P99) on gpu-1"
    assert next(iter(states.values())).phase is Phase.RESOLVED


def test_waits_are_kept() -> None:
    rule = replace(SLOW, timing=Timing(for_s=20.0, resolve_for_s=20.0))
    _, changes = run([rule], *ttft(2, 2, 2, 0, 0, 0))
    assert told(changes) == ["", "", "F", "", "", "R"]


def test_what_is_over_is_forgotten() -> None:
    states, _ = run([SLOW], *ttft(0.5, 1.5, 0.5, 0.5))
    assert states == {}


def condition(
    active: bool | None, kind: Builtin = Builtin.TARGET_DOWN, series: str = ""
) -> Readings:
    labels = (("series", series),) if series else ()
    return Readings(conditions=(Condition(kind, active, "says who", labels),))


def test_a_target_that_is_down_is_an_alert() -> None:
    _, changes = run([], *[condition(True)] * 4, *[condition(False)] * 7)
    assert told(changes) == ["", "", "", "F", "", "", "", "", "", "", "R"]
    (alert,) = changes[3]
    assert (alert.name, alert.severity, alert.target) == ("TargetDown", "critical", "gpu-1")


def test_an_unknown_condition_is_held() -> None:
    _, changes = run([], *[condition(True)] * 4, *[condition(None)] * 20)
    assert told(changes)[4:] == [""] * 20


def test_an_event_stays_up_for_a_while_after_it() -> None:
    looks = [condition(True, Builtin.HARMFUL), *[Readings()] * 4]
    _, changes = run([], *looks, step_s=450.0)
    assert told(changes) == ["F", "", "", "R", ""]


def test_anomalies_of_two_series_are_two_alerts() -> None:
    both = Readings(
        conditions=tuple(
            Condition(Builtin.ANOMALY, True, name, (("series", name),)) for name in ("a", "b")
        )
    )
    _, changes = run([], both)
    assert {a.summary for a in changes[0]} == {"a", "b"}
    assert len({a.fingerprint for a in changes[0]}) == 2


def test_a_rule_that_was_taken_away_resolves_its_alert() -> None:
    states, (fired,) = run([SLOW], *ttft(2.0))
    states, changed = evaluate([], states, Readings(), 100.0, "gpu-1")
    assert changed == (replace(fired[0], ends_at=100.0),)
    assert evaluate([], states, Readings(), 200.0, "gpu-1") == ({}, ())


def test_a_restart_neither_repeats_nor_forgets() -> None:
    _, (fired,) = run([SLOW], *ttft(2.0))
    states, changed = evaluate([SLOW], restore(fired), ttft(2.0)[0], 50.0, "gpu-1")
    assert changed == ()
    _, changed = evaluate([SLOW], states, ttft(0.1)[0], 60.0, "gpu-1")
    assert [(a.starts_at, a.ends_at) for a in changed] == [(0.0, 60.0)]


@pytest.mark.parametrize("kind", list(Builtin))
def test_every_builtin_alert_fires_and_resolves(kind: Builtin) -> None:
    looks = [*[condition(True, kind)] * 3, *[condition(False, kind)] * 3]
    _, changes = run([], *looks, step_s=1000.0)
    assert "".join(told(changes)) == "FR"
    assert kind.severity in set(Severity)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"threshold": None}, "either threshold or p99_factor"),
        ({"p99_factor": 2.0}, "either threshold or p99_factor"),
        ({"threshold": math.nan}, "finite number"),
        ({"resolve_margin": 1.0}, "resolve_margin=1.0"),
        ({"name": ""}, "must not be empty"),
        ({"series": ""}, "must not be empty"),
    ],
)
def test_rules_that_could_never_work_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(SLOW, **fields)


@given(st.lists(st.floats(-10, 10) | st.just(math.nan), max_size=60))
def test_firing_and_resolved_alternate(values: list[float]) -> None:
    rules = [SLOW, replace(SLOW, name="Low", comparison=Comparison.BELOW, threshold=-2.0)]
    _, changes = run(rules, *ttft(*values))
    for name in ("HighTtft", "Low"):
        mine = [a for changed in changes for a in changed if a.name == name]
        assert [a.firing for a in mine] == [i % 2 == 0 for i in range(len(mine))]
        for fired, resolved in zip(mine[::2], mine[1::2], strict=False):
            assert replace(resolved, ends_at=None) == fired
