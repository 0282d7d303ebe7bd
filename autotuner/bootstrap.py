"""The one place that names concrete classes: configuration in, a wired service out."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from autotuner.alerts.inbox import Action
from autotuner.alerts.lifecycle import Severity, Timing
from autotuner.alerts.limits import Limit, LimitKind
from autotuner.alerts.rules import AlertRule, Tier
from autotuner.availability import Availability
from autotuner.config import (
    AlertRuleConfig,
    Config,
    ForecastConfig,
    Policy,
    ProposerConfig,
    TargetConfig,
    load_policy,
    read_secret,
)
from autotuner.config.secrets import secrets_digest
from autotuner.couriers import delivery_jobs
from autotuner.daemon import Daemon
from autotuner.domain.errors import TargetUnavailableError
from autotuner.domain.mode import Mode
from autotuner.domain.ports import LanedTarget, MetricsSource, Proposer, Target
from autotuner.fine_tuning_setup import fine_tuning_jobs
from autotuner.forecast.fits import FitMany
from autotuner.forecast.joblib_pool import JoblibPool
from autotuner.forecast.pool import FitPool
from autotuner.forecast.service import Forecaster, ForecastSettings
from autotuner.hearing import AlertsIn
from autotuner.history.backlog import Backlog
from autotuner.history.store import History, open_history
from autotuner.instruments import Instruments
from autotuner.journal import Journal, JournalOptions
from autotuner.keeping import keeping_of
from autotuner.learning import Learner
from autotuner.learning_setup import (
    learner_for,
    learning_jobs,
    prior_of,
    proposer_for,
    target_folder,
)
from autotuner.metering import require_energy
from autotuner.observer import Horizon, Observer
from autotuner.probing import Probing
from autotuner.reloading import Reloader, TargetParts
from autotuner.resources import resource_folder
from autotuner.service import Job, Service
from autotuner.sidelines import Sidelines
from autotuner.sources import metrics_source
from autotuner.targets.capabilities import check_space
from autotuner.targets.split import SplitTarget
from autotuner.targets.split_quality import LaneProber, MergedFeedback
from autotuner.targets.worker import WorkerTarget
from autotuner.thinking import InTurn, Thinkers
from autotuner.tuner import Fdr, Rules, Tuner
from autotuner.watch import STEADY_FACTOR, Watch, WatchOptions

PRUNE_EVERY_S = 6 * 3600.0
DAY_S = 86400.0


def open_configured_history(config: Config) -> History:
    """The history that the configuration names, its tables brought up to date."""
    return open_history(config.history)


def build_service(
    config: Config, history: History, read: Callable[[], Config] | None = None
) -> Service:
    """Everything wired, nothing started. `read`: reads the configuration again, for a reload."""
    instruments = Instruments()
    pool = build_fit_pool(config)
    parts = Parts(history, instruments, pool.fit_many if pool else None)
    built = {target.name: parts.of_target(config, target) for target in config.targets}
    jobs = [job for one in built.values() for job in one.jobs]
    return Service(
        [one.daemon for one in built.values()],
        [*jobs, *parts.common_jobs(config)],
        instruments,
        config.cycle_s,
        slow_jobs_at_once=max(1, config.forecast_processes),
        closing=(pool.close,) if pool else (),
        reloader=Reloader(config, built, parts, read) if read is not None else None,
    )


@dataclass(frozen=True)
class Parts:
    """Builds what a service is made of, at the start and again at a reload; `file`: where from."""

    history: History
    instruments: Instruments
    fit: FitMany | None = None
    thinkers: Thinkers = field(default_factory=Thinkers)
    file: Path | None = None

    def made_of(self, config: Config, target: TargetConfig) -> tuple[object, ...]:
        """All that the daemon of `target` depends on; while that is equal, it need not be rebuilt.

        Raises ConfigError for a policy that can't be used.
        """
        policy = load_policy(target.policy, resource_folder("policies"))
        secrets = secrets_digest(target.model_dump())
        return target, policy, stale_s(config, target), secrets

    def of_target(self, config: Config, target: TargetConfig) -> TargetParts:
        """One target's daemon with the jobs beside it. Raises ConfigError, AgentError."""
        policy = load_policy(target.policy, resource_folder("policies"))
        daemon = build_daemon(
            config, target, policy, self.history, self.instruments, config.receivers,
            self.fit, self.thinkers,
        )  # fmt: skip
        base, folder = agent_path(policy.proposer.agent), target_folder(config, target.name)
        learning = learning_jobs(target.name, policy, self.history, daemon.learner, base, folder)
        refit = Job(f"refit:{target.name}", policy.forecast.refit_s, daemon.watch.refit)
        tuning = fine_tuning_jobs(config, daemon, self.history, self.file)
        jobs = (replace(job, target=target.name) for job in (refit, *learning, *tuning))
        return TargetParts(self.made_of(config, target), daemon, tuple(jobs))

    def common_jobs(self, config: Config) -> list[Job]:
        """Jobs that serve all targets. Raises ConfigError where a secret can't be read."""

        def keep(now: float) -> None:
            self.history.keep(keeping_of(config, now))

        prune = Job("prune", PRUNE_EVERY_S, keep)
        return [*delivery_jobs(config, self.history, self.instruments), prune]


