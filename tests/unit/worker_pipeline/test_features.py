import json
from math import log2
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.fronts.bodies import parse
from autotuner.worker.openai_schema import ChatBody, CompletionBody
from autotuner.worker.pipeline.feature_log import FeatureLog
from autotuner.worker.pipeline.features import (
    COLUMNS,
    FEATURES_VERSION,
    FeatureRow,
    feature_row,
)


def completion(**fields: Any) -> CompletionBody:
    return parse(CompletionBody, json.dumps({"prompt": "hi"} | fields).encode())


def chat(**fields: Any) -> ChatBody:
    messages = [{"role": "user", "content": "hi"}]
    return parse(ChatBody, json.dumps({"messages": messages} | fields).encode())


def named(row: FeatureRow) -> dict[str, float]:
    return {COLUMNS[i]: value for i, value in zip(row.indices, row.values, strict=True)}


def test_the_columns_of_version_1() -> None:
    assert FEATURES_VERSION == 1
    assert COLUMNS[:9] == (
        "prompt_tokens_log2",
        "max_tokens_log2",
        "temperature",
        "endpoint=completions",
        "endpoint=chat",
        "stream=no",
        "stream=yes",
        "drawing=greedy",
        "drawing=sampled",
    )
    assert COLUMNS[9:11] == ("prompt_tokens=1..1", "prompt_tokens=2..3")
    assert COLUMNS[-2:] == ("prompt_tokens=65536..131071", "prompt_tokens=131072..")
    assert len(COLUMNS) == len(set(COLUMNS)) == 27


def test_a_greedy_completion() -> None:
    assert named(feature_row(completion(temperature=0), 100, 16)) == {
        "prompt_tokens_log2": log2(101) / 17,
        "max_tokens_log2": log2(17) / 17,
        "endpoint=completions": 1.0,
        "stream=no": 1.0,
        "drawing=greedy": 1.0,
        "prompt_tokens=64..127": 1.0,
    }


def test_a_streamed_chat() -> None:
    row = named(feature_row(chat(stream=True, temperature=1.0), 2**17, 2**17 - 1))
    assert row["temperature"] == 0.5
    assert row["max_tokens_log2"] == 1.0
    assert {"endpoint=chat", "stream=yes", "drawing=sampled", "prompt_tokens=131072.."} <= set(row)


@given(st.integers(1, 2**20), st.integers(1, 2**20), st.floats(0, 2), st.booleans())
def test_every_row_is_sparse_scaled_and_one_hot(
    prompt_tokens: int, max_tokens: int, temperature: float, stream: bool
) -> None:
    row = feature_row(completion(temperature=temperature, stream=stream), prompt_tokens, max_tokens)
    assert list(row.indices) == sorted(set(row.indices))
    assert row.indices[-1] < len(COLUMNS)
    assert all(0 < value <= 20 / 17 + 1e-6 for value in row.values)
    names = list(named(row))
    for field in ("endpoint=", "stream=", "drawing=", "prompt_tokens="):
        assert sum(name.startswith(field) for name in names) == 1
    (group,) = (name for name in names if name.startswith("prompt_tokens="))
    least, greatest = group.removeprefix("prompt_tokens=").split("..")
    assert int(least) <= prompt_tokens <= int(greatest or prompt_tokens)


def test_the_log_tells_means_over_all_and_rows_by_cursor() -> None:
    log = FeatureLog(lambda: 7.5, kept_rows=2)
    assert log.page(0, 10)["mean"] == [0.0] * len(COLUMNS)
    for tokens in (1, 3, 7):
        log.append(feature_row(completion(temperature=0), tokens, 1))
    page = log.page(1, 10)
    assert (page["version"], page["count"], page["columns"]) == (1, 3, COLUMNS)
    mean = dict(zip(COLUMNS, page["mean"], strict=True))
    assert mean["prompt_tokens_log2"] == pytest.approx((1 + 2 + 3) / 17 / 3)
    assert mean["prompt_tokens=2..3"] == pytest.approx(1 / 3)
    assert mean["stream=no"] == 1.0
    assert [(row["seq"], row["at"]) for row in page["rows"]] == [(2, 7.5), (3, 7.5)]
    assert (page["next"], page["oldest"], page["overrun"]) == (3, 2, False)
    assert page["rows"][0]["indices"][0] == 0
    assert page["rows"][0]["values"][0] == pytest.approx(2 / 17)
    assert log.page(0, 1)["overrun"] is True
