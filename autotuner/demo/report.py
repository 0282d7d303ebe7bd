"""The demo's end: the table before and after, the SQL that shows the same, and the figure."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from rich.console import Console
from rich.table import Table

from autotuner.demo.recorder import Figures

SQL = """\
SELECT json_extract(treatment, '$.max_num_seqs') AS seqs,
       json_extract(treatment, '$.max_num_batched_tokens') AS tokens,
       n, round(effect, 3) AS effect, round(low, 3) AS low, round(high, 3) AS high,
       round(confidence, 4) AS confidence, verdict
FROM v_experiments ORDER BY started"""


def before_after(before: Figures, after: Figures, settings: tuple[str, str]) -> Table:
    """Both stretches side by side."""
    table = Table(title="before and after", title_justify="left")
    for column in ("", "before", "after", ""):
        table.add_column(column, overflow="fold")
    table.add_row("settings", settings[0], settings[1], "")
    table.add_row("measured over", f"{before.seconds:.0f} s", f"{after.seconds:.0f} s", "")
    table.add_row("requests", str(before.requests), str(after.requests), "")
    rows = (
        ("goodput, requests/s", before.goodput_rps, after.goodput_rps, "{:.2f}"),
        ("SLO attainment", before.attainment, after.attainment, "{:.1%}"),
        ("TTFT P95, s", before.ttft_p95_s, after.ttft_p95_s, "{:.2f}"),
        ("largest gap P95, s", before.gap_p95_s, after.gap_p95_s, "{:.3f}"),
        ("E2EL median, s", before.e2el_p50_s, after.e2el_p50_s, "{:.2f}"),
    )
    for name, old, new, form in rows:
        ratio = f"×{new / old:.2f}" if old and math.isfinite(new / old) else ""
        table.add_row(name, form.format(old), form.format(new), ratio)
    return table


def show_sql(console: Console, database: Path) -> None:
    """Runs the query on the history and prints both."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        cursor = connection.execute(SQL)
        names = [column[0] for column in cursor.description]
        rows: Sequence[Sequence[object]] = cursor.fetchall()
    table = Table(title="the same from the history", title_justify="left")
    for name in names:
        table.add_column(name)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    console.print(f"\n[bold]sqlite3 {database}[/bold]")
    console.print(SQL, highlight=False)
    console.print(table)