def stale_s(config: Config, target: TargetConfig) -> float:
    """How old a target's numbers may be before they count as none."""
    return max(60.0, 5 * config.cycle_s, target.metrics.patience_s)


def build_fit_pool(config: Config) -> FitPool | JoblibPool | None:
    """Who fits forecasts for all targets; None where a process is started for each fit.

    Raises ConfigError for a backend that is not installed.
    """
    if config.forecast.backend == "joblib":
        return JoblibPool(config.forecast_processes, config.forecast.joblib_backend)
    return FitPool(config.forecast_processes) if config.forecast_processes else None


def build_alerts_in(config: Config, history: History) -> tuple[AlertsIn, str] | None:
    """Who hears an Alertmanager, and the token that it must show; None where none may be heard."""
    if config.alerts_in is None:
        return None
    token = read_secret(config.alerts_in.token_file, "alerts_in.token_file", for_header=True)
    assert token is not None, "the configuration asks for a file"
    modes = {target.name: target.mode for target in config.targets}
    return AlertsIn(history, modes, frozenset(map(Action, config.alerts_in.actions))), token


def build_daemon(
    config: Config,
    target: TargetConfig,
    policy: Policy,
    history: History,
    instruments: Instruments,
    receivers: tuple[str, ...],
    fit: FitMany | None = None,
    thinkers: Thinkers | None = None,
) -> Daemon:
    """One target's daemon against the live target; it thinks in its turn among `thinkers`.

    Raises ConfigError where the target can't do, or nobody can measure, what the policy asks.
    """
    require_energy(target, policy, config.cycle_s)
    workers = workers_of(target)
    for worker in workers:
        check_reachable_space(worker, policy)
    ends = live_ends(workers, metrics_source(target), stale_s(config, target))
    forecaster = Forecaster(_forecast_settings(policy.forecast), fit_many=fit)
    return assemble(
        target.name, ", ".join(target.urls), policy, history, instruments, ends, forecaster,
        receivers=receivers, mode=target.mode,
        proposer=InTurn(
            proposer_of(target.name, policy, history), target.name, thinkers or Thinkers()
        ),
        learner=learner_for(
            target.name, policy, history, target_folder(config, target.name), ends.replicas
        ),
    )  # fmt: skip


def proposer_of(name: str, policy: Policy, history: History) -> Proposer:
    """The policy's proposer for the target `name`, with the agent in use."""
    return proposer_for(name, policy, history, agent_path(policy.proposer.agent), build_proposer)


def workers_of(target: TargetConfig) -> tuple[WorkerTarget, ...]:
    """Every worker of one target, not asked anything yet."""
    field = f"targets.{target.name}.admin_token_file"
    token = read_secret(target.admin_token_file, field, for_header=True)
    return tuple(WorkerTarget(url, token, target.timeout_s) for url in target.urls)


def ends_of(target: TargetConfig, stale_s: float) -> Ends:
    """The two ends of one configured target's loop."""
    return live_ends(workers_of(target), metrics_source(target), stale_s)


def check_reachable_space(target: WorkerTarget, policy: Policy) -> None:
    """Raises ConfigError where the target can't do what the policy asks; one that is down may yet.

    What is then refused later is quarantined, so nothing worse than a wasted start can happen.
    """
    with contextlib.suppress(TargetUnavailableError):
        check_space(policy.space(), target.capabilities())


@dataclass(frozen=True)
class Ends:
    """The two ends of a loop: what is tuned, and where its numbers come from.

    `laned`: the target where its lanes can run two settings at once. `sidelines`: what else it
    tells.
    """

    target: Target
    metrics: MetricsSource
    stale_s: float
    laned: LanedTarget | None = None
    sidelines: Sidelines | None = None
    replicas: int = 1


def live_ends(workers: Sequence[WorkerTarget], metrics: MetricsSource, stale_s: float) -> Ends:
    """One worker, or several as one target of two lanes, with the metrics of all."""
    if len(workers) == 1:
        beside = Sidelines(Probing(workers[0]), workers[0])
        return Ends(workers[0], metrics, stale_s, sidelines=beside)
    split = SplitTarget(workers)
    beside = Sidelines(Probing(LaneProber(split, workers)), MergedFeedback(split, workers))
    return Ends(split, metrics, stale_s, split, beside, len(workers))


