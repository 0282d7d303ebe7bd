"""A declared test: checked against the target's policy, then written as a request for a daemon.

The command line and the API declare tests through here; a daemon finds them in the history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from autotuner.abtest.outcome import active_guardrails
from autotuner.config import (
    Config,
    ExperimentConfig,
    ExperimentPlan,
    Policy,
    TargetConfig,
    load_policy,
)
from autotuner.config.energy import check_declared
from autotuner.domain.errors import ConfigError, InvalidSettingsError
from autotuner.domain.experiment import Plan
from autotuner.domain.knobs import KnobSpace, Settings, Value
from autotuner.history.records import Ask
from autotuner.history.store import History
from autotuner.resources import resource_folder


@dataclass(frozen=True)
class Wish:
    """A test that the target's policy allows. `plan` is the policy's, with what the test changes.

    `rules`: the same as the policy's file would say it. `payload` goes through the history.
    """

    target: TargetConfig
    name: str
    note: str
    changes: Mapping[str, Value]
    rules: ExperimentConfig
    plan: Plan
    payload: Mapping[str, Any]

    @property
    def words(self) -> str:
        """What the request is called in lists."""
        return f"{self.name}: {self.note}" if self.note else self.name


def target_named(config: Config, name: str | None, field: str = "--target") -> TargetConfig:
    """The target of that name, or the only one; raises ConfigError naming `field` and the fix."""
    known = {target.name: target for target in config.targets}
    if name is None and len(known) == 1:
        return config.targets[0]
    if name is None:
        raise ConfigError(f"{field}: needed, since there are several: {', '.join(known)}")
    if name not in known:
        raise ConfigError(f"{field}={name!r}: unknown; give one of {', '.join(known)}")
    return known[name]


def checked(declared: ExperimentPlan, where: str, target: TargetConfig) -> Wish:
    """The test on `target`; raises ConfigError naming `where` (the file), field, value and fix."""
    where = f"{where}: " if where else ""
    policy: Policy = load_policy(target.policy, resource_folder("policies"))
    _check_changes(declared.changes, policy.space(), f"{where}changes", policy.name)
    rules = policy.experiment.with_changes(declared.overrides(), f"{where}experiment")
    check_declared(target.metrics, rules, f"{where}experiment")
    return Wish(
        target=target,
        name=declared.name,
        note=declared.note,
        changes=declared.changes,
        rules=rules,
        plan=_planned(rules, declared.changes, policy.space(), len(target.urls)),
        payload=declared.payload(),
    )


def _planned(
    rules: ExperimentConfig, changes: Mapping[str, Value], space: KnobSpace, replicas: int
) -> Plan:
    """As the daemon plans it: answers are scored only where a changed knob can change them."""
    plan = rules.to_domain(replicas)
    alters = any(knob.changes_answers for knob in space if knob.name in changes)
    return replace(plan, guardrails=active_guardrails(plan, alters))


def _check_changes(changes: Mapping[str, Value], space: KnobSpace, where: str, policy: str) -> None:
    knobs = {knob.name: knob for knob in space}
    for name, value in changes.items():
        if name not in knobs:
            raise ConfigError(
                f"{where}.{name}={value!r}: policy {policy} does not tune this knob; "
                f"give one of {', '.join(knobs)}"
            )
        try:
            knobs[name].index(value)
        except InvalidSettingsError as problem:
            raise ConfigError(f"{where}.{problem}, the levels of policy {policy}") from problem


def obstacle(
    wish: Wish, incumbent: Settings | None, quarantined: frozenset[str] = frozenset()
) -> str | None:
    """Why the test can't be run on what is live now, with the fix; None where it can.

    Nothing is said of a target whose incumbent is not known yet.
    """
    if incumbent is None or not wish.changes:
        return None
    candidate = incumbent.with_values(**wish.changes)
    if candidate == incumbent:
        same = ", ".join(f"{name}={value!r}" for name, value in wish.changes.items())
        return f"changes: {same} is live already: give other values, or none for an A/A test"
    if candidate.digest in quarantined:
        return (
            "changes: these settings did harm, or their engine failed, and are in quarantine: "
            "`autotuner quarantine list` says why and how long"
        )
    return None


def refusal(history: History, wish: Wish, now: float) -> str | None:
    """`obstacle`, by what the history knows of the target."""
    live = history.incumbent(wish.target.name)
    barred = history.quarantined(wish.target.name, now)
    return obstacle(wish, live.settings if live else None, barred)


def declare(history: History, wish: Wish, who: str, now: float) -> int:
    """Writes the request; its number. Raises ConfigError where the test can't be run as it is."""
    target = wish.target.name
    if problem := refusal(history, wish, now):
        raise ConfigError(problem)
    if target not in history.targets():  # its daemon has never run
        history.record_target(target, kind="worker", url=wish.target.urls[0], at=now)
    return history.ask(target, Ask.EXPERIMENT, who, now, wish.words, wish.payload)
