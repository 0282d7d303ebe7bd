"""`autotuner agent train | evaluate | show`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

agent_app = typer.Typer(help="The PPO agent: train it in the simulator, evaluate it, show it.")
NameArgument = Annotated[
    str, typer.Argument(help="A name under policies/agents, or a path without suffix.")
]


@agent_app.command("train")
def train(
    out: Annotated[Path, typer.Argument(help="Where the weights go; a path without suffix.")],
    steps: Annotated[int, typer.Option(min=1000, help="Environment steps.")] = 1_500_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same agent.")] = 0,
    start: Annotated[str | None, typer.Option(help="Go on from this agent.")] = None,
) -> None:
    """Train an agent on random machines, models and workloads (minutes on one core)."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from autotuner.agent.artifact import load, save
    from autotuner.agent.ppo import TrainConfig, TrainProgress
    from autotuner.agent.ppo import train as train_agent
    from autotuner.bootstrap import agent_path

    columns = (
        "{task.description}",
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[seen]}"),
    )
    with Progress(*columns) as bar:
        task = bar.add_task("training", total=steps, seen="")

        def told(at: TrainProgress) -> None:
            seen = f"attainment {at.attainment:.3f}, reward {at.reward:+.4f}"
            bar.update(task, completed=at.steps, seen=seen)

        config = TrainConfig(
            name=out.name, steps=steps, seed=seed, trained_on=datetime.now(UTC).date().isoformat()
        )
        begin = load(agent_path(start)) if start else None
        save(train_agent(config, told, begin), out)
    typer.echo(f"wrote {out}.safetensors and {out}.json")


@agent_app.command("show")
def show(name: NameArgument = "ppo-v1") -> None:
    """Show what an agent is: what it sees, which knobs it moves, how it was trained."""
    from autotuner.agent.artifact import load
    from autotuner.agent.ppo import describe
    from autotuner.bootstrap import agent_path

    typer.echo(describe(load(agent_path(name))))


@agent_app.command("evaluate")
def evaluate(
    name: NameArgument = "ppo-v1",
    systems: Annotated[int, typer.Option(min=1, help="How many held-out systems.")] = 40,
    seed: Annotated[int, typer.Option(help="Which held-out systems.")] = 1000,
) -> None:
    """Regret by number of proposals on held-out systems, beside random search and hill climbing."""
    from autotuner.agent.artifact import load
    from autotuner.agent.evaluation import evaluate as evaluate_agent
    from autotuner.bootstrap import agent_path

    typer.echo(str(evaluate_agent(load(agent_path(name)), systems, seed)))
