"""`autotuner experiment run | plan | list | show | stop | aa | report`: tests that people declare.

They speak to the daemon through the history alone, so that they work from any machine that
reaches it; a request is kept there until a daemon takes it.
"""

from __future__ import annotations

import getpass
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autotuner.commands.completion import complete_experiment
from autotuner.commands.experiment_report import report, why_tried
from autotuner.commands.operate import ConfigOption, TargetOption, known_target
from autotuner.commands.output import JsonOption, print_json

if TYPE_CHECKING:
    from autotuner.commands.experiment_follow import Daemon
    from autotuner.config import Config
    from autotuner.declaring import Wish
    from autotuner.domain.experiment import Plan, Verdict
    from autotuner.history.records import Control
    from autotuner.history.store import History

NOT_ACCEPTED = 1
NO_DAEMON = 3
INTERRUPTED = 130
_PAST_TESTS = 20  # chosen: enough for the noise of a pair, recent enough to be that of today

experiment_app = typer.Typer(help="A/B tests of yours: what they cost, run them, see them.")
experiment_app.command("report")(report)

PlanArgument = Annotated[Path, typer.Argument(help="The test (YAML), as in experiments/plans.")]
WaitOption = Annotated[
    bool,
    typer.Option(
        "--wait",
        help="Wait for the verdict. Exit code 0: accepted (of an A/A: no difference claimed); "
        "1: any other end; 3: no daemon is there.",
    ),
]


