"""What does reading many targets' metrics pages cost, and does it grow with their number alone?

Pages of a vLLM server's size; text to canonical names, against prometheus-client's own parser.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from prometheus_client.parser import text_string_to_metric_families

from autotuner.metrics.canonical import recognise
from autotuner.metrics.samples import parse_page
from experiments.studies import _common
from experiments.studies.scrape_cost.pages import page, series

SEED = 0
DISTINCT = 50  # pages; more targets read them again
TARGETS = 10_000  # that the claim is about
INTERVAL_S = 15.0  # the usual scrape interval: what one core has for all of them
Read = Callable[[str], object]


def reference(text: str) -> int:
    """prometheus-client's parser alone; the number of samples."""
    return sum(len(family.samples) for family in text_string_to_metric_families(text))


def whole(text: str) -> object:
    """What the daemon does with a page."""
    return recognise(parse_page(text))


READERS: dict[str, Read] = {
    "prometheus-client's parser": reference,
    "own parser": parse_page,
    "own parser and canonical names": whole,
}
WHOLE, OWN, REFERENCE = tuple(READERS)[::-1]


def run(quick: bool, out: Path) -> dict[str, Any]:
    """Measures CPU seconds for rising numbers of targets; writes results and figure into `out`."""
    rng = np.random.default_rng(SEED)
    texts = [page(rng) for _ in range(3 if quick else DISTINCT)]
    numbers = (1, 3, 10) if quick else (10, 30, 100, 300, 1000, 3000, TARGETS)
    rows = [
        measured(name, read, texts, number)
        for name, read in READERS.items()
        for number in numbers
        if name != REFERENCE or number <= 1000  # its growth is seen by then
    ]
    content = _common.results(
        "scrape_cost",
        packages=("prometheus-client", "numpy"),
        seeds=[SEED],
        rows=rows,
        checks=checks(rows),
        series_per_target=float(np.mean([series(text) for text in texts])),
    )
    _common.write(out, content)
    draw(rows).savefig(out / "figure.png", dpi=120)
    return content


def measured(name: str, read: Read, texts: Sequence[str], targets: int) -> dict[str, Any]:
    """CPU time of reading so many pages, least of three tries: others only ever add to it."""
    chosen = [texts[i % len(texts)] for i in range(targets)]
    tries = []
    for _ in range(3 if targets <= 1000 else 1):
        began = time.process_time()
        for text in chosen:
            read(text)
        tries.append(time.process_time() - began)
    lines = sum(map(series, chosen))
    return {
        "reader": name,
        "targets": targets,
        "series": lines,
        "cpu_s": min(tries),
        "us_per_series": min(tries) / lines * 1e6,
    }


def checks(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The claims; all from the largest number of targets that both readers have read."""
    of = {name: {r["targets"]: r for r in rows if r["reader"] == name} for name in READERS}
    most, common = max(of[WHOLE]), max(of[REFERENCE])
    scaled_s = of[WHOLE][most]["cpu_s"] * TARGETS / most
    faster = of[REFERENCE][common]["us_per_series"] / of[OWN][common]["us_per_series"]
    growth = of[WHOLE][most]["us_per_series"] / of[WHOLE][min(of[WHOLE])]["us_per_series"]
    return [
        _common.check(
            f"all pages of {TARGETS} targets read by one core", scaled_s, "s", INTERVAL_S, "at_most"
        ),
        _common.check(
            "own parser against prometheus-client's", faster, "times as fast", 3, "at_least"
        ),
        _common.check(
            "time per series, most targets against fewest", growth, "times", 1.3, "at_most"
        ),
    ]


def draw(rows: Sequence[dict[str, Any]]) -> Figure:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for name in READERS:
        mine = [row for row in rows if row["reader"] == name]
        axes.loglog(
            [r["targets"] for r in mine], [r["cpu_s"] for r in mine], marker="o", label=name
        )
    axes.axhline(INTERVAL_S, color="0.5", linestyle="--", label=f"{INTERVAL_S:.0f} s")
    axes.set(xlabel="targets (one page each)", ylabel="CPU time, s", title="Reading metrics pages")
    axes.legend(frameon=False)
    return figure
