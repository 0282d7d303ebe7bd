"""How a replay looks in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from autotuner.commands.replay_run import ReplayReport
from autotuner.commands.views import experiments_table, knobs


def replay_report(report: ReplayReport) -> None:
    """A replay: hour by hour, then the experiments."""
    console = Console()
    console.print(f"SLO: {report.slo.describe()}")
    console.print(f"start: {knobs(report.start)}\nend:   {knobs(report.end)}")
    table = Table(title="goodput, requests/s", title_justify="left")
    for column in ("hour", "offered", "tuned", "left alone", "attainment", "left alone"):
        table.add_column(column, justify="right")
    for index, (tuned, alone) in enumerate(zip(report.tuned, report.left_alone, strict=True)):
        table.add_row(
            str(index), f"{tuned.offered_rps:.2f}", f"{tuned.goodput_rps:.2f}",
            f"{alone.goodput_rps:.2f}", f"{tuned.attainment:.1%}", f"{alone.attainment:.1%}",
        )  # fmt: skip
    console.print(table)
    experiments_table(report.experiments)
