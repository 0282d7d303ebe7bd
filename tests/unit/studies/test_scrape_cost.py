"""The pages that the study reads are real ones, and its claims follow from its rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from autotuner.metrics.canonical import recognise
from autotuner.metrics.samples import parse_page
from experiments.studies.scrape_cost.pages import page, series
from experiments.studies.scrape_cost.study import OWN, REFERENCE, WHOLE, checks, reference


def test_a_page_is_a_vllm_servers_and_both_parsers_see_all_of_it() -> None:
    text = page(np.random.default_rng(1), requests=5)
    parsed = parse_page(text)
    found = recognise(parsed)
    assert found.family == "vllm"
    assert set(found.missing) == {"requests_rejected"}
    assert found.histograms["ttft_s"].count == 5
    assert sum(map(len, parsed.values())) == reference(text) == series(text)


def row(reader: str, targets: int, us_per_series: float) -> dict[str, Any]:
    return {
        "reader": reader,
        "targets": targets,
        "cpu_s": targets * 100 * us_per_series / 1e6,
        "us_per_series": us_per_series,
    }


def test_claims_follow_from_the_rows() -> None:
    rows = [
        row(REFERENCE, 10, 12.0), row(OWN, 10, 2.0), row(OWN, 100, 2.0),
        row(WHOLE, 10, 3.0), row(WHOLE, 100, 6.0),
    ]  # fmt: skip
    in_time, faster, growth = checks(rows)
    assert (in_time["value"], in_time["holds"]) == (pytest.approx(6.0), True)
    assert (faster["value"], faster["holds"]) == (pytest.approx(6.0), True)
    assert (growth["value"], growth["holds"]) == (pytest.approx(2.0), False)
