"""What the attention knob buys at long contexts, and what it does to the answers.

Time of a decode step and K and V bytes read by it, by context and mode; agreement with full
attention on a long text.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from autotuner.worker.attention_inputs import TOP_KEYS, WINDOW_TOKENS
from autotuner.worker.cpu_features import default_weight_dtype
from autotuner.worker.model_config import ModelConfig
from autotuner.worker.models.load import kv_shape
from autotuner.worker.settings import AttentionMode
from autotuner.worker.weights import resolve_model
from experiments.studies import _common
from experiments.studies.attention_knob.figure import draw
from experiments.studies.attention_knob.quality import Agreement, agreement_with_full, long_text
from experiments.studies.attention_knob.timing import Timing, step_times

SEED = 0
MODES: tuple[AttentionMode, ...] = get_args(AttentionMode)
FULL_MODE: AttentionMode = "full"


@dataclass(frozen=True)
class Plan:
    contexts: tuple[int, ...]
    timing: Timing
    text_tokens: int


FULL = Plan((1000, 2000, 4000, 8000), Timing(batch=4, rounds=6, steps=4, seed=SEED), 4096)
QUICK = Plan((128, 256), Timing(batch=2, rounds=1, steps=2, seed=SEED), 300)


def run(quick: bool, out: Path) -> dict[str, Any]:
    """Measures, writes results.json and figure.png into `out`, returns the results."""
    plan = QUICK if quick else FULL
    folder = resolve_model(None)
    config = ModelConfig.from_folder(folder)
    dtype = default_weight_dtype("cpu")
    number_bytes = 2 if dtype == "bfloat16" else 4
    rows = []
    for context in plan.contexts:
        times = step_times(folder, dtype, context, MODES, plan.timing)
        rows += [
            _row(
                mode,
                context,
                seconds,
                plan.timing.batch * kv_bytes(mode, context, config, number_bytes),
            )
            for mode, seconds in times.items()
        ]
    quality = agreement_with_full(folder, dtype, long_text(folder, plan.text_tokens), MODES)
    content = _common.results(
        "attention_knob",
        packages=("torch",),
        seeds=[SEED],
        rows=rows,
        checks=_checks(rows, max(plan.contexts)),
        quick=quick,
        weight_dtype=dtype,
        batch=plan.timing.batch,
        model_max_tokens=config.max_model_len,
        quality=[_quality_row(mode, found) for mode, found in quality.items()],
    )
    _common.write(out, content)
    draw(content, out / "figure.png")
    return content


def kv_bytes(mode: AttentionMode, context: int, config: ModelConfig, number_bytes: int) -> int:
    """Bytes of the cache that one sequence's step must read, over all layers.

    full and sliding_window: keys and values of the tokens seen. top_k: one sign bit of each number
    of every key, then keys and values of the chosen: at most TOP_KEYS for each query head.
    """
    numbers = kv_shape(config).numbers_per_token
    per_token = numbers * number_bytes
    if mode == "full":
        return context * per_token
    if mode == "sliding_window":
        return min(context, WINDOW_TOKENS) * per_token
    group = config.num_heads // config.num_kv_heads
    signs = context * (numbers // 2) // 8
    return signs + min(context, TOP_KEYS * group) * per_token


def _row(mode: str, context: int, seconds: list[float], read_bytes: int) -> dict[str, Any]:
    return {
        "attention": mode,
        "context": context,
        "step_ms": round(1000 * statistics.median(seconds), 3),
        "step_ms_quartiles": [round(1000 * q, 3) for q in statistics.quantiles(seconds, n=4)],
        "steps": len(seconds),
        "kv_read_mb": round(read_bytes / 1e6, 3),
    }


def _quality_row(mode: str, found: Agreement) -> dict[str, Any]:
    return {
        "attention": mode,
        "positions": found.positions,
        "same_most_likely_token": round(found.same, 4),
        "mean_kl_nats": round(found.kl, 5),
        "perplexity": round(found.perplexity, 3),
    }


def _checks(rows: list[dict[str, Any]], context: int) -> list[dict[str, Any]]:
    by_mode: dict[str, dict[str, Any]] = defaultdict(dict)
    for row in rows:
        if row["context"] == context:
            by_mode[row["attention"]] = row
    full = by_mode[FULL_MODE]
    checks = []
    for mode in (mode for mode in MODES if mode != FULL_MODE):
        mine = by_mode[mode]
        checks += [
            _common.check(
                f"{mode}, context {context}: K and V bytes read",
                round(mine["kv_read_mb"] / full["kv_read_mb"], 4),
                "of full attention's",
                1.0,
                "at_most",
            ),
            _common.check(
                f"{mode}, context {context}: decode step",
                round(full["step_ms"] / mine["step_ms"], 3),
                "times as fast as full attention",
                1.0,
                "at_least",
            ),
        ]
    return checks
