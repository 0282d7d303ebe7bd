"""Finds and runs the studies of a checkout (they are not part of the installed package)."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autotuner.domain.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Study:
    """One folder under experiments/studies with a `study.py` that has `run(quick, out)`."""

    name: str
    folder: Path

    @property
    def question(self) -> str:
        """The first line of the study's own docstring."""
        return (self._module().__doc__ or "").strip().splitlines()[0]

    def run(self, *, quick: bool, out: Path) -> dict[str, Any]:
        """The results as they stand in results.json; figure and results are written into `out`."""
        results: dict[str, Any] = self._module().run(quick=quick, out=out)
        return results

    def _module(self) -> Any:
        if str(ROOT) not in sys.path:
            sys.path.insert(0, str(ROOT))
        return importlib.import_module(f"experiments.studies.{self.name}.study")


def find_studies() -> list[Study]:
    """All studies by name; raises ConfigError outside a checkout.

    A folder whose name begins with _ is a study that was not measured yet.
    """
    home = ROOT / "experiments" / "studies"
    if not home.is_dir():
        raise ConfigError("studies: not part of an installed package; run this in a checkout")
    return [Study(p.parent.name, p.parent) for p in sorted(home.glob("[!_]*/study.py"))]


def choose(names: Sequence[str], *, every: bool) -> list[Study]:
    """The studies asked for; raises ConfigError for none or an unknown name."""
    found = {study.name: study for study in find_studies()}
    if every:
        return list(found.values())
    if not names:
        raise ConfigError(f"study: name one or give --all; there are {', '.join(found)}")
    for name in names:
        if name not in found:
            raise ConfigError(f"study={name!r}: unknown; there are {', '.join(found)}")
    return [found[name] for name in names]


BEGIN, END = "<!-- studies:begin -->", "<!-- studies:end -->"


def checks_table() -> str:
    """Every study on one line, what was missed in plain sight, and every check, as Markdown."""
    kept = {study: _checks(study) for study in find_studies()}
    summary = ["| study | asks | claims that hold |", "|---|---|---|"]
    summary += [_summary_line(study, checks) for study, checks in kept.items()]
    missed = [_check_line(s, check) for s, checks in kept.items() for check in _missed(checks)]
    every = [_check_line(s, check) for s, checks in kept.items() for check in checks]
    parts = ["\n".join(summary)]
    if missed:
        parts.append("Missed:\n\n" + _table(missed))
    parts.append(
        "<details><summary>Every claim with its figure</summary>\n\n"
        + _table(every)
        + "\n\n</details>"
    )
    return "\n\n".join(parts)


def _checks(study: Study) -> list[dict[str, Any]]:
    results = json.loads((study.folder / "results.json").read_text(encoding="utf-8"))
    checks: list[dict[str, Any]] = results["checks"]
    return checks


def _missed(checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [check for check in checks if not check["holds"]]


def _link(study: Study) -> str:
    return f"[{study.name}](experiments/studies/{study.name})"


def _summary_line(study: Study, checks: list[dict[str, Any]]) -> str:
    holding = len(checks) - len(_missed(checks))
    return f"| {_link(study)} | {study.question} | {holding} of {len(checks)} |"


def _check_line(study: Study, check: dict[str, Any]) -> str:
    bound = "at least" if check["direction"] == "at_least" else "at most"
    holds = "yes" if check["holds"] else "**no**"
    return (
        f"| {_link(study)} | {check['name']} | {check['value']:.3g} {check['unit']} "
        f"| {bound} {check['target']:g} | {holds} |"
    )


def _table(lines: list[str]) -> str:
    head = ["| study | claim | measured | target | holds |", "|---|---|---|---|---|"]
    return "\n".join([*head, *lines])


def with_table(text: str, table: str) -> str:
    """`text` with the part between the markers replaced; raises ConfigError without markers."""
    if BEGIN not in text or END not in text:
        raise ConfigError(f"README: the markers {BEGIN} and {END} are missing; put them back")
    before, rest = text.split(BEGIN, 1)
    return f"{before}{BEGIN}\n{table}\n{END}{rest.split(END, 1)[1]}"
