"""The budget's gauges: every window, and not-a-number for what is not judged yet."""

from __future__ import annotations

import math

import pytest

from autotuner.domain.availability import Ledger, Tally
from autotuner.domain.error_budget import AvailabilityGoal, budget_of
from autotuner.instruments import Instruments

NOW = 1_764_000_000.0


def read(instruments: Instruments, name: str, **labels: str) -> float | None:
    return instruments.registry.get_sample_value(f"autotuner_{name}", {"target": "t", **labels})


def test_they_tell_each_window_and_what_is_left() -> None:
    ledger, goal, instruments = Ledger(30 * 86400.0), AvailabilityGoal(), Instruments()
    ledger.add(NOW - 7200, Tally(99_000, 0))
    ledger.add(NOW - 60, Tally(1000, 20))
    instruments.budget.show("t", None)
    assert read(instruments, "error_budget_remaining_ratio") is None
    instruments.budget.show("t", budget_of(ledger, goal, NOW))
    assert read(instruments, "error_budget_remaining_ratio") == pytest.approx(0.6)
    assert read(instruments, "availability_ratio", window="30d") == pytest.approx(0.9998)
    for window in ("5m", "30m", "1h"):
        assert read(instruments, "availability_ratio", window=window) == pytest.approx(0.98)
        assert read(instruments, "error_budget_burn_rate", window=window) == pytest.approx(40)
    assert read(instruments, "error_budget_burn_rate", window="6h") == pytest.approx(0.4)


def test_too_few_requests_are_no_number() -> None:
    instruments = Instruments()
    instruments.budget.show("t", budget_of(Ledger(30 * 86400.0), AvailabilityGoal(), NOW))
    for name, labels in (
        ("error_budget_remaining_ratio", {}),
        ("availability_ratio", {"window": "30d"}),
        ("error_budget_burn_rate", {"window": "1h"}),
    ):
        value = read(instruments, name, **labels)
        assert value is not None
        assert math.isnan(value)
