"""`autotuner agent train | evaluate | show`."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autotuner.commands.output import JsonOption, print_json, progress
from autotuner.domain.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from autotuner.agent.ppo import TrainProgress

agent_app = typer.Typer(help="The PPO agent: train it in the simulator, evaluate it, show it.")
NameArgument = Annotated[
    str, typer.Argument(help="A name under policies/agents, or a path without suffix.")
]


@agent_app.command("train")
def train(
    out: Annotated[Path, typer.Argument(help="Where the weights go; a path without suffix.")],
    steps: Annotated[int, typer.Option(min=1000, help="Environment steps, per seed.")] = 2_000_000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same agent.")] = 0,
    seeds: Annotated[
        int, typer.Option(min=1, help="Train so many, from --seed on, and keep the best.")
    ] = 1,
    start: Annotated[str | None, typer.Option(help="Go on from this agent.")] = None,
    replace: Annotated[bool, typer.Option(help="Write over an agent of that name.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train an agent on random machines, models and workloads (minutes on one core)."""
    _free(out, replace=replace)
    from autotuner.agent.artifact import load, save
    from autotuner.agent.ppo import TrainConfig, train_seeds
    from autotuner.bootstrap import agent_path

    begin = load(agent_path(start)) if start else None
    today = datetime.now(UTC).date().isoformat()
    config = TrainConfig(name=out.name, steps=steps, seed=seed, trained_on=today)
    with _training_bar(config.seed, seeds, steps) as told:
        agent = train_seeds(config, seeds, told, begin)
    save(agent, out)
    card = agent.card
    if as_json:
        print_json({"agent": str(out), "seed": card.seed, **(card.validation or {})})
        return
    typer.echo(f"wrote {out}.safetensors and {out}.json: seed {card.seed}")


@agent_app.command("show")
def show(name: NameArgument = "ppo-v2", as_json: JsonOption = False) -> None:
    """Show what an agent is: what it sees, which knobs it moves, how it was trained."""
    from dataclasses import asdict

    from autotuner.agent.artifact import describe, load
    from autotuner.bootstrap import agent_path

    agent = load(agent_path(name))
    if as_json:
        print_json(asdict(agent.card))
    else:
        typer.echo(describe(agent))


@agent_app.command("evaluate")
def evaluate(
    name: NameArgument = "ppo-v2",
    systems: Annotated[int, typer.Option(min=1, help="How many held-out systems.")] = 40,
    seed: Annotated[int, typer.Option(min=0, help="Which held-out systems.")] = 1000,
    proposals: Annotated[int, typer.Option(min=3, help="Proposals made on each.")] = 5,
    note: Annotated[bool, typer.Option(help="Write the score into the agent's card.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Regret by number of proposals on held-out systems, beside what else a user could run."""
    from dataclasses import replace

    from autotuner.agent.artifact import load, save
    from autotuner.agent.evaluation import evaluate as evaluate_agent
    from autotuner.bootstrap import agent_path

    agent = load(agent_path(name))
    with progress("held-out systems", systems) as advance:
        found = evaluate_agent(agent, systems, seed, proposals, lambda done: advance(done, ""))
    if note:
        card = replace(agent.card, score=found.score())
        save(replace(agent, card=card), agent_path(name))
    if as_json:
        print_json(found.as_dict())
    else:
        typer.echo(str(found))


def _free(out: Path, *, replace: bool) -> None:
    """Raises AgentError unless an agent can be written there."""
    from autotuner.agent.artifact import paths

    if not out.name or out.is_dir():
        raise AgentError(f"agent {out}: a folder: give the agent's name too, as {out}/ppo-v3")
    if out.suffix in (".json", ".safetensors"):
        raise AgentError(f"agent {out}: give the path without suffix: {out.with_suffix('')}")
    taken = [str(path) for path in paths(out) if path.exists()]
    if taken and not replace:
        raise AgentError(
            f"agent {out}: {', '.join(taken)} exists: choose another name, or give --replace"
        )


@contextmanager
def _training_bar(first: int, seeds: int, steps: int) -> Iterator[Callable[[TrainProgress], None]]:
    with progress("training", steps * seeds) as advance:

        def told(at: TrainProgress) -> None:
            done = (at.seed - first) * steps + min(at.steps, steps)
            seed = f"seed {at.seed}, " if seeds > 1 else ""
            advance(done, f"{seed}objective {at.objective:.3f}, reward {at.reward:+.4f}")

        yield told
