"""The policies for vLLM and SGLang: they load, and what they span can be run."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from autotuner.abtest.planning import restarts_fit, with_restarts
from autotuner.agent.candidates import Openings
from autotuner.config import Policy, load_policy
from autotuner.domain.errors import InvalidSettingsError
from autotuner.domain.ports import ProposalContext, Workload
from autotuner.proxy.engines.kinds.sglang import SGLANG
from autotuner.proxy.engines.kinds.vllm import VLLM
from autotuner.resources import resource_folder

LIVE = {"max_concurrency": (1, 4096), "max_queue": (0, 65536)}
KINDS = {"vllm": VLLM, "sglang": SGLANG}
# vLLM's and SGLang's own defaults on a GPU of 80 GiB, with the proxy's.
DEFAULTS = {
    "vllm": {"max_num_seqs": 1024, "max_num_batched_tokens": 8192, "gpu_memory_utilization": 0.92},
    "sglang": {
        "max_running_requests": 1024,
        "chunked_prefill_size": 8192,
        "max_prefill_tokens": 16384,
        "mem_fraction_static": 0.86,
        "schedule_conservativeness": 1.0,
    },
}


@pytest.fixture(params=["vllm", "sglang"])
def policy(request: pytest.FixtureRequest) -> Policy:
    return load_policy(request.param, resource_folder("policies"))


def test_every_knob_is_one_of_the_server_or_of_the_proxy(policy: Policy) -> None:
    flags = KINDS[policy.name].flags
    for name, knob in policy.knobs.items():
        least, greatest = LIVE[name] if knob.live else (
            flags[name].knob.least, flags[name].knob.greatest
        )  # fmt: skip
        assert least is not None
        assert greatest is not None
        levels = [float(level) for level in knob.levels]
        assert least <= min(levels)
        assert max(levels) <= greatest


def test_what_changes_answers_is_left_out(policy: Policy) -> None:
    flags = KINDS[policy.name].flags
    assert not any(flags[name].knob.changes_answers for name in policy.knobs if name in flags)
    assert "quality" not in {rail.measure for rail in policy.experiment.guardrails}


def test_memory_is_told_of_what_takes_it(policy: Policy) -> None:
    told = {name: knob.memory for name, knob in policy.knobs.items() if knob.memory}
    assert {name for name, kind in told.items() if kind == "reserved"} <= {
        "gpu_memory_utilization", "mem_fraction_static",
    }  # fmt: skip
    assert {"max_num_seqs", "max_running_requests"} & {
        name for name, kind in told.items() if kind == "working"
    }


def test_the_servers_own_defaults_are_levels_that_keep_the_constraints(policy: Policy) -> None:
    space = policy.space()
    settings = {**DEFAULTS[policy.name], "max_concurrency": 4096, "max_queue": 256}
    space.validate(space.restrict(settings))


def test_what_breaks_a_constraint_is_found_among_the_levels_and_refused(policy: Policy) -> None:
    space = policy.space()
    (constraint,) = space.constraints
    names = list(policy.knobs)
    held = dict(zip(names, (knob.levels[-1] for knob in policy.knobs.values()), strict=True))
    space.validate(held)
    few = {name: policy.knobs[name].levels for name in constraint.knobs}
    broken = [
        {**held, **dict(zip(few, levels, strict=True))}
        for levels in product(*few.values())
        if not constraint.holds(dict(zip(few, levels, strict=True)))
    ]
    assert broken
    for settings in broken:
        with pytest.raises(InvalidSettingsError, match="break the policy's constraint"):
            space.validate(settings)


def test_whatever_is_drawn_can_be_run(policy: Policy) -> None:
    space = policy.space()
    start = space.restrict({**DEFAULTS[policy.name], "max_concurrency": 4096, "max_queue": 256})
    openings = Openings.of(
        ProposalContext(space, start, policy.slo.to_domain(), Workload(5.0), None, 0.8)
    )
    assert openings is not None
    rng = np.random.default_rng(0)
    for _ in range(200):
        drawn = openings.draw(rng)
        assert drawn is not None
        space.validate(drawn)
        assert space.within_step(start, drawn)


def test_restarts_of_three_minutes_fit_into_the_budget_and_half_an_hour_does_not(
    policy: Policy,
) -> None:
    plan = policy.experiment.to_domain()
    assert restarts_fit(with_restarts(plan, 180.0), plan.budget_s) is None
    refused = restarts_fit(with_restarts(plan, 1800.0), plan.budget_s)
    assert refused is not None
    assert "raise max_pairs or slot_s" in refused