@experiment_app.command("run")
def run(
    plan: PlanArgument,
    config: ConfigOption,
    target: TargetOption = None,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Ask the daemon for a test; it starts when none runs, under the rules of the policy."""
    from autotuner.config import load_plan

    settings, wish = _wish(load_plan(plan), f"plan {plan}", config, target)
    _ask(settings, wish, config, wait=wait, as_json=as_json)


@experiment_app.command("aa")
def aa(
    config: ConfigOption,
    target: TargetOption = None,
    pairs: Annotated[
        int | None, typer.Option(min=7, help="At most so many pairs; default: the policy's.")
    ] = None,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Test the live settings against themselves: a health check of the whole chain.

    It goes on to its budget, whatever is seen: a claim at any look is a fault.
    """
    from autotuner.config import load_config, parse_plan
    from autotuner.declaring import target_named

    chosen = target_named(load_config(config), target).name
    changes = {"futility": None} | ({} if pairs is None else {"max_pairs": pairs})
    declared = parse_plan({"target": chosen, "name": "A/A", "experiment": changes}, "A/A")
    settings, wish = _wish(declared, "A/A", config, chosen)
    _ask(settings, wish, config, wait=wait, as_json=as_json)


@experiment_app.command("plan")
def plan_command(
    plan: PlanArgument,
    config: ConfigOption,
    target: TargetOption = None,
    gain: Annotated[
        float | None,
        typer.Option(help="The gain hoped for: points of a share, or % of the control's value."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a test would take: pairs and minutes, by the noise of earlier tests.

    Exit code 1 where it can't end within its budget. Needs no daemon, and asks for nothing.
    """
    from autotuner.commands import experiment_views
    from autotuner.commands.experiment_cost import cost_of, effect_of, refusal_of
    from autotuner.config import load_plan
    from autotuner.declaring import refusal
    from autotuner.domain.errors import ConfigError
    from autotuner.domain.measures import measure

    settings, wish = _wish(load_plan(plan), f"plan {plan}", config, target)
    history = _history(settings)
    wanted = math.nan if gain is None else effect_of(measure(wish.plan.outcome), gain)
    if gain is not None and math.isnan(wanted):
        raise ConfigError(f"--gain={gain:g}: no value can change by that much; give less")
    cost = cost_of(_levelled(history, wish), _past(history, wish.target.name), wanted)
    refused = refusal(history, wish, time.time()) or refusal_of(cost)
    if as_json:
        print_json(experiment_views.cost_as_dict(wish, cost, refused))
    else:
        experiment_views.cost_report(wish, cost, refused)
    if refused:
        raise typer.Exit(NOT_ACCEPTED)


@experiment_app.command("list")
def list_command(
    config: ConfigOption,
    target: TargetOption = None,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1)] = 20,
    as_json: JsonOption = False,
) -> None:
    """List the tests that people asked for, and what became of each."""
    from autotuner.commands.experiment_views import request_as_dict, requests_table

    settings = _config(config)
    history = _history(settings)
    if target is not None:
        known_target(history, settings, target)
    found = [(one, _verdict(history, one)) for one in history.declared(target, limit=limit)]
    if as_json:
        print_json([request_as_dict(request, verdict) for request, verdict in found])
    else:
        requests_table(found)


@experiment_app.command("show")
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            autocompletion=complete_experiment,
            help="Of an experiment or a request.",
        ),
    ],
    config: ConfigOption,
    as_json: JsonOption = False,
) -> None:
    """Show one experiment: its verdict and its reason in words, slots, pairs and guardrails."""
    from autotuner.commands.experiment_views import request_words
    from autotuner.commands.views import experiment_report
    from autotuner.domain.errors import HistoryError
    from autotuner.report.data import report_data

    history = _history(_config(config))
    request = _request(history, name)
    if request is not None and request.experiment_id is None:
        raise HistoryError(
            f"request {request.id}: no experiment yet: {request_words(request, None)}"
        )
    key = name if request is None else str(request.experiment_id)
    found = history.experiment(key)
    if found is None:
        raise HistoryError(
            f"experiment {key!r}: unknown; see `autotuner experiment list` or `history list`"
        )
    ended_at, why = history.ended_at(found.id), why_tried(history, found)
    if as_json:
        print_json(report_data(found, ended_at, why))
    else:
        experiment_report(found, ended_at, why)


@experiment_app.command("stop")
def stop(
    config: ConfigOption,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="A request or an experiment; default: what runs."),
    ] = None,
    target: TargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a running test (the incumbent comes back), or withdraw a request that waits."""
    from autotuner.commands.experiment_stop import running_on, stop_named
    from autotuner.declaring import target_named

    settings = _config(config)
    history, who, now = _history(settings), getpass.getuser(), time.time()
    if name is None:
        name = running_on(history, target_named(settings, target).name)
    sentence = stop_named(history, name, who, now)
    if as_json:
        print_json({"name": name, "done": sentence})
    else:
        typer.echo(sentence)


def _ask(settings: Config, wish: Wish, config: Path, *, wait: bool, as_json: bool) -> None:
    """Writes the request; says where no daemon will take it soon; waits where asked to."""
    from autotuner.commands.experiment_follow import START_S, Daemon, idleness
    from autotuner.declaring import declare

    history, target = _history(settings), wish.target.name
    number = declare(history, wish, getpass.getuser(), time.time())
    typer.echo(f"request {number}: {wish.name} on {target}", err=as_json)
    daemon = Daemon(settings.cycle_s, f"autotuner run -c {config}")
    beat = history.status(target).heartbeat
    missing = daemon.absence(target, beat, time.time())
    for warning in (missing, idleness(beat)):
        if warning:
            typer.echo(warning, err=True)
    if missing:
        patience = f"; waiting up to {START_S:.0f} s for one" if wait else ""
        typer.echo(f"request {number} is kept until a daemon takes it{patience}", err=True)
    if wait:
        _follow(history, number, daemon, as_json=as_json)
    elif as_json:
        print_json({"request": number, "target": target, "daemon": missing is None})


def _follow(history: History, number: int, daemon: Daemon, *, as_json: bool) -> None:
    from autotuner.commands import experiment_follow as following
    from autotuner.commands.experiment_views import request_as_dict
    from autotuner.report.data import report_data

    def say(sentence: str) -> None:
        typer.echo(sentence, err=as_json)

    try:
        seen, absent = following.follow(history, number, daemon, say, following.Waiter())
    except KeyboardInterrupt:
        typer.echo(
            f"no longer waiting; request {number} goes on: "
            f"`autotuner experiment stop {number}` ends it",
            err=True,
        )
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        test = seen.experiment
        told = request_as_dict(seen.request, _verdict(history, seen.request))
        found = None if test is None else report_data(test, history.ended_at(test.id))
        print_json({**told, "report": found})
    if absent:
        typer.echo(absent, err=True)
        raise typer.Exit(NO_DAEMON)
    if not following.succeeded(seen):
        raise typer.Exit(NOT_ACCEPTED)


def _config(path: Path) -> Config:
    from autotuner.config import load_config

    return load_config(path)


def _history(settings: Config) -> History:
    from autotuner.bootstrap import open_configured_history

    return open_configured_history(settings)


def _wish(declared: Any, where: str, config: Path, target: str | None) -> tuple[Config, Wish]:
    from autotuner.declaring import checked, target_named

    settings = _config(config)
    field = "--target" if target else f"{where}: target"
    return settings, checked(
        declared, where, target_named(settings, target or declared.target, field)
    )


def _levelled(history: History, wish: Wish) -> Plan:
    """The plan at the level that a candidate's test has where the policy controls discoveries."""
    from autotuner.abtest.discovery import level

    if wish.rules.fdr == "none" or not wish.changes:
        return wish.plan
    alpha = level(wish.plan.alpha, *history.count_tests(wish.target.name))
    return replace(wish.plan, alpha=alpha)


def _past(history: History, target: str) -> list[Any]:
    """The latest closed tests with all their pairs."""
    summaries = history.experiments(target=target, limit=_PAST_TESTS)
    whole = (history.experiment(summary.id) for summary in summaries)
    return [experiment for experiment in whole if experiment is not None]


def _request(history: History, name: str) -> Control | None:
    """The declared test of that number; None where `name` is no number of one."""
    from autotuner.commands.experiment_stop import request_named

    return request_named(history, name)


def _verdict(history: History, request: Control) -> Verdict | None:
    if request.experiment_id is None:
        return None
    test = history.experiment(request.experiment_id)
    return test.conclusion.verdict if test and test.conclusion else None
