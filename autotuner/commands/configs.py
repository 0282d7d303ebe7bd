"""`autotuner config schema | check`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

config_app = typer.Typer(help="The configuration file: its JSON schema, and a check of one.")


@config_app.command("schema")
def schema() -> None:
    """Print the JSON schemas of the configuration and of a policy."""
    from autotuner.config import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


@config_app.command("check")
def check(
    path: Annotated[Path, typer.Argument(help="The configuration file (YAML).")],
) -> None:
    """Say whether a configuration, and the policies that it names, can be used."""
    from autotuner.config import load_config, load_policy
    from autotuner.resources import resource_folder

    config = load_config(path)
    for target in config.targets:
        policy = load_policy(target.policy, resource_folder("policies"))
        slo, size = policy.slo.to_domain().describe(), policy.space().size()
        typer.echo(f"target {target.name}: policy {policy.name}, {slo}, {size} settings")
    typer.echo(f"{path}: good; history at {config.history}, a cycle every {config.cycle_s:g} s")
