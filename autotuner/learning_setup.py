"""Wires what an agent learns from: who watches its model, who trains it, where that lies."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from autotuner.agent.prior import PriorOf, usual
from autotuner.config import Config, Policy, ProposerConfig
from autotuner.domain.errors import ConfigError
from autotuner.domain.ports import Proposer
from autotuner.history.store import History
from autotuner.improvement import ImproveOptions, improve_if_due, moments_path
from autotuner.learning import Learner, LearnerOptions
from autotuner.released import ReleasedProposer
from autotuner.service import Job

AGENT_KINDS = ("ppo", "ppo-tpe")  # proposers that have weights
_LOOK_S = 3600.0  # how often it is asked whether a further training is due
_SPARE_S = 120.0  # requests are remembered so much longer than a check needs: they warm it up
_SQLITE = "sqlite:///"


def target_folder(config: Config, target: str, environment: Mapping[str, str] = os.environ) -> Path:
    """Where what was learnt of `target` lies.

    Under the configuration's state_folder, $STATE_DIRECTORY (systemd's), beside a SQLite history,
    or under $XDG_STATE_HOME (~/.local/state)/autotuner: the first of these that there is.
    """
    return _state_folder(config, environment) / "learning" / target


def _state_folder(config: Config, environment: Mapping[str, str]) -> Path:
    if config.state_folder is not None:
        return config.state_folder
    if given := environment.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    database = config.history.removeprefix(_SQLITE)
    if database != config.history and database not in ("", ":memory:"):
        return Path(database).parent
    home = environment.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "autotuner"


def prior_of(chosen: ProposerConfig) -> PriorOf:
    """What the planner expects of an engine, where the policy says what serves; raises ConfigError.

    Hardware "this" is measured, once in a process: seconds of one core.
    """
    if chosen.prior is None:
        return usual
    from autotuner.planner.prior import expected

    told = chosen.prior
    try:
        return expected(told.model, told.hardware, told.precision, told.table)
    except ConfigError as problem:
        raise ConfigError(f"proposer.prior: {problem}") from problem


def learner_for(
    target: str, policy: Policy, history: History, folder: Path | None, replicas: int
) -> Learner | None:
    """None where the policy wants no checks. Without a folder, nothing is kept for training."""
    wanted = policy.learning
    if wanted.check_every_s is None:
        return None
    options = LearnerOptions(
        target=target,
        slo=policy.slo.to_domain(),
        remember_s=wanted.check_every_s + _SPARE_S,
        calibrate_every_s=wanted.calibrate_every_s,
        moments=None if folder is None else moments_path(folder),
        replicas=replicas,
        prior_of=prior_of(policy.proposer),
    )
    return Learner(history, options)


def improve_options(
    target: str, policy: Policy, base: Path, folder: Path, steps: int | None = None
) -> ImproveOptions:
    """How the agent `base` (a path) of `target` is trained further."""
    wanted = policy.learning
    return ImproveOptions(
        target=target,
        base=base,
        folder=folder,
        space=policy.space(),
        slo=policy.slo.to_domain(),
        steps=wanted.steps if steps is None else steps,
        time_limit_s=wanted.time_limit_s,
        every_s=(wanted.improve_every_h or 24.0) * 3600.0,
        min_checks=wanted.min_checks,
    )


def learning_jobs(
    target: str,
    policy: Policy,
    history: History,
    learner: Learner | None,
    base: Path,
    folder: Path,
) -> list[Job]:
    """The slow jobs of one target. A training takes long: it never holds up another job."""
    wanted, jobs = policy.learning, []
    if learner is not None and wanted.check_every_s is not None:
        jobs.append(Job(f"check:{target}", wanted.check_every_s, learner.check))
    if wanted.improve_every_h is not None and policy.proposer.kind in AGENT_KINDS:
        options = improve_options(target, policy, base, folder)
        every_s = min(_LOOK_S, options.every_s)

        def improve(now: float) -> object:
            return improve_if_due(history, options, now)

        jobs.append(Job(f"improve:{target}", every_s, improve, apart=True))
    return jobs


def proposer_for(
    target: str,
    policy: Policy,
    history: History,
    base: Path,
    build: Callable[[Policy], Proposer],
) -> Proposer:
    """The policy's proposer; where it has an agent, always with the one in use."""
    if policy.proposer.kind not in AGENT_KINDS:
        return build(policy)

    def built(agent: Path) -> Proposer:
        chosen = policy.proposer.model_copy(update={"agent": str(agent.absolute())})
        return build(policy.model_copy(update={"proposer": chosen}))

    return ReleasedProposer(history, target, base, built)
