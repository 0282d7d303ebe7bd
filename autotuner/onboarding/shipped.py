"""Which knobs a first policy gets: the target's own, with the levels of the policy that ships."""

from __future__ import annotations

from autotuner.config import Policy, load_policy
from autotuner.onboarding.levels import KnobLines, knob_lines
from autotuner.onboarding.probe import PROXY, WORKER, Found
from autotuner.resources import resource_folder
from autotuner.targets.capabilities import Capability, IntRange

# Of every proxy, whatever stands behind it.
_LIVE = {
    "max_concurrency": Capability(IntRange(1, 4096)),
    "max_queue": Capability(IntRange(0, 65536)),
}


def knobs_and_constraints(found: Found) -> tuple[list[KnobLines], list[str]]:
    """The knobs for the policy, and what holds between those that are tuned.

    Of a server without a proxy yet: the knobs that a proxy in front of it will have.
    """
    if found.kind == WORKER:
        return knob_lines(found.capabilities, found.settings), []
    shipped = _policy(found.behind if found.kind == PROXY else found.kind)
    offered = found.capabilities or _LIVE
    knobs = knob_lines(offered, found.settings, shipped.knobs)
    moving = {one.name for one in knobs if one.tuned and len(one.levels) > 1}
    constraints = [str(one) for one in shipped.space().constraints if moving >= {*one.knobs}]
    return knobs, constraints


def _policy(server: str | None) -> Policy:
    """Of a server that is neither, only the live knobs fit, which both policies have."""
    return load_policy("sglang" if server == "sglang" else "vllm", resource_folder("policies"))
