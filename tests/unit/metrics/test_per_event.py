"""Whether a gap is a token's, from pages of vLLM 0.33 and SGLang 0.5 in their real form."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotuner.domain.telemetry import Snapshot
from autotuner.metrics.behind import Behind
from autotuner.metrics.canonical import recognise
from autotuner.metrics.per_event import itl_doubt
from autotuner.metrics.samples import parse_page

PAGES = Path(__file__).with_name("pages")


def read(name: str) -> Snapshot:
    text = (PAGES / f"{name}.prom").read_text(encoding="utf-8")
    return Behind().snapshot(recognise(parse_page(text)), 1.0)


@pytest.mark.parametrize("name", ["vllm_0_33", "sglang_0_5"])
def test_without_speculation_a_gap_is_a_tokens(name: str) -> None:
    seen = read(name)
    assert seen.gauges["tokens_per_event"] == pytest.approx(1.0)
    assert itl_doubt(seen) is None


def test_vllm_with_speculative_decoding_observes_one_gap_per_step() -> None:
    seen = read("vllm_0_33_spec")
    # 40 first tokens; the other 5160 came in 1720 steps.
    assert seen.gauges["tokens_per_event"] == pytest.approx(3.0)
    assert (seen.counters["spec_drafts"], seen.counters["spec_accepted"]) == (1720, 3440)
    doubt = itl_doubt(seen)
    assert doubt is not None
    assert "3.0 tokens on average (speculative decoding)" in doubt
    assert "tpot_s is per token" in doubt
    # What is per token stays so: 103.2 s of decoding for 5160 tokens.
    assert seen.histograms["tpot_s"].count == 40


def test_sglang_with_speculative_decoding_shares_an_events_time_out() -> None:
    seen = read("sglang_0_5_spec")
    assert itl_doubt(seen) is None


def test_a_page_that_has_seen_little_says_nothing() -> None:
    few = Behind().snapshot(
        recognise(
            parse_page(
                "vllm:generation_tokens_total 50\n"
                'vllm:time_to_first_token_seconds_bucket{le="+Inf"} 1\n'
                'vllm:inter_token_latency_seconds_bucket{le="+Inf"} 10\n'
            )
        ),
        1.0,
    )
    assert "tokens_per_event" not in few.gauges
    assert itl_doubt(few) is None
