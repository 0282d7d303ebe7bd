"""The whole question: each device, precision and layout; what fits, what serves the traffic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from autotuner.planner.architecture import Architecture
from autotuner.planner.costing import Aim, Plan, Terms, by_aim, costs_of
from autotuner.planner.demand import Demand
from autotuner.planner.hardware import Device
from autotuner.planner.memory import Layout, Memory, Storage, layouts_for, memory_of
from autotuner.planner.performance import Replica
from autotuner.planner.playing import played
from autotuner.planner.precision import Precision
from autotuner.planner.sizing import size, with_replicas

# Chosen: at most about 2.6 times what the analytic model says.
_MOST_TRIES = 8
_MORE = 1.1


@dataclass(frozen=True)
class Fit:
    """The fewest devices that hold a model and one request, on one device type.

    `layout`, `memory`: of these; where nothing fits, those that come nearest, and `fits` is False.
    """

    device_name: str
    device: Device
    storage: Storage
    layout: Layout
    memory: Memory
    fits: bool


def fit_of(
    name: str, model: Architecture, device: Device, storage: Storage, context_tokens: int
) -> Fit | None:
    """None where the device can't compute in a type that serves."""
    if device.flops_per_s(storage.weights) is None:
        return None
    found = [(one, memory_of(model, device, storage, one)) for one in layouts_for(model, device)]
    fitting = [(one, memory) for one, memory in found if memory.fits(context_tokens)]
    if fitting:  # with equally many devices: the most tokens of KV
        layout, memory = min(fitting, key=lambda pair: (pair[0].devices, -pair[1].kv_tokens))
    else:
        layout, memory = max(found, key=lambda pair: pair[1].kv_room)
    return Fit(name, device, storage, layout, memory, bool(fitting))


def fits_of(
    model: Architecture,
    devices: Mapping[str, Device],
    precisions: Sequence[Precision],
    storage: Storage,
    context_tokens: int,
) -> list[Fit]:
    """For each device and precision, in their order."""
    tried = (
        fit_of(name, model, device, replace(storage, weights=precision), context_tokens)
        for name, device in devices.items()
        for precision in precisions
    )
    return [fit for fit in tried if fit is not None]


def plans_of(
    model: Architecture,
    devices: Mapping[str, Device],
    precisions: Sequence[Precision],
    storage: Storage,
    context_tokens: int,
    demand: Demand,
    aim: Aim,
    terms: Terms,
) -> list[Plan]:
    """For each device and precision its best layout by the aim; the best of all first."""
    best = []
    for name, device in devices.items():
        for precision in precisions:
            kept = replace(storage, weights=precision)
            options = _options(name, model, device, kept, context_tokens, demand, terms)
            best += by_aim(options, aim)[:1]
    confirmed = (_confirmed(plan, demand, terms) for plan in best)
    return by_aim((plan for plan in confirmed if plan is not None), aim)


def _confirmed(plan: Plan, demand: Demand, terms: Terms) -> Plan | None:
    """With as many more replicas as the discrete-step simulator asks for.

    The analytic model is too hopeful where batches are nearly full. None where the last try does
    not do either.
    """
    replica, found = plan.replica, plan.expected
    memory = memory_of(replica.model, replica.device, replica.storage, replica.layout)
    for _ in range(_MOST_TRIES):
        seen = played(replica, memory, found, demand)
        if seen.attainment >= demand.attainment:
            costs = costs_of(replica.device, replica, found, demand, terms)
            return None if costs is None else Plan(plan.device_name, replica, found, costs, seen)
        more = with_replicas(replica, memory, demand, math.ceil(found.replicas * _MORE))
        if more is None:
            return None
        found = more
    return None


def _options(
    name: str,
    model: Architecture,
    device: Device,
    storage: Storage,
    context_tokens: int,
    demand: Demand,
    terms: Terms,
) -> list[Plan]:
    """One for each layout that holds the model and keeps the SLO."""
    if device.flops_per_s(storage.weights) is None:
        return []
    options = []
    for layout in layouts_for(model, device):
        memory = memory_of(model, device, storage, layout)
        replica = Replica(model, device, storage, layout)
        if not memory.fits(context_tokens):
            continue
        found = size(replica, memory, demand)
        costs = None if found is None else costs_of(device, replica, found, demand, terms)
        if found is not None and costs is not None:
            options.append(Plan(name, replica, found, costs))
    return options
