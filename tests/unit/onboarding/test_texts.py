"""What `init` writes can be read back, whatever the names are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from autotuner.config import parse_config, parse_policy
from autotuner.onboarding.levels import SloHint, knob_lines
from autotuner.onboarding.texts import Wanted, config_text, policy_text
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
    assert "This is vLLM, whose tuning is not built in yet" in text
