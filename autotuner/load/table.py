"""A load report for a terminal."""

from __future__ import annotations

import math

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from autotuner.load.report import Distribution, LoadReport

_ROWS = (
    ("TTFT", "ttft_s"),
    ("ITL", "itl_s"),
    ("TPOT", "tpot_s"),
    ("largest gap", "gap_max_s"),
    ("E2EL", "e2el_s"),
)


def report_table(report: LoadReport) -> RenderableType:
    """The report as rich shows it: a summary, the latencies, and what to beware of."""
    warnings = [Text(f"warning: {text}", style="yellow") for text in report.warnings]
    return Group(_summary(report), _latency_table(report), *warnings)


def _summary(report: LoadReport) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    failed = ", ".join(f"{count} {kind}" for kind, count in report.failures.items())
    rows = (
        ("requests", f"{report.requests} ({report.served} served, {failed or 'none failed'})"),
        ("offered", f"{_number(report.offered_rps)} requests/s over {report.sending_s:.1f} s"),
        ("served", f"{_number(report.served_rps)} requests/s over {report.span_s:.1f} s"),
        (
            "tokens",
            f"{_number(report.prompt_tokens_per_s)} prompt/s, "
            f"{_number(report.output_tokens_per_s)} output/s",
        ),
        ("SLO", report.slo.describe()),
        (
            "attainment",
            f"{report.attainment:.1%} ({report.good} requests)"
            if report.requests
            else "nothing was offered",
        ),
        ("goodput", f"{_number(report.goodput_rps)} requests/s"),
    )
    for row in rows:
        table.add_row(*row)
    if report.cancelled:
        table.add_row("cancelled", f"{report.cancelled} requests, not counted")
    return table


def _latency_table(report: LoadReport) -> Table:
    table = Table("", "n", "mean", "P50", "P90", "P95", "P99", "largest", padding=(0, 1, 0, 0))
    table.columns[0].no_wrap = True
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    for title, name in _ROWS:
        table.add_row(title, *_cells(report.latencies[name]))
    return table


def _cells(of: Distribution) -> tuple[str, ...]:
    figures = (of.mean, of.p50, of.p90, of.p95, of.p99, of.largest)
    return (str(of.count), *(_duration(value) for value in figures))


def _duration(value_s: float) -> str:
    if math.isnan(value_s):
        return "–"
    return f"{value_s:.2f} s" if value_s >= 1 else f"{value_s * 1000:.1f} ms"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"
