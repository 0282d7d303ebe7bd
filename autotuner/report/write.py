"""Writes a report's files; the only place of this package that does I/O."""

from __future__ import annotations

import json
from pathlib import Path

from autotuner.domain.experiment import Experiment
from autotuner.domain.explanation import Explanation
from autotuner.report.data import report_data
from autotuner.report.figure import draw_figure
from autotuner.report.page import page


def write_report(
    experiment: Experiment,
    folder: Path,
    ended_at: float | None = None,
    why: Explanation | None = None,
) -> list[Path]:
    """Writes index.html, figure.png and report.json into `folder`, and returns their paths.

    The folder is made where it is missing; files of those names are written anew. `ended_at`: on
    the clock of `experiment.started_at`; None while the test runs. `why`: the proposal's
    reason, where it had one. Raises OSError where the folder can't be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    html, picture, data = (folder / name for name in ("index.html", "figure.png", "report.json"))
    html.write_text(page(experiment, ended_at, why), encoding="utf-8")
    draw_figure(experiment, picture)
    found = report_data(experiment, ended_at, why)
    text = json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False)
    data.write_text(text + "\n", encoding="utf-8")
    return [html, picture, data]
