from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.alerts.conditions import Builtin, Condition
from autotuner.alerts.inhibition import Change
from autotuner.alerts.lifecycle import AlertState, Phase, Severity, Timing, restore
from autotuner.alerts.limits import Limit, LimitKind
from autotuner.alerts.rules import AlertRule, Readings, Tier, blind, evaluate
from autotuner.alerts.usual import Usual
from autotuner.domain.errors import ConfigError
from autotuner.domain.forecasts import Alert

QUICK = Timing(for_s=0.0, resolve_for_s=0.0)
ABOVE_1 = Limit(LimitKind.ABOVE, 1.0)
SLOW = AlertRule("HighTtft", Tier.FRAMEWORK, "ttft_p95_s", ABOVE_1, QUICK)
TAIL = AlertRule("TailTtft", Tier.FRAMEWORK, "ttft_p95_s", Limit(LimitKind.TIMES_P99, 2.0), QUICK)
IDLE = AlertRule("LowGpu", Tier.HARDWARE, "gpu_utilisation", Limit(LimitKind.BELOW, 0.2), QUICK)
DROP = AlertRule("Down", Tier.BUSINESS, "accuracy", Limit(LimitKind.DOWN, 0.05), QUICK)


def run(
    rules: Sequence[AlertRule], *looks: Readings, step_s: float = 10.0
) -> tuple[dict[str, AlertState], list[tuple[Alert, ...]]]:
    states, changes = run_with_changes(rules, *looks, step_s=step_s)
    return states, [tuple(change.alert for change in changed) for changed in changes]


def run_with_changes(
    rules: Sequence[AlertRule], *looks: Readings, step_s: float = 10.0
) -> tuple[dict[str, AlertState], list[tuple[Change, ...]]]:
    states: dict[str, AlertState] = {}
    changes = []
    for i, readings in enumerate(looks):
        states, changed = evaluate(rules, states, readings, i * step_s, "gpu-1")
        changes.append(changed)
    return states, changes


def ttft(*values: float, p99: float = math.nan) -> list[Readings]:
    usual = {} if math.isnan(p99) else {"ttft_p95_s": Usual(p99 / 2, p99 / 4, p99)}
    return [Readings({"ttft_p95_s": v}, usual) for v in values]


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


def test_what_has_been_so_for_a_day_is_the_new_past() -> None:
    worse = [*ttft(0.9, p99=0.4), *ttft(*[0.9] * 9, p99=0.9)]
    _, changes = run([TAIL], *worse, step_s=10_000.0)
    assert told(changes) == ["F", *[""] * 8, "R"]


def accuracy(*values: float, median: float = 0.9, p05: float = 0.88) -> list[Readings]:
    return [Readings({"accuracy": v}, {"accuracy": Usual(median, p05, 0.92)}) for v in values]


def test_a_drop_is_measured_against_its_own_past() -> None:
    _, changes = run([DROP], *accuracy(0.9, 0.86, 0.85, 0.87, 0.9))
    assert told(changes) == ["", "", "F", "", "R"]
    assert changes[2][0].summary == (
        "accuracy is 0.85, below 0.855 (down more than 0.05 of its median) on gpu-1"
    )


def test_a_drop_that_happens_every_day_is_none() -> None:
    assert told(run([DROP], *accuracy(0.6, p05=0.7))[1]) == [""]
    assert told(run([DROP], *accuracy(0.49, p05=0.7))[1]) == ["F"]


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
    assert changed == (Change(replace(fired[0], ends_at=100.0), tell=True),)
    assert evaluate([], states, Readings(), 200.0, "gpu-1") == ({}, ())


def test_a_restart_neither_repeats_nor_forgets() -> None:
    _, (fired,) = run([SLOW], *ttft(2.0))
    states, changed = evaluate([SLOW], restore(fired), ttft(2.0)[0], 50.0, "gpu-1")
    # The same occasion once more: whoever keeps what was sent sees that it was.
    assert changed == (Change(fired[0], tell=True),)
    states, changed = evaluate([SLOW], states, ttft(2.0)[0], 55.0, "gpu-1")
    assert changed == ()
    _, changed = evaluate([SLOW], states, ttft(0.1)[0], 60.0, "gpu-1")
    assert [(c.alert.starts_at, c.alert.ends_at) for c in changed] == [(0.0, 60.0)]


@pytest.mark.parametrize("kind", list(Builtin))
def test_every_builtin_alert_fires_and_resolves(kind: Builtin) -> None:
    looks = [*[condition(True, kind)] * 3, *[condition(False, kind)] * 3]
    _, changes = run([], *looks, step_s=1000.0)
    assert "".join(told(changes)) == "FR"
    assert kind.severity in set(Severity)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": ""}, "must not be empty"),
        ({"name": "TargetDown"}, "built-in alert"),
        ({"series": ""}, "must not be empty"),
    ],
)
def test_rules_that_could_never_work_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(SLOW, **fields)


