"""Whether a server's inter-token latency is one of tokens, or of events of several tokens.

With speculative decoding, and wherever a stream tells several tokens at once, servers observe one
gap per event: ITL is then as many times too long as an event has tokens. TPOT (time after the first
token over tokens less one) is not touched. Pure.
"""

from __future__ import annotations

from autotuner.domain.telemetry import Snapshot

SEVERAL = 1.2  # chosen: below it the last events of requests and rounding may be all there is
_LEAST_GAPS = 100  # chosen


def tokens_per_event(seen: Snapshot) -> float | None:
    """Tokens after the first ones per observed gap, at least 1; None where too little was seen.

    Tokens and gaps are counted since the server's start. A server that counts a gap for each token,
    its events' times shared out (SGLang does), has 1 here whatever it decodes with.
    """
    gaps, firsts = seen.histograms.get("itl_s"), seen.histograms.get("ttft_s")
    tokens = seen.counters.get("generation_tokens")
    if gaps is None or firsts is None or tokens is None or gaps.count < _LEAST_GAPS:
        return None
    return max(1.0, (tokens - firsts.count) / gaps.count)


def itl_doubt(seen: Snapshot) -> str | None:
    """In words, why ITL is not per token and what to use; None where it is, or nobody knows."""
    tokens = seen.gauges.get("tokens_per_event")
    if tokens is None or tokens < SEVERAL:
        return None
    speculative = seen.counters.get("spec_drafts", 0.0) > 0
    cause = "speculative decoding" if speculative else "its streams tell several tokens at once"
    return (
        f"an event has {tokens:.1f} tokens on average ({cause}): itl_s is the gap between events, "
        "not between tokens; tpot_s is per token"
    )
