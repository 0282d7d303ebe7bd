"""What `init` writes can be read back, whatever the names are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from autotuner.abtest.planning import restarts_fit, with_restarts
from autotuner.config import load_policy, parse_config, parse_policy
from autotuner.onboarding.levels import SloHint, knob_lines
from autotuner.onboarding.texts import Wanted, config_text, policy_text
from autotuner.resources import resource_folder
from autotuner.targets.capabilities import Capability, Choices, IntRange, check_space

OFFERED = {
    "max_num_seqs": Capability(IntRange(1, 256)),
    "schedule_policy": Capability(Choices(("fcfs", "length-grouped"))),
    "weight_dtype": Capability(Choices(("float32", "int8")), False, True),
    "memory_efficient": Capability(Choices((False, True))),
    "odd": Capability(Choices(("on", "no", "1e3", "a: b"))),
}
WANTED = Wanted("http://h:1", "chat", "sqlite:///a.sqlite3", "policy.yaml", SloHint(1.5, 0.15))


@pytest.mark.parametrize("quick", [False, True])
def test_a_policy_parses_and_fits_the_target(quick: bool) -> None:
    text = policy_text(replace(WANTED, quick=quick), knob_lines(OFFERED, {"max_num_seqs": 20}))
    policy = parse_policy(yaml.safe_load(text))
    assert set(policy.knobs) == {"max_num_seqs", "schedule_policy"}
    assert 20 in policy.knobs["max_num_seqs"].levels
    assert policy.experiment.slot_s == (12 if quick else 60)
    check_space(policy.space(), OFFERED)


def test_the_knobs_that_are_commented_out_fit_once_taken_in() -> None:
    text = policy_text(WANTED, knob_lines(OFFERED, {}))
    begin = text.index("# The target has these too")
    end = text.index("# Candidates are tested")
    taken_in = "".join(
        f"{line.replace('  # ', '  ', 1)}\n" for line in text[begin:end].splitlines()[1:]
    )
    policy = parse_policy(yaml.safe_load(text[:begin] + "\n" + taken_in + text[end:]))
    assert set(policy.knobs) == set(OFFERED)
    assert list(policy.knobs["odd"].levels) == ["on", "no", "1e3", "a: b"]
    check_space(policy.space(), OFFERED)


def test_a_configuration_keeps_odd_words() -> None:
    odd = replace(WANTED, history='sqlite:///a "b".db', token_file=Path("/a: b/#t"))
    config = parse_config(yaml.safe_load(config_text(odd)))
    assert config.history == 'sqlite:///a "b".db'
    assert config.targets[0].admin_token_file == Path("/a: b/#t")
    assert config.targets[0].mode == "active"


def test_a_server_that_cannot_be_tuned_yet_is_paused_and_says_so() -> None:
    text = config_text(replace(WANTED, tunable=False, server="vLLM", policy="default"))
    assert parse_config(yaml.safe_load(text)).targets[0].mode == "paused"
    assert "This is vLLM without `autotuner proxy` in front of it" in text


ENGINE = {
    "max_num_seqs": Capability(IntRange(1, 256), live=False),
    "max_num_batched_tokens": Capability(IntRange(1, 8192), live=False),
    "max_concurrency": Capability(IntRange(1, 4096)),
}


@pytest.mark.parametrize("quick", [False, True])
def test_a_policy_of_a_proxied_server_says_what_its_knobs_owe_each_other(quick: bool) -> None:
    shipped = load_policy("vllm", resource_folder("policies"))
    lines = knob_lines(ENGINE, {"max_num_seqs": 256}, shipped.knobs)
    wanted = replace(WANTED, quick=quick, proxied=True, server="vLLM")
    policy = parse_policy(yaml.safe_load(policy_text(wanted, lines, shipped.constraints)))
    assert policy.constraints == shipped.constraints
    assert policy.knobs["max_num_seqs"].memory == "working"
    assert policy.knobs["max_concurrency"].live
    assert policy.proposer.kind == "tpe"
    # Ten restarts to a slot, seven pairs: half a minute fits even into quick tests.
    plan = policy.experiment.to_domain()
    assert restarts_fit(with_restarts(plan, 30.0), plan.budget_s) is None


def test_live_knobs_alone_keep_the_usual_slots() -> None:
    live = {"max_concurrency": ENGINE["max_concurrency"]}
    shipped = load_policy("vllm", resource_folder("policies"))
    text = policy_text(replace(WANTED, proxied=True), knob_lines(live, {}, shipped.knobs))
    assert parse_policy(yaml.safe_load(text)).experiment.slot_s == 60


def test_a_promise_by_the_mean_gap_says_why() -> None:
    slo = SloHint(1.5, 0.15, tpot_s=0.03, doubts=("an event has 3.0 tokens",))
    text = policy_text(replace(WANTED, slo=slo), knob_lines(OFFERED, {}))
    policy = parse_policy(yaml.safe_load(text))
    assert (policy.slo.tpot_s, policy.slo.gap_max_s) == (0.03, None)
    assert "# Mind: an event has 3.0 tokens." in text
