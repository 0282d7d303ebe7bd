"""Constraints as a policy has them: what is refused, and what becomes of the rest."""

from __future__ import annotations

from typing import Any

import pytest

from autotuner.config import parse_policy
from autotuner.domain.errors import ConfigError, InvalidSettingsError

POLICY: dict[str, Any] = {
    "name": "p",
    "slo": {"ttft_s": 1},
    "knobs": {
        "seqs": {"levels": [8, 64], "live": False, "memory": "working"},
        "tokens": {"levels": [32, 128], "memory": "reserved"},
        "order": {"levels": ["fcfs", "lpm"]},
    },
}


def test_a_constraint_becomes_a_part_of_the_space() -> None:
    space = parse_policy({**POLICY, "constraints": ["seqs <= tokens"]}).space()
    assert list(map(str, space.constraints)) == ["seqs <= tokens"]
    assert [knob.memory for knob in space] == ["working", "reserved", None]
    space.validate({"seqs": 64, "tokens": 128, "order": "fcfs"})
    with pytest.raises(InvalidSettingsError, match="`seqs <= tokens`"):
        space.validate({"seqs": 64, "tokens": 32, "order": "fcfs"})


@pytest.mark.parametrize(
    ("constraint", "told"),
    [
        ("seqs < tokens", "'seqs < tokens' is no constraint: write one such as"),
        ("seqs <= width", "names width, which is no knob of this policy: put its value there"),
        ("order >= 1", "compares order, whose levels are no numbers"),
    ],
)
def test_a_bad_constraint_is_refused_with_the_fix(constraint: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_policy({**POLICY, "constraints": [constraint]})
    assert told in str(refused.value)


def test_a_kind_of_memory_is_one_of_two() -> None:
    knobs = {"seqs": {"levels": [8, 64], "memory": "some"}}
    with pytest.raises(ConfigError, match="memory"):
        parse_policy({**POLICY, "knobs": knobs})
