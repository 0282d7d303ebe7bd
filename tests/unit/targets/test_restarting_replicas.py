"""What several replicas tell of restarts and failures, as one target."""

from __future__ import annotations

import math
from dataclasses import replace

from autotuner.domain.feasibility import EngineFault, Fault
from autotuner.domain.knobs import Settings
from autotuner.domain.ports import LiveSettings
from autotuner.targets.capabilities import Capability, Choices, FloatRange, IntRange
from autotuner.targets.replicas import as_one, common_capabilities

ONE = LiveSettings(Settings({"k": 1}), 3, "a", 90.0, 100.0, server="vllm")
TWO = replace(ONE, boot_id="b", now=140.0)


def fault(at: float) -> EngineFault:
    return EngineFault(at, Fault.HUNG, "", {"k": 1}, f"1@{at}")


def joined(one: LiveSettings, two: LiveSettings, offset: float = 40.0) -> LiveSettings:
    return as_one([one, two], [0.0, offset], 6, 0)


def test_the_whole_restarts_while_one_does_and_takes_as_long_as_the_slowest() -> None:
    assert joined(ONE, TWO).rebuilding is None
    assert math.isnan(joined(ONE, TWO).restart_s)
    whole = joined(replace(ONE, restart_s=20.0), replace(TWO, rebuilding={"k": 2}, restart_s=30.0))
    assert whole.rebuilding == {"k": 2}
    assert whole.restart_s == 30.0
    assert whole.server == "vllm"


def test_failures_are_on_the_first_clock_and_stay_themselves_as_clocks_are_read() -> None:
    one, two = replace(ONE, faults=(fault(95.0),)), replace(TWO, faults=(fault(95.0), fault(130.0)))
    whole = joined(one, two)
    assert [f.at for f in whole.faults] == [55.0, 90.0, 95.0]
    assert len({f.id for f in whole.faults}) == 3
    later = joined(one, two, offset=40.01)
    assert {f.id for f in later.faults} == {f.id for f in whole.faults}


def test_ranges_of_numbers_are_cut_to_what_both_accept() -> None:
    def both(one: FloatRange, other: FloatRange | IntRange | Choices) -> object:
        found = common_capabilities([{"k": Capability(one)}, {"k": Capability(other)}])
        return found["k"].accepted if found else None

    assert both(FloatRange(0.1, 0.9), FloatRange(0.5, 1.0)) == FloatRange(0.5, 0.9)
    assert both(FloatRange(0.1, 0.3), FloatRange(0.5, 1.0)) is None
    assert both(FloatRange(0.1, 0.9), IntRange(0, 1)) is None
