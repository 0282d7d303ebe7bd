from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from autotuner.domain.errors import ConfigError
from autotuner.load.kinds import TraceFormat
from autotuner.load.traces import read_trace

SHARED = Path(
    os.environ.get("AUTOTUNER_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data")
)

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:59:59.9999999,374,44
2023-11-16 19:00:00.0000001,396,0
2023-11-16 18:59:58,10,3
"""
MOONCAKE = (
    '{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}\n'
    "\n"
    '{"timestamp": 2500, "input_length": 12, "output_length": 3}\n'
)


def written(folder: Path, text: str) -> Path:
    file = folder / "trace"
    file.write_text(text)
    return file


def test_azure_times_keep_their_seven_digits_and_are_put_in_order(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, AZURE))
    assert trace.at_s == pytest.approx([0.0, 1.9999999, 2.0000001], abs=1e-9)
    assert trace.prompt_tokens.tolist() == [10, 374, 396]
    assert trace.output_tokens.tolist() == [3, 44, 0]


def test_azure_times_with_a_zone_and_line_ends_of_either_kind(tmp_path: Path) -> None:
    text = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2024-05-10 00:00:00.5+00:00,1,2\r\n"
    text += "2024-05-10 00:00:01.25+00:00,3,4\r\n"
    assert read_trace(written(tmp_path, text)).at_s == pytest.approx([0, 0.75])


def test_mooncake_times_are_milliseconds(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, MOONCAKE))
    assert trace.at_s.tolist() == [0.0, 2.5]
    assert trace.prompt_tokens.tolist() == [6758, 12]
    assert len(trace) == 2
    assert trace.span_s == 2.5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (AZURE.replace("396", "many"), "line 3: ContextTokens='many': give a whole number"),
        (AZURE.replace("374,44", "374"), "line 2: GeneratedTokens=None"),
        (AZURE.replace("374,44", "-1,44"), "line 2: ContextTokens='-1'"),
        (AZURE.replace("2023-11-16 18:59:58", "noon"), "line 4: TIMESTAMP='noon'"),
        (AZURE.replace("GeneratedTokens", "Out"), "line 1: the column GeneratedTokens is missing"),
        (MOONCAKE.replace("12,", '"12.5",'), "line 3: input_length='12.5'"),
        (MOONCAKE.replace("2500", "-3"), "line 3: timestamp=-3: give milliseconds"),
        (MOONCAKE.replace(', "output_length": 3', ""), "line 3: output_length=None"),
        (MOONCAKE + "[1, 2]\n", "line 4: give a JSON object"),
        (MOONCAKE + "{oops\n", "line 4: not JSON"),
        ("a,b\n1,2\n", "line 1: neither an Azure header"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n", "there is no request in it"),
    ],
)
def test_an_error_names_the_file_the_line_and_the_field(
    tmp_path: Path, text: str, said: str
) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_trace(file)
    assert said in str(caught.value)
    assert str(file) in str(caught.value)


def test_the_asked_format_is_taken_at_its_word(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="line 1: not JSON"):
        read_trace(written(tmp_path, AZURE), TraceFormat.MOONCAKE)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        read_trace(tmp_path / "none.csv")


def shared(name: str) -> Path:
    file = SHARED / "traces" / name
    if not file.exists():
        pytest.skip(f"no public trace {name} under {SHARED}: set AUTOTUNER_SHARED_DATA")
    return file


def test_an_hour_of_azure_code_requests() -> None:
    trace = read_trace(shared("azure_llm_2023_code.csv"))
    assert len(trace) == 8819
    assert trace.prompt_tokens.mean() == pytest.approx(2048, abs=1)
    assert trace.output_tokens.mean() == pytest.approx(28, abs=0.5)
    assert len(trace) / trace.span_s == pytest.approx(2.57, abs=0.02)
    per_minute = np.bincount((trace.at_s // 60).astype(int))
    assert per_minute.min() == 0
    assert per_minute.max() > 500


def test_an_hour_of_azure_conversations() -> None:
    trace = read_trace(shared("azure_llm_2023_conv.csv"))
    assert len(trace) == 19366
    assert len(trace) / trace.span_s == pytest.approx(5.53, abs=0.05)


def test_mooncake_conversations() -> None:
    trace = read_trace(shared("mooncake_conversation.jsonl"), TraceFormat.MOONCAKE)
    assert len(trace) > 1000
    assert np.all(np.diff(trace.at_s) >= 0)
    assert trace.prompt_tokens[0] == 6758
