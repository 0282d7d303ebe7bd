from __future__ import annotations

import pytest

from autotuner.domain.constraints import Constraint, parse_constraint
from autotuner.domain.errors import InvalidSettingsError
from autotuner.domain.knobs import Knob, KnobSpace

SPACE = KnobSpace(
    (Knob("seqs", (1, 64, 512)), Knob("tokens", (64, 256))),
    (parse_constraint("seqs <= tokens"),),
)


@pytest.mark.parametrize(
    ("text", "constraint"),
    [
        ("max_num_seqs <= max_num_batched_tokens", Constraint(
            ("max_num_seqs",), "<=", "max_num_batched_tokens")),
        ("tp * pp<=8", Constraint(("tp", "pp"), "<=", 8.0)),
        ("share >= 0.5", Constraint(("share",), ">=", 0.5)),
    ],
)  # fmt: skip
def test_a_constraint_is_read_from_text_and_told_again(text: str, constraint: Constraint) -> None:
    assert parse_constraint(text) == constraint
    assert parse_constraint(str(constraint)) == constraint


@pytest.mark.parametrize(
    "text",
    ["", "a", "a < b", "a <= ", "<= b", "a + b <= c", "a <= b <= c", "a <= b * c", "1 <= a",
     "a == b", "__import__('os') <= 1", "a <= 1x"],
)  # fmt: skip
def test_what_is_no_constraint_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is no constraint: write one such as"):
        parse_constraint(text)


def test_a_product_is_compared() -> None:
    eight = parse_constraint("tp * pp * dp <= 8")
    assert eight.holds({"tp": 2, "pp": 2, "dp": 2})
    assert not eight.holds({"tp": 4, "pp": 2, "dp": 2})
    assert eight.knobs == ("tp", "pp", "dp")


def test_words_and_switches_have_no_size() -> None:
    assert not parse_constraint("a <= 8").holds({"a": "fcfs"})
    assert not parse_constraint("a >= 0").holds({"a": True})


def test_settings_that_break_a_constraint_are_invalid() -> None:
    SPACE.validate({"seqs": 64, "tokens": 64})
    with pytest.raises(InvalidSettingsError, match=r"seqs=512, tokens=256 break .*seqs <= tokens"):
        SPACE.validate({"seqs": 512, "tokens": 256})


def test_settings_that_lack_a_knob_say_nothing_of_it() -> None:
    parse_constraint("seqs <= tokens").check({"seqs": 512})
