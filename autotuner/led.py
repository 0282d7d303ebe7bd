"""Wires a service that runs only while its process leads; names the lock for each database."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

from autotuner.bootstrap import Parts, build_fit_pool, build_proposer
from autotuner.config import Config, load_policy
from autotuner.history.leader_lock import FileLock, PostgresLock
from autotuner.history.store import History
from autotuner.instruments import Instruments
from autotuner.leading import LEASE_CHECKS, Leadership, Lock
from autotuner.reloading import Reloader
from autotuner.resources import resource_folder
from autotuner.service import Service
from autotuner.succession import Succession


def build_led_service(
    config: Config,
    history: History,
    read: Callable[[], Config] | None = None,
    file: Path | None = None,
) -> Service:
    """A service without a daemon: they are built when it runs and this process leads.

    Raises ConfigError for a policy or a secret that can't be used, AgentError for weights that
    can't. `read`: see `build_service`. `file`: the configuration's, which processes of their own
    read: no model learns without it.
    """
    instruments, pool = Instruments(), build_fit_pool(config)
    fit = pool.fit_many if pool else None
    base = Parts(history, instruments, fit, file=file)
    for target in config.targets:
        base.made_of(config, target)
    for name in {target.policy for target in config.targets}:
        # What is slow to load is loaded once before it is needed: a takeover must not wait for it.
        build_proposer(load_policy(name, resource_folder("policies")))
    reloader = Reloader(config, {}, base, read or (lambda: config))
    return Service(
        [],
        [],
        instruments,
        config.cycle_s,
        slow_jobs_at_once=max(1, config.forecast_processes),
        closing=(pool.close,) if pool else (),
        reloader=reloader,
        leading=Succession(
            leadership_of(config, history),
            lambda term: Parts(history.under(term), instruments, fit, file=file),
            reloader,
            instruments,
        ),
    )


def leadership_of(config: Config, history: History) -> Leadership:
    """The part of this process among those that share a history and a leader's name."""
    name, check_s = config.leader.name, config.leader.check_s
    return Leadership(
        name=name,
        daemon_id=f"{socket.gethostname()}:{os.getpid()}",
        lock=lock_of(history, name, LEASE_CHECKS * check_s),
        terms=history,
        check_s=check_s,
    )


def lock_of(history: History, name: str, lease_s: float) -> Lock:
    """PostgreSQL's advisory lock, or a file beside the SQLite database."""
    if history.url.get_backend_name() == "sqlite":
        return FileLock(Path(str(history.url.database)))
    return PostgresLock(history.url, name, lease_s)
