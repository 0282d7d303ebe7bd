"""`autotuner doctor`: everything that the daemon needs, checked, with the fix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from autotuner.commands.operate import ConfigOption
from autotuner.commands.output import JsonOption, print_json

if TYPE_CHECKING:
    from autotuner.doctoring.finding import Finding

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(
    config: ConfigOption,
    send_test: Annotated[
        bool, typer.Option("--send-test", help="Send each receiver a test alert and its end.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check everything that the daemon needs, and say how to mend it. Changes nothing.

    Exit code 1 where something fails; a warning alone is 0.
    """
    from autotuner.doctoring.examine import examine
    from autotuner.doctoring.finding import Level, counts

    found: list[Finding] = []
    for finding in examine(config, send_test=send_test):
        found.append(finding)
        if not as_json:
            _print(finding)
    total = counts(found)
    if as_json:
        print_json({"findings": [one.as_dict() for one in found], "counts": total})
    else:
        typer.echo(f"{total['ok']} ok, {total['warn']} warn, {total['fail']} fail")
    if total[Level.FAIL.value]:
        raise typer.Exit(1)


def _print(finding: Finding) -> None:
    level = finding.level.value
    typer.echo(f"{typer.style(f'{level:<4}', fg=_COLOURS[level])}  {finding.check}: {finding.told}")
    if finding.fix:
        typer.echo(f"      fix: {finding.fix}")
