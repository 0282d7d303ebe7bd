"""JSON that any reader takes."""

from __future__ import annotations

import json
import math

import pytest

from autotuner.commands.output import finite, print_json
from autotuner.domain.knobs import Settings


def test_what_json_has_no_word_for_is_null_at_any_depth() -> None:
    told = {"a": math.nan, "b": [1.5, (math.inf, "x")], "c": Settings({"k": 2}), 4: None}
    assert finite(told) == {"a": None, "b": [1.5, [None, "x"]], "c": {"k": 2}, "4": None}


def test_what_is_printed_parses_strictly(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": -math.inf, "ü": "→"})
    out = capsys.readouterr().out
    assert json.loads(out, parse_constant=pytest.fail) == {"a": None, "ü": "→"}
    assert "→" in out
