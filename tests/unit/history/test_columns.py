from __future__ import annotations

import json
import math
from dataclasses import dataclass
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.history.columns import jsonable, nan_if_null, null_if_nan, one_of, to_json


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Limit:
    share: float
    least: int


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_non_finite_figures_become_strings_that_float_reads(value: float) -> None:
    told = jsonable(value)
    assert isinstance(told, str)
    assert repr(float(told)) == repr(value)


def test_dataclasses_enums_and_tuples_become_plain() -> None:
    told = jsonable({"limit": Limit(math.inf, 10), "c": (Colour.RED, None)})
    assert told == {"limit": {"share": "Infinity", "least": 10}, "c": ["red", None]}


@given(st.recursive(st.floats() | st.text() | st.none(), lambda inner: st.lists(inner)))
def test_json_is_always_strict(value: object) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    json.loads(to_json(value), parse_constant=refuse)


def test_nan_is_null_and_back() -> None:
    assert null_if_nan(math.nan) is None
    assert null_if_nan(math.inf) == math.inf
    assert null_if_nan(None) is None
    assert math.isnan(nan_if_null(None))
    assert nan_if_null(0.0) == 0.0


def test_a_check_names_its_words() -> None:
    assert str(one_of("colour", Colour).sqltext) == "colour IN ('red')"
