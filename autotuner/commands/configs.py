"""`autotuner config schema | check`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autotuner.commands.output import JsonOption, print_json

if TYPE_CHECKING:
    from autotuner.config import Config, Policy

config_app = typer.Typer(help="The configuration file: its JSON schema, and a check of one.")


@config_app.command("schema")
def schema() -> None:
    """Print the JSON schemas of the configuration and of a policy."""
    from autotuner.config import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


@config_app.command("check")
def check(
    path: Annotated[Path, typer.Argument(help="The configuration file (YAML).")],
    as_json: JsonOption = False,
) -> None:
    """Say whether a configuration, and the policies that it names, can be used."""
    from autotuner.config import load_config, load_policy
    from autotuner.domain.passwords import hide_passwords
    from autotuner.resources import resource_folder

    config = load_config(path)
    folder = resource_folder("policies")
    policies = [(target.name, load_policy(target.policy, folder)) for target in config.targets]
    if as_json:
        print_json(_as_dict(path, config, policies))
        return
    for name, policy in policies:
        slo, size = policy.slo.to_domain().describe(), policy.space().size()
        typer.echo(f"target {name}: policy {policy.name}, {slo}, {size} settings")
    history = hide_passwords(config.history)
    typer.echo(f"{path}: good; history at {history}, a cycle every {config.cycle_s:g} s")


def _as_dict(path: Path, config: Config, policies: list[tuple[str, Policy]]) -> dict[str, Any]:
    from autotuner.domain.passwords import hide_passwords

    return {
        "file": str(path),
        "history": hide_passwords(config.history),
        "cycle_s": config.cycle_s,
        "targets": [
            {
                "target": name,
                "policy": policy.name,
                "slo": policy.slo.to_domain().describe(),
                "settings": policy.space().size(),
            }
            for name, policy in policies
        ],
    }
