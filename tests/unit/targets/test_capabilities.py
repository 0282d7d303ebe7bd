from __future__ import annotations

import pytest

from autotuner.domain.errors import ConfigError
from autotuner.domain.knobs import Knob, KnobSpace, Value
from autotuner.targets.capabilities import Capability, Choices, FloatRange, IntRange, check_space

OFFERED = {
    "max_num_seqs": Capability(IntRange(1, 64)),
    "schedule_policy": Capability(Choices(("fcfs", "length-grouped"))),
    "weight_dtype": Capability(Choices(("float32", "int8")), live=False, changes_answers=True),
}


def check(*knobs: Knob) -> None:
    check_space(KnobSpace(knobs), OFFERED)


def test_a_policy_within_the_target_is_fine() -> None:
    check(
        Knob("max_num_seqs", (1, 8, 64)),
        Knob("schedule_policy", ("fcfs",)),
        Knob("weight_dtype", ("float32", "int8"), live=False, changes_answers=True),
    )


def test_an_open_knob_may_name_what_the_target_does_not_have_yet() -> None:
    levels = ("float32", "of-tomorrow")
    check(Knob("weight_dtype", levels, live=False, changes_answers=True, open=True))
    with pytest.raises(ConfigError, match="it changes answers"):
        check(Knob("weight_dtype", levels, live=False, open=True))


@pytest.mark.parametrize(
    ("knob", "said"),
    [
        (Knob("threads", (1, 2)), r"knobs\.threads: the target does not have this knob"),
        (
            Knob("max_num_seqs", (1, 128)),
            r"knobs\.max_num_seqs\.levels=\[1, 128\]: the target refuses \[128\]; "
            "it accepts whole numbers from 1 to 64",
        ),
        (Knob("schedule_policy", ("fcfs", "lpm")), "accepts one of fcfs, length-grouped"),
        (
            Knob("weight_dtype", ("int8",), live=True, changes_answers=True),
            r"knobs\.weight_dtype\.live=True: .* set live: false",
        ),
        (
            Knob("weight_dtype", ("int8",), live=False),
            "set changes_answers: true so that answer quality is guarded",
        ),
    ],
)
def test_what_the_target_can_not_do_names_the_knob_and_the_fix(knob: Knob, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check(knob)


@pytest.mark.parametrize("value", [True, 1.5, "8", 0, 65])
def test_only_whole_numbers_in_range_are_accepted(value: Value) -> None:
    assert not IntRange(1, 64).accepts(value)


@pytest.mark.parametrize(("value", "taken"), [(0.5, True), (1, True), (0.4, False), (True, False)])
def test_numbers_in_range_are_accepted_whole_or_not(value: Value, taken: bool) -> None:
    share = FloatRange(0.5, 1.0)
    assert share.accepts(value) == taken
    assert share.describe() == "numbers from 0.5 to 1"


def test_true_is_not_one() -> None:
    assert Choices((False, True)).accepts(True)
    assert not Choices((False, True)).accepts(1)
