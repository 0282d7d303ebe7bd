from __future__ import annotations

import json
import math
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from autotuner.domain.explanation import Explanation, NearTrial
from autotuner.history.columns import to_json
from autotuner.history.reasons import explanation_of, explanation_row

figures = st.floats()  # NaN and infinities too
named = st.dictionaries(st.text(max_size=8), figures, max_size=3)
values = st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=8)
near = st.builds(
    NearTrial,
    experiment=st.text(max_size=8),
    changes=st.dictionaries(st.text(max_size=8), values, max_size=3),
    effect=figures,
    low=figures,
    high=figures,
    verdict=st.sampled_from(["ACCEPTED", "REJECTED"]),
    distance=st.integers(0, 50),
)
explanations = st.builds(
    Explanation,
    seen=named,
    effect=figures,
    low=figures,
    high=figures,
    incumbent=named,
    candidate=named,
    nearest=st.lists(near, max_size=3).map(tuple),
    method=st.text(max_size=8),
    considered=st.integers(0, 10**6),
    model_note=st.text(max_size=20),
)


def comparable(value: Any) -> Any:
    """With NaN as a word, since it equals nothing."""
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in value.items()}
    return [comparable(item) for item in value] if isinstance(value, list | tuple) else value


@given(explanations)
def test_a_reason_survives_json(told: Explanation) -> None:
    back = explanation_of(json.loads(to_json(explanation_row(told))))
    assert comparable(asdict(back)) == comparable(asdict(told))


def test_what_an_earlier_version_did_not_store_is_not_known() -> None:
    assert comparable(asdict(explanation_of({}))) == comparable(asdict(Explanation()))


def test_any_mapping_is_taken() -> None:
    told = Explanation(seen=MappingProxyType({"rate_rps": 2.0}))
    assert explanation_of(explanation_row(told)).seen == {"rate_rps": 2.0}
