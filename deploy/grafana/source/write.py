"""Writes the dashboards' JSON files beside this package."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.source.experiment import experiment
from deploy.grafana.source.fleet import fleet
from deploy.grafana.source.forecast import forecast
from deploy.grafana.source.target import target

FOLDER = Path(__file__).parents[1]
_MADE: tuple[Callable[[], Dashboard], ...] = (fleet, target, experiment, forecast)


def files() -> Mapping[str, str]:
    """The text of each file by its name, such as `fleet.json`."""
    return {f"{make.__name__}.json": _text(make()) for make in _MADE}


def _text(board: Dashboard) -> str:
    built = board.build()
    for at, panel in enumerate(built.panels or (), start=1):
        panel.id_val = at  # Grafana gives ids of its own at each load otherwise
    return json.dumps(built, cls=JSONEncoder, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main() -> None:
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"{FOLDER / name}\n")


if __name__ == "__main__":
    main()
