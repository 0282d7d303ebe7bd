"""`autotuner agent calibrate | checks | improve`: what an agent learns of a target."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autotuner.commands.operate import ConfigOption, TargetOption
from autotuner.commands.output import JsonOption, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from autotuner.agent.calibration import Calibration
    from autotuner.config import Config, TargetConfig
    from autotuner.domain.learning import ModelCheck


def calibrate(
    config: ConfigOption,
    target: TargetOption = None,
    scrapes: Annotated[int, typer.Option(min=2, help="How often to look, a second apart.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """Look at a live target and show the model that fits it, with how well each figure is known."""
    from autotuner.agent.calibration import calibrate_target
    from autotuner.agent.figures import Past
    from autotuner.bootstrap import ends_of
    from autotuner.config import load_config
    from autotuner.metrics.window import between

    chosen = _chosen(load_config(config), target)
    ends = ends_of(chosen, stale_s=60.0)
    usage, prefix, before = [], [], None
    for turn in range(scrapes):
        if turn:
            time.sleep(1.0)
        snapshot, now = ends.metrics.snapshot(), ends.target.read_settings().now
        if "kv_usage" in snapshot.gauges:
            usage.append((now, snapshot.gauges["kv_usage"]))
        if before is not None and snapshot.at > before.at:
            window = between(before, snapshot)
            told = [window.rates.get(name) for name in ("prefix_looked_up", "prefix_found")]
            if told[0] is not None and told[1] is not None:
                prefix.append((now, told[0] * window.length_s, told[1] * window.length_s))
        before = snapshot
    steps, _ = ends.target.steps(0)
    requests = ends.target.exposures(0).exposures
    past = Past(tuple(steps), requests, tuple(usage), tuple(prefix))
    found = calibrate_target(past)
    if as_json:
        print_json(_as_dict(found))
    else:
        typer.echo("\n".join(_lines(found)))


def checks(
    config: ConfigOption,
    target: TargetOption = None,
    hours: Annotated[float, typer.Option(min=0.1, help="How far back.")] = 24.0,
    as_json: JsonOption = False,
) -> None:
    """How far the model was from what came, by figure, and which agents were in use."""
    from statistics import median

    from autotuner.bootstrap import open_configured_history
    from autotuner.config import load_config

    settings = load_config(config)
    name = _chosen(settings, target).name
    history = open_configured_history(settings)
    found = history.model_checks(name, since=time.time() - hours * 3600)
    if as_json:
        releases = history.agent_releases(name)
        print_json(
            {
                "target": name,
                "hours": hours,
                "checks": [_check_as_dict(one) for one in found],
                "releases": [asdict(one) for one in releases],
            }
        )
        return
    if not found:
        typer.echo(f"{name}: nothing was checked in the last {hours:g} hours")
    for figure in sorted({one.figure for one in found}):
        mine = [one for one in found if one.figure == figure]
        errors = [one.error for one in mine if one.error == one.error]
        off = f"{median(errors):.0%}" if errors else "-"
        typer.echo(
            f"{figure:<11} {len(mine):>5} checks, median error {off:>5}, predicted "
            f"{median(one.predicted for one in mine):.4g}, measured "
            f"{median(one.measured for one in mine):.4g}"
        )
    for release in history.agent_releases(name):
        at = time.strftime("%Y-%m-%d %H:%M", time.gmtime(release.at))
        typer.echo(f"{at} UTC {release.version} (from {release.parent}): {release.reason}")


def improve(
    config: ConfigOption,
    target: TargetOption = None,
    steps: Annotated[
        int | None, typer.Option(min=1000, help="Environment steps; the policy's otherwise.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Train and compare only.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train the agent further on what a target went through; use it from now on if it is better."""
    from autotuner.bootstrap import agent_path, open_configured_history
    from autotuner.config import load_config, load_policy
    from autotuner.improvement import improve as improve_agent
    from autotuner.learning_setup import AGENT_KINDS, improve_options, target_folder
    from autotuner.resources import resource_folder

    settings = load_config(config)
    chosen = _chosen(settings, target)
    policy = load_policy(chosen.policy, resource_folder("policies"))
    if policy.proposer.kind not in AGENT_KINDS:
        raise _refused(
            f"proposer.kind={policy.proposer.kind!r}: has no agent to train; give one of "
            f"{', '.join(AGENT_KINDS)}"
        )
    folder = target_folder(settings, chosen.name)
    options = improve_options(chosen.name, policy, agent_path(policy.proposer.agent), folder, steps)
    history = open_configured_history(settings)
    found = improve_agent(history, options, time.time(), dry_run=dry_run)
    if as_json:
        version = found.release.version if found.release else None
        print_json({"target": chosen.name, "sentence": found.sentence, "released": version})
    else:
        typer.echo(found.sentence)


def _as_dict(found: Calibration) -> dict[str, Any]:
    return {
        "note": found.note,
        "model": asdict(found.model),
        "standard_errors": list(found.standard_errors),
        "figures": {name: {**vars(one), "known": one.known} for name, one in _figures(found)},
    }


def _check_as_dict(one: ModelCheck) -> dict[str, Any]:
    return {
        "at": one.at,
        "figure": one.figure,
        "predicted": one.predicted,
        "measured": one.measured,
        "error": one.error,
        "settings": None if one.settings is None else dict(one.settings),
        "experiment": one.experiment or None,
    }


def _figures(found: Calibration) -> Iterator[tuple[str, Any]]:
    return iter(vars(found.figures).items())


def _lines(found: Calibration) -> list[str]:
    model, errors, known = found.model, found.standard_errors, found.figures
    names = ("t0_s", "decode_s", "prefill_s", "context_s", "pair_s")
    steps = [
        f"{name:<14} {getattr(model, name):.4g} ± {1.96 * error:.2g}"
        for name, error in zip(names, errors, strict=True)
    ]
    figures = [
        f"{name:<14} {one.value:.4g} ± {1.96 * one.error:.2g}  ({one.n} readings)"
        if one.known
        else f"{name:<14} not known ({one.n} readings)"
        for name, one in vars(known).items()
    ]
    return [found.note, *steps, f"{'noise':<14} {model.noise:.3g}", *figures]


def _chosen(config: Config, target: str | None) -> TargetConfig:
    names = [one.name for one in config.targets]
    if target is None and len(names) > 1:
        raise _refused(f"--target: needed, since there are several: {', '.join(names)}")
    if target is not None and target not in names:
        raise _refused(f"--target={target!r}: unknown; give one of {', '.join(names)}")
    return config.targets[0 if target is None else names.index(target)]


def _refused(why: str) -> Exception:
    from autotuner.domain.errors import ConfigError

    return ConfigError(why)
