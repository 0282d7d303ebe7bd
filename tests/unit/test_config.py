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
    read_secret,
)
from autotuner.domain.errors import ConfigError
from autotuner.domain.knobs import Settings
from autotuner.domain.mode import Mode
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


def test_a_secret_file_holds_one_line(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("  abc-DEF\n")
    assert read_secret(file, "f") == "abc-DEF"
    assert read_secret(file, "f", for_header=True) == "abc-DEF"
    file.write_text("schlüssel zwei\n")
    assert read_secret(file, "f") == "schlüssel zwei"
    assert read_secret(None, "f") is None


@pytest.mark.parametrize(
    ("content", "for_header", "told"),
    [
        (b"", False, "must hold one line"),
        (b"\n", True, "must hold one line"),
        (b"a\nb", False, "must hold one line"),
        (b"two words", True, "one word of ASCII"),
        ("schlüssel".encode(), True, "one word of ASCII"),
        (b"\xff\xfe", False, "not UTF-8"),
    ],
)
def test_a_file_without_a_usable_secret_is_refused(
    tmp_path: Path, content: bytes, for_header: bool, told: str
) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=told) as caught:
        read_secret(file, "targets.a.admin_token_file", for_header=for_header)
    assert str(caught.value).startswith("targets.a.admin_token_file=")
    assert "words" not in str(caught.value)


def test_a_secret_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.txt'?: can't be read"):
        read_secret(tmp_path / "none.txt", "f")


def test_a_targets_mode_is_one_of_three() -> None:
    target = {"name": "a", "url": "http://x"}
    assert parse_config({"targets": [target]}).targets[0].mode is Mode.ACTIVE
    advised = parse_config({"targets": [{**target, "mode": "advisory"}]})
    assert advised.targets[0].mode is Mode.ADVISORY
    with pytest.raises(ConfigError, match=r"targets\.0\.mode='off'"):
        parse_config({"targets": [{**target, "mode": "off"}]})


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
