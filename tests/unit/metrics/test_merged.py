"""The sum over replicas: nothing less than all of them, and no restart that counts twice."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from autotuner.domain.energy import Meter
from autotuner.domain.errors import TargetUnavailableError
from autotuner.domain.telemetry import Histogram, Snapshot
from autotuner.metrics.merged import MergedSource
from autotuner.metrics.window import between

BOUNDS = (0.1, math.inf)


@dataclass
class Scripted:
    """Gives its snapshots one after the other; None is a scrape that failed."""

    snapshots: list[Snapshot | None]

    def snapshot(self) -> Snapshot:
        seen = self.snapshots.pop(0)
        if seen is None:
            raise TargetUnavailableError("no page")
        return seen


def page(at: float, requests: float, started_at: float = 1.0, **gauges: float) -> Snapshot:
    counts = (requests / 2, requests)
    return Snapshot(
        at,
        {"requests": requests},
        {"started_at": started_at, **gauges},
        {"ttft_s": Histogram(BOUNDS, counts, requests * 0.2)},
    )


def test_counters_and_histograms_add_up_and_gauges_as_they_mean() -> None:
    one = page(10.0, 4.0, running=2.0, kv_usage=0.3, temperature_c=60.0, power_w=100.0, x=1.0)
    other = page(10.5, 6.0, running=1.0, kv_usage=0.7, temperature_c=80.0, power_w=50.0, x=3.0)
    seen = MergedSource([Scripted([one]), Scripted([other])]).snapshot()
    assert seen.at == 10.5
    assert seen.counters == {"requests": 10.0}
    assert seen.histograms["ttft_s"].counts == (5.0, 10.0)
    assert seen.histograms["ttft_s"].total == pytest.approx(2.0)
    assert seen.gauges == {
        "running": 3.0, "kv_usage": 0.7, "temperature_c": 80.0, "power_w": 150.0, "x": 2.0,
    }  # fmt: skip


def test_the_devices_of_all_replicas_stand_side_by_side() -> None:
    one = Snapshot(1.0, energy={"dcgm": Meter({"a": 5.0}, power_w={"a": 100.0})})
    other = Snapshot(1.0, energy={"dcgm": Meter({"a": 7.0})})
    seen = MergedSource([Scripted([one]), Scripted([other])]).snapshot()
    assert seen.energy == {"dcgm": Meter({"0/a": 5.0, "1/a": 7.0})}
    mute = MergedSource([Scripted([one]), Scripted([Snapshot(1.0, energy={"dcgm": None})])])
    assert mute.snapshot().energy == {"dcgm": None}


def test_an_amount_that_one_replica_does_not_tell_is_absent() -> None:
    one, other = page(1.0, 1.0, power_w=100.0, temperature_c=50.0), page(1.0, 1.0)
    seen = MergedSource([Scripted([one]), Scripted([other])]).snapshot()
    assert seen.gauges == {"temperature_c": 50.0}


def test_a_counter_that_one_replica_has_not_needed_yet_counts_as_none() -> None:
    one = Snapshot(1.0, {"requests": 5.0, "requests_error": 1.0})
    seen = MergedSource([Scripted([one]), Scripted([Snapshot(1.0, {"requests": 2.0})])])
    assert seen.snapshot().counters == {"requests": 7.0, "requests_error": 1.0}


def test_a_missing_replica_is_an_error_and_not_a_smaller_sum() -> None:
    source = MergedSource([Scripted([page(1.0, 5.0)]), Scripted([None])])
    with pytest.raises(TargetUnavailableError):
        source.snapshot()


def test_other_buckets_are_an_error_that_says_what_to_do() -> None:
    odd = Snapshot(1.0, histograms={"ttft_s": Histogram((0.2, math.inf), (0.0, 0.0), 0.0)})
    with pytest.raises(TargetUnavailableError, match=r"ttft_s.*same version"):
        MergedSource([Scripted([page(1.0, 1.0)]), Scripted([odd])]).snapshot()


@pytest.mark.parametrize("started_at", [1.0, 11.0])  # not told apart by it, and told apart
def test_one_restart_neither_hides_nor_doubles_what_was_served(started_at: float) -> None:
    steady = Scripted([page(10.0, 1000.0), page(20.0, 1010.0), page(30.0, 1015.0)])
    restarted = [page(10.0, 500.0), page(20.0, 7.0, started_at), page(30.0, 9.0, started_at)]
    source = MergedSource([steady, Scripted([*restarted])])
    first, second, third = (source.snapshot() for _ in range(3))
    window = between(first, second)
    assert window.requests == 17.0
    assert window.resets == ()
    assert window.histograms["ttft_s"].count == 17.0
    assert between(second, third).requests == 7.0


def test_nothing_to_merge_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no sources"):
        MergedSource([])
