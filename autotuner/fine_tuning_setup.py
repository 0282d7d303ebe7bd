"""Wires the fine-tuning of one target's model into its daemon and the jobs beside that."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from autotuner.config import Config
from autotuner.daemon import Daemon
from autotuner.domain.errors import ConfigError
from autotuner.finetune.promotion import learning_target, weights_policy
from autotuner.finetune.tending import TEND_EVERY_S, Tending, started
from autotuner.history.store import History
from autotuner.service import Job


def fine_tuning_jobs(
    config: Config, daemon: Daemon, history: History, file: Path | None
) -> list[Job]:
    """The job that tends the runs of the daemon's target; none where its model does not learn.

    What a training says of itself is among the target's series from now on. Raises ConfigError
    where its policy can't test weights, or no `file` says to a run what it is to do.
    """
    if config.learn is None:
        return []
    target = learning_target(config)
    if target.name != daemon.name:
        return []
    weights_policy(target)
    if file is None:
        raise ConfigError("learn: a run is a process that reads the configuration: give it a file")
    start, gauges = partial(started, file.absolute()), daemon.instruments.fine_tuning
    tending = Tending(history, daemon.name, config.learn, start, gauges)
    daemon.watch.beside = tending.readings
    # Apart: it is quick, and never waits for a slow job.
    return [Job(f"learn:{daemon.name}", TEND_EVERY_S, tending.tend, apart=True)]
