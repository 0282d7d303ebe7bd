"""Availability and the error budget as Prometheus gauges, over the windows that alerts look at."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge

from autotuner.domain.error_budget import WINDOWS_S, ErrorBudget


class BudgetGauges:
    """One set for all targets; not-a-number where nothing was asked, or is judged yet."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._availability = Gauge(
            "autotuner_availability_ratio",
            "Share of requests that were served, 0..1, by window",
            ["target", "window"],
            registry=registry,
        )
        self._remaining = Gauge(
            "autotuner_error_budget_remaining_ratio",
            "Share of the error budget that is left: 1 untouched, 0 spent, below 0 overdrawn",
            ["target"],
            registry=registry,
        )
        self._burn = Gauge(
            "autotuner_error_budget_burn_rate",
            "Failed share over the share that may fail, by window; 1 spends the budget in time",
            ["target", "window"],
            registry=registry,
        )

    def show(self, target: str, budget: ErrorBudget | None) -> None:
        """None, where no budget is kept or nothing is known yet, changes nothing."""
        if budget is None:
            return
        self._availability.labels(target, budget.window_name).set(budget.availability)
        self._remaining.labels(target).set(budget.remaining)
        for window in WINDOWS_S:
            self._availability.labels(target, window).set(budget.availability_in(window))
            self._burn.labels(target, window).set(budget.burn_rate(window))