def assemble(
    name: str,
    url: str,
    policy: Policy,
    history: History,
    instruments: Instruments,
    ends: Ends,
    forecaster: Forecaster,
    *,
    receivers: tuple[str, ...] = (),
    mode: Mode = Mode.ACTIVE,
    proposer: Proposer | None = None,
    learner: Learner | None = None,
) -> Daemon:
    """A daemon from its parts: the live service and the replay differ only in `ends`.

    `proposer`: the policy's where none is given. `learner`: who watches its model.
    """
    space, proposing = policy.space(), policy.proposer
    rules = _rules(name, policy, ends.replicas)
    watching = WatchOptions(
        target=name,
        bucket_s=policy.forecast.bucket_s,
        horizon_s=policy.forecast.horizon_s,
        history_s=policy.forecast.history_days * DAY_S,
        rules=tuple(map(_rule, policy.alerts)),
        receivers=receivers,
        goal_attainment=policy.aim().attainment,
        replicas=ends.replicas,
        steady_factor=rules.drift_factor if math.isfinite(rules.drift_factor) else STEADY_FACTOR,
    )
    journal = JournalOptions(
        daemon_id=f"{socket.gethostname()}:{os.getpid()}",
        target=name,
        url=url,
        quarantine_s=proposing.quarantine_s,
        pause_s=proposing.pause_s,
        experiment=policy.experiment,
        replicas=ends.replicas,
    )
    known = history.target_info(name)
    history.record_target(
        name, kind=known.get("server") or "worker", url=url, at=time.time(), info=known
    )
    noise_s = rules.noise_s if rules.plan_from_noise else 0.0
    remember_s = max(noise_s, learner.remember_s if learner else 0.0)
    horizon = Horizon(proposing.observe_s, ends.stale_s, remember_s)
    backlog = Backlog()
    goal = policy.availability
    return Daemon(
        name=name,
        target=ends.target,
        laned=ends.laned,
        observer=Observer(ends.target, ends.metrics, rules.slo, horizon, ends.sidelines),
        watch=Watch(history, forecaster, watching, backlog),
        tuner=Tuner(rules, proposer or build_proposer(policy)),
        journal=Journal(history, journal, space, backlog),
        instruments=instruments,
        mode=mode,
        learner=learner,
        availability=None
        if goal is None
        else Availability(history, name, goal.to_domain(), rules.slo, backlog),
    )


def _rules(name: str, policy: Policy, replicas: int) -> Rules:
    proposing, testing = policy.proposer, policy.experiment
    return Rules(
        target=name,
        space=policy.space(),
        slo=policy.slo.to_domain(),
        plan=testing.to_domain(replicas),
        goal=policy.aim(),
        min_requests=proposing.min_requests,
        pause_s=proposing.pause_s,
        retry_s=proposing.retry_s,
        plan_from_noise=testing.plan_from_noise,
        noise_s=testing.noise_s,
        fdr=Fdr(testing.fdr),
        confirm=testing.confirm,
        quarantine_s=proposing.quarantine_s,
        drift_factor=math.inf if testing.drift_factor is None else testing.drift_factor,
        drift_hold_s=testing.drift_hold_s,
        retest=testing.retest,
        saving=policy.saving_plan(replicas),
        replicas=replicas,
        restart_max_s=testing.restart_max_s,
    )


def build_proposer(policy: Policy) -> Proposer:
    """The proposer that the policy names; an agent's weights are checked here, at start."""
    chosen = policy.proposer
    if chosen.kind == "ppo":
        return _trained(chosen)
    if chosen.kind in ("tpe", "gp", "ppo-tpe"):
        from autotuner.agent.optuna_search import gp, tpe
        from autotuner.agent.relay import Relay

        if chosen.kind == "ppo-tpe":
            return Relay(_trained(chosen), tpe(), chosen.takeover_after)
        return tpe() if chosen.kind == "tpe" else gp()
    from autotuner.agent import baselines, reactive

    simple: dict[str, Callable[[], Proposer]] = {
        "grid": baselines.GridProposer,
        "hill-climb": baselines.HillClimbProposer,
        "aimd": reactive.AIMDProposer,
        "random": baselines.RandomProposer,
    }
    return simple[chosen.kind]()


def _trained(chosen: ProposerConfig) -> Proposer:
    from autotuner.agent.artifact import load
    from autotuner.agent.proposer import PPOProposer

    return PPOProposer(
        load(agent_path(chosen.agent)), min_gain=chosen.min_gain, prior_of=prior_of(chosen)
    )


def agent_path(name: str) -> Path:
    """Where the agent `name` lies, without suffix: a path as given, or under policies/agents."""
    return Path(name) if "/" in name else resource_folder("policies") / "agents" / name


def _forecast_settings(forecast: ForecastConfig) -> ForecastSettings:
    return ForecastSettings(
        step_s=forecast.bucket_s,
        window_s=forecast.history_days * DAY_S,
        time_limit_s=forecast.time_limit_s,
    )


def _rule(rule: AlertRuleConfig) -> AlertRule:
    kind, figure = rule.limit
    return AlertRule(
        name=rule.name,
        tier=Tier(rule.tier),
        series=rule.series,
        limit=Limit(LimitKind(kind), figure, rule.clear),
        timing=Timing(rule.for_s, rule.resolve_for_s),
        severity=Severity(rule.severity),
        inhibits=frozenset(rule.inhibits),
    )
