"""What a number of devices costs, draws and gives for it, and which plan is best by a goal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from autotuner.planner.demand import Demand
from autotuner.planner.hardware import Device
from autotuner.planner.performance import Replica
from autotuner.planner.playing import Played
from autotuner.planner.sizing import Expected

HOURS_PER_YEAR = 8766.0


class Aim(StrEnum):
    """What plans are sorted by, the least first."""

    COST = "cost"
    ENERGY = "energy"
    DEVICES = "devices"
    LATENCY = "latency"


@dataclass(frozen=True)
class Terms:
    """`owned`: devices are bought for `years`, not rented by the hour.

    `pue`: the site's energy over the devices' (power usage effectiveness). Chosen, US dollars.
    """

    owned: bool = False
    years: float = 3.0
    pue: float = 1.3
    energy_price_per_kwh: float = 0.12


@dataclass(frozen=True)
class Costs:
    """Money in the table's currency. Per million OUTPUT tokens, prompts' work included."""

    devices: int
    power_w: float  # of the devices, on average
    per_hour: float
    per_million_tokens: float
    kwh_per_million_tokens: float  # at the meter: times PUE
    total_of_ownership: float  # over the years


def costs_of(
    device: Device, replica: Replica, found: Expected, demand: Demand, terms: Terms
) -> Costs | None:
    """None where devices shall be owned and the table has no price for it."""
    if terms.owned and device.purchase_price is None:
        return None
    devices = found.replicas * replica.layout.devices
    # Sized for the peak, but drawn by the mean: the share of busy time follows the rate.
    busy = found.busy * demand.mean_rps / demand.peak_rps
    full_w = device.idle_w + (device.tdp_w - device.idle_w) * replica.efficiency.busy
    power_w = devices * (device.idle_w + (full_w - device.idle_w) * busy)
    kw_at_meter = power_w / 1000 * terms.pue
    hours = terms.years * HOURS_PER_YEAR
    if terms.owned:
        bought = devices * (device.purchase_price or 0.0)
        total = bought + kw_at_meter * hours * terms.energy_price_per_kwh
    else:  # a rent includes its energy
        total = devices * device.price_per_hour * hours
    million_per_hour = demand.mean_rps * demand.mean_output_tokens * 3600 / 1e6
    return Costs(
        devices=devices,
        power_w=power_w,
        per_hour=total / hours,
        per_million_tokens=total / hours / million_per_hour,
        kwh_per_million_tokens=kw_at_meter / million_per_hour,
        total_of_ownership=total,
    )


@dataclass(frozen=True)
class Plan:
    """One device type, layout and precision that serve the traffic."""

    device_name: str
    replica: Replica
    expected: Expected
    costs: Costs
    played: Played | None = None  # None: not played yet

    def measure(self, aim: Aim) -> tuple[float, ...]:
        """Least is best; equals by cost."""
        first = {
            Aim.COST: self.costs.per_million_tokens,
            Aim.ENERGY: self.costs.kwh_per_million_tokens,
            Aim.DEVICES: float(self.costs.devices),
            Aim.LATENCY: self.expected.e2el_s,
        }[aim]
        return (first, self.costs.per_million_tokens, float(self.costs.devices))


def by_aim(plans: Iterable[Plan], aim: Aim) -> list[Plan]:
    """The best first."""
    return sorted(plans, key=lambda plan: plan.measure(aim))
