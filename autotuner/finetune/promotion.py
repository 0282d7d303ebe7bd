"""From weights that passed the gate to a live test, and from its verdict to what is kept.

A test of weights is a declared test like any other: the daemon runs it by the policy's rules.
"""

from __future__ import annotations

from typing import Any

import structlog

from autotuner.config import Config, ExperimentPlan, Policy, TargetConfig, load_policy, parse_plan
from autotuner.declaring import checked, declare, refusal, target_named
from autotuner.domain.errors import ConfigError
from autotuner.domain.experiment import Experiment, Verdict
from autotuner.domain.fine_tuning import BASE, FineTune, Stage
from autotuner.history.records import Ask, Control
from autotuner.history.store import History
from autotuner.resources import resource_folder

log = structlog.get_logger()

KNOB = "weights"
_KEPT = {Verdict.ACCEPTED: Stage.PROMOTED}
_WORSE = frozenset({Verdict.REJECTED, Verdict.HARMFUL})
_KNOB_LINES = "weights: {levels: [base], open: true, live: false, changes_answers: true}"
_TESTS = 200  # chosen: how many tests back a confirm run is looked for


def learning_target(config: Config) -> TargetConfig:
    """The target whose model learns; raises ConfigError where none does."""
    if config.learn is None:
        raise ConfigError("learn: missing; give learn.folder and learn.adapters to turn it on")
    return target_named(config, config.learn.target, "learn.target")


def introduce(history: History, target: TargetConfig, now: float) -> None:
    """Makes the target known to a history whose daemon has never run."""
    if target.name not in history.targets():
        history.record_target(target.name, kind="worker", url=", ".join(target.urls), at=now)


def weights_policy(target: TargetConfig) -> Policy:
    """The target's policy; raises ConfigError, with the fix, where it can't test weights."""
    policy = load_policy(target.policy, resource_folder("policies"))
    knob = next((knob for knob in policy.space() if knob.name == KNOB), None)
    if knob is None or not knob.open or BASE not in knob.levels:
        raise ConfigError(
            f"policy {policy.name}: knobs.{KNOB}: weights can't be tested without it: add "
            f"`{_KNOB_LINES}`"
        )
    return policy


def weights_in_force(history: History, target: str) -> str:
    """The weights of the incumbent; the base where nothing else is known."""
    live = history.incumbent(target)
    return BASE if live is None else str(live.settings.get(KNOB, BASE))


def weights_test(config: Config, name: str) -> ExperimentPlan:
    """The test of the weights `name`; raises ConfigError."""
    target = learning_target(config)
    assert config.learn is not None
    changes = config.learn.test_changes()
    if "guardrails" not in changes:
        rails = weights_policy(target).experiment.guardrails
        kept = [rail for rail in rails if rail.measure != changes["outcome"]]
        changes["guardrails"] = [rail.model_dump(mode="json") for rail in kept]
    told: dict[str, Any] = {
        "target": target.name,
        "name": f"weights {name}",
        "changes": {KNOB: name},
        "experiment": changes,
    }
    return parse_plan(told, "learn.experiment")


def offered(history: History, config: Config, tune: FineTune, who: str, now: float) -> FineTune:
    """The fine-tune with its live test asked for, or refused where there can be none.

    Both are written at once. Raises ConfigError for a configuration that allows no such test.
    """
    target = learning_target(config)
    weights_policy(target)
    wish = checked(weights_test(config, tune.name), "learn.experiment", target)
    if problem := refusal(history, wish, now):
        if tune.stage is not Stage.EVALUATED:
            raise ConfigError(f"weights {tune.name} can't be tested: {problem}")
        return history.record_fine_tune(tune.to(Stage.REFUSED, now, problem))
    with history.together():
        number = declare(history, wish, who, now)
        waits = tune.to(
            Stage.OFFERED, now, f"request {number} waits", request_id=number, experiment_id=None
        )
        return history.record_fine_tune(waits)


def settled(history: History, target: str, now: float) -> tuple[FineTune, ...]:
    """The fine-tunes whose live tests have been decided since, as they are now."""
    done = []
    for tune in history.fine_tunes(target):
        if tune.stage is Stage.OFFERED and (after := _settled(history, tune, now)) is not None:
            done.append(history.record_fine_tune(after))
            log.info("weights", target=target, name=tune.name, stage=after.stage, why=after.reason)
    return tuple(done)


def _settled(history: History, tune: FineTune, now: float) -> FineTune | None:
    control: Control | None = None
    if tune.request_id is not None:
        control = history.control(tune.request_id)
    if control is None:
        return tune.to(Stage.UNDECIDED, now, "its request is gone")
    if control.waits:
        return None
    if control.experiment_id is None:
        return tune.to(Stage.UNDECIDED, now, control.result or "its request was not run")
    first = history.experiment(control.experiment_id)
    if first is None or first.conclusion is None:
        return None
    last = _confirming(history, first) if _must_be_confirmed(history, first) else first
    if last is None or last.conclusion is None:
        return None
    said = last.conclusion
    worse = Stage.REFUSED if said.verdict in _WORSE else Stage.UNDECIDED
    stage = _KEPT.get(said.verdict, worse)
    return tune.to(stage, now, f"{said.verdict}: {said.reason}", experiment_id=last.id)


def _must_be_confirmed(history: History, first: Experiment) -> bool:
    """Whether it was accepted, and yet the incumbent is not what it accepted."""
    assert first.conclusion is not None
    lines = history.incumbents(first.target, limit=_TESTS)
    promoted = any(line.experiment_id == first.id for line in lines)
    return first.conclusion.verdict is Verdict.ACCEPTED and not promoted


def _confirming(history: History, first: Experiment) -> Experiment | None:
    """The confirm run of an accepted test; None while there is none."""
    for summary in history.experiments(target=first.target, limit=_TESTS):
        if summary.started_at <= first.started_at:
            return None
        test = history.experiment(summary.id)
        if test is not None and test.plan.confirms == first.id:
            return test
    return None


def rolled_back(
    history: History, target: str, to: str | None, who: str, now: float
) -> tuple[str, str]:
    """Asks for earlier weights to be live again: what was, and what will be.

    `to`: their name; the forebear of those in force where it is None. Raises ConfigError.
    """
    live = weights_in_force(history, target)
    tune = history.fine_tune(target, live)
    if to is None and tune is None:
        raise ConfigError(
            f"weights={live!r} are no fine-tune of {target}, so that nothing is known of what was "
            "before them: give --to"
        )
    earlier = to if to is not None or tune is None else tune.parent
    assert earlier is not None
    if earlier == live:
        raise ConfigError(f"--to={earlier!r}: these weights are live already")
    payload = {"changes": {KNOB: earlier}}
    with history.together():
        history.ask(target, Ask.ROLLBACK, who, now, note=f"weights {earlier}", payload=payload)
        if tune is not None and tune.stage is Stage.PROMOTED:
            why = f"{who} asked for {earlier} again"
            history.record_fine_tune(tune.to(Stage.ROLLED_BACK, now, why))
    return live, earlier