@given(st.lists(st.floats(-10, 10) | st.just(math.nan), max_size=60))
def test_firing_and_resolved_alternate(values: list[float]) -> None:
    rules = [SLOW, replace(SLOW, name="Low", limit=Limit(LimitKind.BELOW, -2.0))]
    _, changes = run(rules, *ttft(*values))
    for name in ("HighTtft", "Low"):
        mine = [a for changed in changes for a in changed if a.name == name]
        assert [a.firing for a in mine] == [i % 2 == 0 for i in range(len(mine))]
        for fired, resolved in zip(mine[::2], mine[1::2], strict=False):
            assert replace(resolved, ends_at=None) == fired


HOT = AlertRule(
    "Hot", Tier.HARDWARE, "heat", ABOVE_1, QUICK, inhibits=frozenset({"HighTtft", "LowGpu"})
)


def both(heat: float, ttft_s: float) -> Readings:
    return Readings({"heat": heat, "ttft_p95_s": ttft_s})


def heard(changes: list[tuple[Change, ...]]) -> list[str]:
    """Per look, the names that people are told: `+` fires, `-` is over."""
    return [
        " ".join(("+" if c.alert.firing else "-") + c.alert.name for c in changed if c.tell)
        for changed in changes
    ]


def test_a_firing_alert_keeps_those_that_follow_from_it_quiet() -> None:
    _, changes = run_with_changes([HOT, SLOW], both(2, 2), both(2, 2), both(2, 0), both(0, 0))
    assert heard(changes) == ["+Hot", "", "", "-Hot"]
    kept = [(c.alert.name, c.alert.firing) for changed in changes for c in changed if not c.tell]
    assert kept == [("HighTtft", True), ("HighTtft", False)]


def test_what_still_fires_afterwards_is_told_then() -> None:
    _, changes = run_with_changes([HOT, SLOW], both(2, 2), both(2, 2), both(0, 2), both(0, 0))
    assert heard(changes) == ["+Hot", "", "-Hot +HighTtft", "-HighTtft"]
    assert changes[2][1].alert.starts_at == 0.0


def test_what_was_told_before_is_told_to_be_over_at_once() -> None:
    _, changes = run_with_changes([HOT, SLOW], both(0, 2), both(2, 2), both(2, 0))
    assert heard(changes) == ["+HighTtft", "+Hot", "-HighTtft"]


def test_a_target_that_is_down_explains_its_rules_but_no_verdict() -> None:
    down = Condition(Builtin.TARGET_DOWN, True, "no answer")
    odd = Condition(Builtin.ANOMALY, True, "odd")
    verdict = Condition(Builtin.HARMFUL, True, "worse")
    first = Readings(conditions=(down,))
    then = Readings({"ttft_p95_s": 2.0}, conditions=(down, odd, verdict))
    _, changes = run_with_changes([SLOW], *[first] * 4, then)
    assert heard(changes)[3:] == ["+TargetDown", "+ExperimentHarmful"]


def test_after_a_restart_what_waited_is_told_and_nothing_is_lost() -> None:
    _, changes = run_with_changes([HOT, SLOW], both(2, 2))
    restored = restore(change.alert for change in changes[0])
    states, again = evaluate([HOT, SLOW], restored, both(2, 2), 10.0, "gpu-1")
    assert heard([again]) == ["+Hot"]
    states, later = evaluate([HOT, SLOW], states, both(0, 2), 20.0, "gpu-1")
    assert heard([later]) == ["-Hot +HighTtft"]


def test_a_resolution_is_told_where_nobody_knows_whether_the_firing_was() -> None:
    _, changes = run_with_changes([HOT, SLOW], both(2, 2))
    restored = restore(change.alert for change in changes[0])
    _, ended = evaluate([HOT, SLOW], restored, both(2, 0), 10.0, "gpu-1")
    assert "-HighTtft" in heard([ended])[0]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40))
def test_nothing_that_fires_alone_stays_untold(looks: list[tuple[bool, bool]]) -> None:
    _, changes = run_with_changes([HOT, SLOW], *(both(2.0 * a, 2.0 * b) for a, b in looks))
    open_told: set[str] = set()
    for (hot, slow), changed in zip(looks, changes, strict=True):
        for change in changed:
            if not change.tell:
                continue
            name = change.alert.name
            assert change.alert.firing == (name not in open_told)
            open_told ^= {name}
        assert ("Hot" in open_told) == hot
        assert slow >= ("HighTtft" in open_told)
        assert hot or ("HighTtft" in open_told) == slow


def test_rules_without_their_series_are_named() -> None:
    assert blind([SLOW, DROP, HOT], ["heat", "accuracy"]) == ("HighTtft",)
    assert blind([HOT], ["heat"]) == ()
