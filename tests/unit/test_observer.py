"""What the observer makes of requests: attainment of the live settings alone, rate of all."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from autotuner.domain.energy import Meter
from autotuner.domain.errors import TargetUnavailableError
from autotuner.domain.experiment import Arm, Design, Experiment, Plan, Slot
from autotuner.domain.knobs import Settings
from autotuner.domain.ports import LiveSettings
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Exposure, Outcome, Snapshot
from autotuner.observer import Horizon, Observer, summarise
from autotuner.targets.capabilities import Capability, IntRange
from autotuner.targets.memory import MemoryTarget

LIVE = LiveSettings(Settings({"k": 1}), 5, "boot", 0.0, 100.0)
SLO_1S = SLO(ttft_s=1.0)


def request(
    arrival: float, generations: tuple[int, int] = (5, 5), ttft_s: float = 0.5,
    outcome: Outcome = Outcome.STOP,
) -> Exposure:  # fmt: skip
    return Exposure(
        seq=1, id="r", generation_start=generations[0], generation_end=generations[1],
        arrival=arrival, queue_s=0.0, ttft_s=ttft_s, tpot_s=0.01, gap_max_s=0.02, e2el_s=1.0,
        prompt_tokens=10, output_tokens=5, outcome=outcome,
    )  # fmt: skip


def test_only_requests_of_the_live_generation_are_judged() -> None:
    seen = [request(90), request(91, ttft_s=2.0), request(80, (4, 4)), request(85, (4, 5))]
    traffic = summarise(seen, LIVE, SLO_1S, 20.0)
    assert traffic.requests == 2
    assert traffic.attainment == 0.5
    assert traffic.workload.rate_rps == pytest.approx(4 / 20)


def test_a_client_that_left_in_time_is_nobodys_fault_but_a_rejection_is() -> None:
    seen = [request(90), request(91, outcome=Outcome.ABORT), request(92, outcome=Outcome.REJECTED)]
    traffic = summarise(seen, LIVE, SLO_1S, 20.0)
    assert traffic.requests == 2
    assert traffic.attainment == 0.5
    assert len(traffic.workload.prompt_tokens) == 1


def test_a_client_that_left_after_a_deadline_was_not_served_well() -> None:
    seen = [request(90), request(91, ttft_s=1.5, outcome=Outcome.ABORT)]
    traffic = summarise(seen, LIVE, SLO_1S, 20.0)
    assert (traffic.requests, traffic.attainment) == (2, 0.5)


def test_nothing_seen_is_not_zero_attainment() -> None:
    traffic = summarise([], LIVE, SLO_1S, 20.0)
    assert (traffic.requests, traffic.workload.rate_rps) == (0, 0.0)
    assert math.isnan(traffic.attainment)


def test_the_rate_of_a_short_past_is_taken_over_that_past() -> None:
    traffic = summarise([request(98), request(99)], LIVE, SLO_1S, 60.0)
    assert traffic.workload.rate_rps == pytest.approx(1.0)


class Scrapes:
    """Gives these snapshots in turn; None fails."""

    def __init__(self, *snapshots: Snapshot | None) -> None:
        self._snapshots = list(snapshots)

    def snapshot(self) -> Snapshot:
        found = self._snapshots.pop(0)
        if found is None:
            raise TargetUnavailableError("no page")
        return found


def hot(at: float, heat: float) -> Snapshot:
    return Snapshot(at, {"requests": 0.0}, {"temperature_c": heat})


def observer(metrics: Scrapes, clock: list[float], noise_s: float = 0.0) -> Observer:
    memory = MemoryTarget({"k": 1}, {"k": Capability(IntRange(1, 9))}, lambda: clock[0])
    for arrival in (10.0, 60.0, 95.0):
        memory.finish(request(arrival, (1, 1)))
    return Observer(memory, metrics, SLO_1S, Horizon(20.0, 60.0, noise_s))


def saturated(until: float, rate: float, served: float) -> list[Exposure]:
    """What has ended of an overload that began at 0, served one at a time in order."""
    lasts_s = 1 / served
    asked = (
        (request(k / rate, (1, 1)), k * (lasts_s - 1 / rate)) for k in range(int(until * served))
    )
    return [replace(one, queue_s=waits_s, e2el_s=waits_s + lasts_s) for one, waits_s in asked]


def test_a_queue_longer_than_the_horizon_hides_neither_the_traffic_nor_its_rate() -> None:
    memory = MemoryTarget({"k": 1}, {"k": Capability(IntRange(1, 9))}, lambda: 200.0)
    for one in saturated(200.0, rate=2.0, served=0.5):
        memory.finish(one)
    seen = Observer(memory, Scrapes(None), SLO_1S, Horizon(20.0, 60.0)).observe(None)
    assert seen.traffic is not None
    assert seen.traffic.requests == 11
    assert seen.traffic.workload.rate_rps == pytest.approx(
        2.0, rel=0.15
    )  # a fence has one post more than gaps


def test_a_running_test_is_told_what_the_gauges_said_and_a_failed_scrape_adds_nothing() -> None:
    clock = [100.0]
    seeing = observer(Scrapes(hot(100, 60), hot(105, 70), None, hot(115, 80)), clock)
    slot = Slot(0, Arm.CONTROL, 1, 101.0)
    one = Settings({"k": 1})
    test = Experiment("e", "t", one, one, Plan(), 1, 0.0, slots=(slot,))
    assert seeing.observe(None).readings == ()
    heats = []
    for clock[0] in (105.0, 110.0, 115.0):
        heats.append([r.gauges["temperature_c"] for r in seeing.observe(test).readings])
    assert heats == [[60, 70], [60, 70], [60, 70, 80]]


def test_the_past_that_tests_are_planned_from_is_told_between_them() -> None:
    seeing = observer(Scrapes(*[hot(100, 60)] * 2), [100.0], noise_s=50.0)
    seen = seeing.observe(None)
    assert [e.arrival for e in seen.recent] == [60.0, 95.0]
    assert seen.traffic is not None
    assert seen.traffic.requests == 1
    one = Settings({"k": 1})
    running = Experiment("e", "t", one, one, Plan(), 1, 0.0)
    assert seeing.observe(running).recent == ()


def test_a_scrape_that_came_before_is_no_window_and_no_problem() -> None:
    """A Prometheus server gives the same scrape again until the next."""
    clock = [100.0]
    seeing = observer(Scrapes(hot(100, 60), hot(105, 60), hot(105, 60), hot(112, 60)), clock)
    seen = [seeing.observe(None) for clock[0] in (100.0, 105.0, 110.0, 115.0)]
    assert [one.problem for one in seen] == [None] * 4
    lengths = [one.window.length_s if one.window else None for one in seen]
    assert lengths == [None, 5.0, None, 7.0]


def switching(*, running: Experiment | None) -> tuple[Observer, MemoryTarget, list[float]]:
    """Settings 1, then 2, then 1 again, each seen once and with a request that 1 serves late."""
    clock = [100.0]
    memory = MemoryTarget({"k": 1}, {"k": Capability(IntRange(1, 9))}, lambda: clock[0])
    seeing = Observer(memory, Scrapes(*[None] * 9), SLO_1S, Horizon(60.0, 60.0))
    for number, k in enumerate((1, 2, 1), start=1):
        if number > 1:
            memory.apply(Settings({"k": k}), memory.read_settings(), "a test")
        memory.finish(request(clock[0] - 1.0, (number, number), ttft_s=1.5 if k == 1 else 0.5))
        clock[0] += 5.0
        seeing.observe(running)
    return seeing, memory, clock


def test_slots_of_a_test_that_ran_the_settings_in_force_tell_of_them() -> None:
    seeing, _, _ = switching(running=None)
    traffic = seeing.observe(None).traffic
    assert traffic is not None
    assert (traffic.requests, traffic.attainment) == (2, 0.0)


def test_generations_of_a_split_test_tell_of_no_settings() -> None:
    one = Settings({"k": 1})
    test = Experiment("e", "t", one, one, Plan(design=Design.SPLIT), 1, 0.0)
    seeing, _, _ = switching(running=test)
    traffic = seeing.observe(None).traffic
    assert traffic is not None
    assert traffic.requests == 1  # of the generation that runs


def test_generations_of_another_boot_are_other_ones() -> None:
    seeing, memory, clock = switching(running=None)
    memory.restart()
    memory.finish(request(clock[0] - 1.0, (1, 1)))
    traffic = seeing.observe(None).traffic
    assert traffic is not None
    assert (traffic.requests, traffic.attainment) == (1, 1.0)


def test_energy_read_between_two_scrapes_of_the_server_is_not_lost() -> None:
    """This machine's counters are read in each cycle, the server's page comes when it comes."""

    def read(at: float, joules: float) -> Snapshot:
        return Snapshot(at, {"requests": 0.0}, energy={"rapl": Meter({"package-0": joules})})

    clock = [100.0]
    seeing = observer(Scrapes(read(100, 0), read(100, 300), read(105, 500)), clock)
    seen = [seeing.observe(None) for clock[0] in (100.0, 103.0, 106.0)]
    assert [one.window for one in seen[:2]] == [None, None]
    assert seen[2].window is not None
    assert seen[2].window.energy_j == 500
