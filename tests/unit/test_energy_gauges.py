"""The daemon's own metrics of energy: what is added up, over what, and when nothing is said."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
from prometheus_client import CollectorRegistry

from autotuner.domain.energy import POWER, Joules
from autotuner.domain.telemetry import Window
from autotuner.energy_gauges import EnergyGauges

RAPL = {"rapl": Joules(500.0)}


def window(
    end: float, energy: Mapping[str, Joules], tokens: float = 100.0, requests: float = 4.0
) -> Window:
    return Window(end - 10, end, requests, {"generation_tokens": tokens / 10}, energy=energy)


def shown(*windows: Window | None) -> CollectorRegistry:
    registry = CollectorRegistry()
    gauges = EnergyGauges(registry)
    for one in windows:
        gauges.show("chat", one)
    return registry


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"autotuner_energy_{name}", {"target": "chat", **labels})


def test_joules_by_source_and_what_a_token_and_a_request_took() -> None:
    both = {**RAPL, "nvml": Joules(1500.0, POWER)}
    seen = shown(window(10, both), None, window(20, both))
    assert value(seen, "joules_total", source="rapl") == 1000
    assert value(seen, "joules_total", source="nvml_power") == 3000
    assert value(seen, "joules_per_token") == 20
    assert value(seen, "joules_per_request") == 500


def test_idle_time_is_in_the_total_and_in_what_tokens_of_that_minute_took() -> None:
    idle = window(20, RAPL, 0, 0)
    seen = shown(window(10, RAPL), idle)
    assert value(seen, "joules_total", source="rapl") == 1000
    assert value(seen, "joules_per_token") == 10
    # A minute later nobody was served: what a token took is not known, the energy is.
    later = shown(window(10, RAPL), *(window(end, RAPL, 0, 0) for end in range(20, 80, 10)))
    assert value(later, "joules_total", source="rapl") == 3500
    assert math.isnan(value(later, "joules_per_token") or 0.0)


def test_a_window_without_all_of_its_energy_is_left_out_with_its_tokens() -> None:
    partly = {**RAPL, "gpu": Joules(math.nan)}
    seen = shown(window(10, RAPL), window(20, partly, tokens=9e9))
    assert value(seen, "joules_total", source="rapl") == 1000  # which was measured all the same
    assert value(seen, "joules_total", source="gpu") is None
    assert value(seen, "joules_per_token") == pytest.approx(5)


def test_a_target_that_nothing_measures_has_no_series() -> None:
    seen = shown(window(10, {}), None)
    assert value(seen, "joules_per_token") is None
