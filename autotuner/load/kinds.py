"""What traffic can be, by name: arrivals, the rate's shape, a trace's format."""

from __future__ import annotations

from enum import StrEnum


class Process(StrEnum):
    """How regular arrivals are at a constant rate."""

    POISSON = "poisson"  # independent arrivals: a coefficient of variation of 1
    GAMMA = "gamma"  # gamma gaps: burstier than Poisson above a coefficient of 1
    CONSTANT = "constant"  # equal gaps


class Shape(StrEnum):
    """How the rate goes over time."""

    STEADY = "steady"
    DIURNAL = "diurnal"
    BURSTY = "bursty"


class TraceFormat(StrEnum):
    """How a trace's file is written."""

    AUTO = "auto"
    AZURE = "azure"
    MOONCAKE = "mooncake"
