"""The engine part of the configuration: what it takes, and what it refuses with a fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autotuner.config.model import parse
from autotuner.domain.errors import ConfigError
from autotuner.proxy.engines.config import EngineConfig
from autotuner.proxy.engines.launchers.envfile import (
    one_variable,
    read_environment,
    words_in,
    write_environment,
)

COMMAND = {"kind": "command", "command": ["vllm", "serve", "M"], "ports": [8001]}
WHOLE = {"kind": "vllm", "settings": {"max_num_seqs": 64}, "launcher": COMMAND}


def test_the_shortest_ones() -> None:
    assert parse(EngineConfig, WHOLE, "f").first_settings() == {"max_num_seqs": 64}
    assert parse(EngineConfig, {"kind": "openai", "url": "http://h:1"}, "f").settings == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"launcher": None}, "give either url"),
        ({"url": "http://h:1"}, "give either url"),
        ({"launcher": None, "url": "http://h:1"}, "settings: without a launcher"),
        ({"mode": "blue_green"}, "two ports"),
        ({"mode": "blue_green", "launcher": {**COMMAND, "ports": [1, 1]}}, "two ports"),
        ({"settings": {"max_num_sequences": 1}}, "not a flag of vllm that is known"),
        ({"settings": {"max_num_seqs": 0}}, "give 1 to"),
        ({"settings": {"max_num_seqs": "64"}}, "give a whole number"),
        ({"settings": {"speculative_config": "{}"}}, "list them under knobs"),
        (
            {"launcher": {**COMMAND, "command": ["vllm", "--max-num-seqs", "1"]}},
            "launcher.command sets max_num_seqs",
        ),
        ({"launcher": {"kind": "docker"}}, "launcher"),
        (
            {"launcher": {"kind": "systemd", "unit": "v@1.service", "ports": [1, 2],
                          "environment_file": "/e"}},
            "two ports need {port}",
        ),
        ({"knobs": {"x": {"type": "int"}}}, "give min and max"),
        ({"knobs": {"x": {"type": "choice"}}}, "give values"),
    ],
)  # fmt: skip
def test_what_is_refused_names_field_and_fix(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match="f:") as refused:
        parse(EngineConfig, {**WHOLE, **change}, "f")
    assert said in str(refused.value)


def test_a_flag_of_ones_own() -> None:
    own = {"new_thing": {"type": "bool", "off": "--no-new-thing"}}
    config = parse(EngineConfig, {**WHOLE, "settings": {"new_thing": False}, "knobs": own}, "f")
    assert config.flags()["new_thing"].written(value=False) == ["--no-new-thing"]


def test_an_environment_file_gives_back_what_was_put_in(tmp_path: Path) -> None:
    words = ["--speculative-config", '{"method": "ngram", "n": 4}', "--x", "a'b $c `d` \\ e"]
    path = tmp_path / "deep" / "file.env"
    write_environment(path, {"FLAGS": one_variable(words), "OTHER": ""})
    found = read_environment(path)
    assert words_in(found["FLAGS"]) == words
    assert found["OTHER"] == ""
    write_environment(path, {"FLAGS": ""})
    assert read_environment(path) == {"FLAGS": ""}
    assert list(path.parent.iterdir()) == [path]


def test_environment_files_that_people_write(tmp_path: Path) -> None:
    path = tmp_path / "e"
    path.write_text('# a comment\n; another\n\nexport A=1\nB=\'two words\'\nC = no\nD="x\\"y"\n')
    assert read_environment(path) == {"A": "1", "B": "two words", "D": 'x"y'}
