"""Configuration and policies: what is refused, and how the refusal reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autotuner.config import (
    json_schema,
    load_config,
    load_policy,
    parse_config,
    parse_policy,
)
from autotuner.domain.errors import ConfigError
from autotuner.domain.knobs import Settings
from autotuner.resources import resource_folder

POLICIES = resource_folder("policies")


def config(**changes: Any) -> dict[str, Any]:
    return {"targets": [{"name": "a", "url": "http://127.0.0.1:8000"}], **changes}


def policy(**changes: Any) -> dict[str, Any]:
    return {"name": "p", "slo": {"ttft_s": 1.0}, "knobs": {"k": {"levels": [1, 2]}}, **changes}


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (config(cycel_s=1), "cycel_s: unknown key"),
        (config(cycle_s=0), "cycle_s=0"),
        (config(targets=[]), "targets=[]"),
        ({}, "targets: missing"),
        (config(targets=[{"name": "a b", "url": "http://x"}]), "targets.0.name='a b'"),
        (config(targets=[{"name": "a", "url": "ftp://x"}]), "targets.0.url='ftp://x'"),
        (config(targets=[{"name": "a", "url": "http://x"}] * 2), "share a name"),
        ([1], "expected keys and values"),
    ],
)
def test_a_bad_configuration_names_field_and_value(data: Any, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_config(data)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (policy(slo={}), "no target: give at least one"),
        (policy(knobs={"k": {"levels": [2, 1]}}), "levels must rise"),
        (policy(knobs={"k": {"levels": [1, 1]}}), "levels repeat"),
        (policy(knobs={}), "knobs={}"),
        (policy(experiment={"max_pairs": 6}), "experiment.max_pairs=6"),
        (policy(experiment={"slot_s": 5, "cooldown_s": 5}), "shorten it"),
        (policy(experiment={"washout_min_s": 60}), "is above washout_max_s"),
        (policy(alerts=[{"name": "x", "series": "s"}]), "exactly one of above, below"),
    ],
)
def test_a_bad_policy_names_field_and_value(data: Any, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_policy(data)
    assert told in str(error.value)


def test_every_shipped_policy_can_be_used() -> None:
    for path in POLICIES.glob("*.yaml"):
        shipped = load_policy(path.stem, POLICIES)
        assert shipped.space().size() > 1
        assert shipped.experiment.to_domain().alpha == pytest.approx(0.05)


def test_an_unknown_policy_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="default"):
        load_policy("defualt", POLICIES)
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(tmp_path / "bad.yaml")
    with pytest.raises(ConfigError, match="can't be read"):
        load_config(tmp_path / "absent.yaml")


def test_the_schema_knows_every_key() -> None:
    schema = json_schema()
    assert set(schema) == {"config", "policy"}
    assert "cycle_s" in schema["config"]["properties"]


def test_levels_become_a_space_in_the_policys_order() -> None:
    space = parse_policy(
        policy(knobs={"b": {"levels": [1, 2]}, "a": {"levels": ["x", "y"]}})
    ).space()
    assert space.names == ("b", "a")
    assert space.at((1, 0)) == Settings({"a": "x", "b": 2})
