"""A knob that other texts may be given to than the policy lists, such as the name of weights."""

from __future__ import annotations

import pytest

from autotuner.domain.errors import InvalidSettingsError
from autotuner.domain.knobs import Knob, KnobSpace, Settings

SPACE = KnobSpace(
    (Knob("max_num_seqs", (8, 16)), Knob("weights", ("base",), live=False, open=True))
)
LIVE = Settings({"max_num_seqs": 8, "weights": "v3"})


def test_any_text_is_a_level_and_nothing_else_is() -> None:
    SPACE.validate(LIVE)
    for wrong in ("", 3, True):
        with pytest.raises(InvalidSettingsError, match="weights"):
            SPACE.validate(LIVE.with_values(weights=wrong))
    with pytest.raises(InvalidSettingsError):
        Knob("weights", ("base",)).index("v3")


def test_who_thinks_of_candidates_leaves_it_as_it_is() -> None:
    held = SPACE.held(LIVE)
    assert held.at((1, 0)) == LIVE.with_values(max_num_seqs=16)
    assert held.size() == 2
    assert held.indices(LIVE) == (0, 0)
    # What was tried under other weights still has a place.
    assert held.indices(Settings({"max_num_seqs": 16, "weights": "base"})) == (1, 0)


def test_a_space_without_such_a_knob_is_as_it_was() -> None:
    space = KnobSpace(SPACE.knobs[:1])
    assert space.held(LIVE) is space
