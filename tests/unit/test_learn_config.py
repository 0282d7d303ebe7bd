"""The section `learn`: what is refused, and what a test of weights changes of its policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autotuner.config import LearnConfig, TrainingConfig, parse_config, parse_policy
from autotuner.domain.errors import ConfigError
from autotuner.finetune.training.plan import TrainingPlan

TARGET = {"name": "chat", "url": "http://127.0.0.1:8000"}
LEARN = {"folder": "/var/lib/learn", "adapters": "/srv/adapters"}


def learn(targets: tuple[dict[str, str], ...] = (TARGET,), **changes: Any) -> LearnConfig:
    config = parse_config({"targets": list(targets), "learn": {**LEARN, **changes}})
    assert config.learn is not None
    return config.learn


def test_it_is_off_unless_asked_for() -> None:
    assert parse_config({"targets": [TARGET]}).learn is None
    assert learn().inbox_folder == Path("/var/lib/learn/inbox")
    assert learn(at=["18:30", "02:00", "02:00"]).at == ("02:00", "18:30")


def test_a_test_of_weights_judges_answers_unless_said_otherwise() -> None:
    told = learn(experiment={"max_pairs": 20}).test_changes()
    assert (told["outcome"], told["probe_items"], told["max_pairs"]) == ("quality", 32, 20)
    assert learn(experiment={"outcome": "feedback"}).test_changes()["outcome"] == "feedback"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"at": ["25:00"]}, r"learn.at=\['25:00'\]: .*give times of the day such as 02:00"),
        ({"at": []}, "no time: give times of the day"),
        ({"experiment": {"outcome": "e2el"}}, "weights are kept for better answers"),
        ({"replay": 1.0}, "learn.replay=1.0"),
        ({"share": 0}, "learn.share=0"),
        ({"training": {"rank": 0}}, "learn.training.rank=0"),
        ({"inboxes": "x"}, "learn.inboxes: unknown key"),
        ({"target": "other"}, "learn.target='other': unknown; give one of chat"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        learn(**changes)


def test_of_several_targets_one_is_named() -> None:
    other = {"name": "code", "url": "http://127.0.0.1:8001"}
    with pytest.raises(ConfigError, match=r"learn\.target: needed, since there are several"):
        learn((TARGET, other))
    assert learn((TARGET, other), target="code").target == "code"


def test_the_training_s_keys_are_those_of_a_plan() -> None:
    plan = TrainingPlan(**TrainingConfig().model_dump(), share=0.25)
    plan.check()
    unset = {name: getattr(TrainingPlan(), name) for name in TrainingConfig.model_fields}
    assert TrainingConfig().model_dump() == unset


def test_an_open_knob_has_texts() -> None:
    policy = {"name": "p", "slo": {"ttft_s": 1}}
    with pytest.raises(ConfigError, match=r"open=true needs levels that are texts: \[1, 2\]"):
        parse_policy({**policy, "knobs": {"a": {"levels": [1, 2], "open": True}}})
