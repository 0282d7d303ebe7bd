"""One run: files in, weights trained and judged, and a live test asked for where they are better.

Every stage is written into the history before the next one begins, and can be done again: killed
at any line, the next run goes on where this one was. Knows neither torch nor the worker.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import structlog

from autotuner.config import Config, LearnConfig
from autotuner.domain.fine_tuning import FineTune, Intake, Scores, Stage
from autotuner.finetune.choosing import Choice, chosen, replay_count
from autotuner.finetune.errors import TrainingError
from autotuner.finetune.evaluation import Evaluation
from autotuner.finetune.examples import Example
from autotuner.finetune.gate import GateRules, described, refusal
from autotuner.finetune.pairing import pairing
from autotuner.finetune.places import Places
from autotuner.finetune.promotion import (
    introduce,
    learning_target,
    offered,
    settled,
    weights_in_force,
    weights_policy,
)
from autotuner.finetune.reception import receive, rules_of
from autotuner.finetune.store import ExampleStore
from autotuner.history.store import History

log = structlog.get_logger()

WHO = "autotuner learn"  # who asks for the live tests
MOST_EVALUATED = 500  # chosen: of new and of old examples each; thousands of answer tokens
_PROGRESS_EVERY_S = 1.0
_TUNES = 1000


class Told(Protocol):
    """One update of the weights; `finetune.training.Progress` has more."""

    @property
    def step(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def loss(self) -> float: ...
    @property
    def gradient_update_s(self) -> float: ...


class Finished(Protocol):
    """What a training left; `finetune.training.Trained` has more."""

    @property
    def folder(self) -> Path: ...
    @property
    def seconds(self) -> float: ...
    @property
    def gradient_update_s(self) -> float: ...


class Model(Protocol):
    """The target's model, as it is trained and judged here. Raises TrainingError."""

    def train(
        self,
        examples: Sequence[Example],
        start: Path | None,
        out: Path,
        progress: Callable[[Told], None],
        facts: Mapping[str, Any],
    ) -> Finished:
        """An adapter that goes on from `start`; resumes what a killed call left in `out`."""
        ...

    def evaluate(self, adapter: Path | None, examples: Sequence[Example]) -> Evaluation: ...


@dataclass
class Job:
    """A run on the one target of `config` that learns.

    `updated` is called after updates of the weights: what it raises ends the run, to be resumed.
    """

    config: Config
    history: History
    model: Model
    updated: Callable[[], None] = lambda: None
    clock: Callable[[], float] = time.time
    target: str = field(init=False)
    _told_at: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        """Raises ConfigError where the configuration allows no run."""
        target = learning_target(self.config)
        weights_policy(target)
        self.target = target.name
        self.places = Places.of(self._learn)
        self.store = ExampleStore(self.places.examples, self._learn.held_out_share)
        introduce(self.history, target, self.clock())

    @property
    def _learn(self) -> LearnConfig:
        assert self.config.learn is not None, "looked at when it was made"
        return self.config.learn

    def run(self) -> str:
        """Does what there is to do, and says what that was. Raises AutotunerError."""
        with self.places.locked():
            settled(self.history, self.target, self.clock())
            taken = self.take_in_all()
            tune = self._unfinished() or self._planned()
            while isinstance(tune, FineTune) and tune.unfinished:
                tune = self._advanced(tune)
        said = f"{tune.name}: {tune.stage}: {tune.reason}" if isinstance(tune, FineTune) else tune
        return "; ".join([*taken, said])

    # ---- intake
    def take_in_all(self) -> list[str]:
        """Every file of the inbox, taken in or refused as a whole; a sentence for each."""
        self.places.inbox.mkdir(parents=True, exist_ok=True)
        return [self._take_in(file) for file in self.places.waiting()]

    def _take_in(self, file: Path) -> str:
        intake = receive(file, self.store, rules_of(self._learn), self.target, self.clock).intake
        if self._is_known(intake):
            self.places.put_away(file, "taken")
            return f"{file.name}: in the store already, as v{intake.version}"
        self.history.record_intake(intake)
        self.places.put_away(file, "refused" if intake.refused else "taken")
        log.info("intake", **asdict(intake))
        if intake.refused:
            return f"{file.name} is refused: {intake.refused}"
        return f"{file.name}: {intake.kept} of {intake.read} examples kept (v{intake.version})"

    def _is_known(self, intake: Intake) -> bool:
        """Whether the history has it: the store alone may, from a run that was killed."""
        earlier = self.history.intakes(self.target, _TUNES)
        return any(one.version == intake.version is not None for one in earlier)

    # ---- stages
    def _unfinished(self) -> FineTune | None:
        tunes = self.history.fine_tunes(self.target, _TUNES)
        return next((tune for tune in tunes if tune.unfinished), None)

    def _planned(self) -> FineTune | str:
        """A new fine-tune, or why there is none."""
        tunes = self.history.fine_tunes(self.target, _TUNES)
        waits = next((tune for tune in tunes if tune.stage is Stage.OFFERED), None)
        if waits is not None:
            return f"the live test of {waits.name} is not decided yet: nothing new is trained"
        kept = {one.number: one.kept - one.held_out for one in self.store.versions()}
        choice = chosen(kept, tunes)
        have = sum(kept[version] for version in choice.new)
        if have < self._learn.min_examples:
            least = self._learn.min_examples
            return f"{have} new examples are there, {least} are asked for: nothing is trained"
        now = self.clock()
        name = f"v{max(choice.new)}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime(now))}"
        parent = weights_in_force(self.history, self.target)
        tune = FineTune(self.target, name, parent, choice.new, now, now)
        return self.history.record_fine_tune(replace(tune, reason=f"{have} new examples"))

    def _advanced(self, tune: FineTune) -> FineTune:
        """The next stage, done and written down; a failure that trying again can't mend as well."""
        try:
            if tune.stage is Stage.EVALUATED:
                return self._judged(tune)
            return self._trained(tune)
        except TrainingError as problem:
            return self.history.record_fine_tune(tune.to(Stage.FAILED, self.clock(), str(problem)))

    def _trained(self, tune: FineTune) -> FineTune:
        if tune.attempts >= self._learn.attempts:
            why = f"its training was begun {tune.attempts} times and never ended: {tune.reason}"
            return self.history.record_fine_tune(tune.to(Stage.FAILED, self.clock(), why))
        parent = self.places.adapter(tune.parent)
        examples, replayed = self._material(tune)
        tune = self.history.record_fine_tune(
            tune.to(
                Stage.TRAINING,
                self.clock(),
                f"{len(examples)} examples, {replayed} of them older",
                examples=len(examples),
                replayed=replayed,
                attempts=tune.attempts + 1,
            )
        )
        facts = {"name": tune.name, "parent": tune.parent, "versions": list(tune.versions)}

        def tell(told: Told) -> None:
            self._tell(tune, told)

        made = self.model.train(examples, parent, self.places.run(tune.name), tell, facts)
        scores = self._scores(tune, parent, made.folder)
        self.places.publish(made.folder, tune.name)
        done = tune.to(
            Stage.EVALUATED, self.clock(), described(scores), scores=scores,
            seconds=made.seconds, update_s=made.gradient_update_s,
        )  # fmt: skip
        return self.history.record_fine_tune(done)

    def _judged(self, tune: FineTune) -> FineTune:
        wanted, now = self._learn, self.clock()
        rules = GateRules(
            wanted.min_gain, wanted.forgetting, wanted.agreement_margin, wanted.pairing
        )
        if why := refusal(tune.scores, rules):
            return self.history.record_fine_tune(tune.to(Stage.REFUSED, now, why))
        if wanted.golden is not None:
            self._write_golden(wanted.golden, tune)
        return offered(self.history, self.config, tune, WHO, now)

    # ---- examples
    def _choice(self, tune: FineTune) -> Choice:
        """As when it was planned: nothing is promoted while it is under way."""
        kept = [one.number for one in self.store.versions()]
        earlier = [one for one in self.history.fine_tunes(self.target, _TUNES) if one.id != tune.id]
        return Choice(tune.versions, chosen(kept, earlier).old)

    def _material(self, tune: FineTune) -> tuple[list[Example], int]:
        """What it is trained on, in an order that a resumed run finds again; how many are older."""
        new = list(self._of(tune.versions))
        old = list(self._of(self._choice(tune).old))
        wanted = min(replay_count(len(new), self._learn.replay), len(old))
        drawn = np.random.default_rng(tune.id).choice(len(old), wanted, replace=False)
        return [*new, *(old[at] for at in sorted(drawn.tolist()))], wanted

    def _of(self, versions: Iterable[int]) -> Iterable[Example]:
        for version in versions:
            yield from self.store.training(version, version)

    def _held_out(self, versions: Sequence[int]) -> list[Example]:
        """The same ones every time, at most MOST_EVALUATED."""
        last = max(versions, default=0)
        others = set(range(1, last)) - set(versions)
        return sorted(self.store.held_out(last, others), key=_place)[:MOST_EVALUATED]

    def _versions_of(self, examples: Sequence[Example], versions: Sequence[int]) -> list[int]:
        """Which of the versions each held-out example came with."""
        came = {
            one.key: version
            for version in versions
            for one in self.store.held_out(version, set(range(1, version)))
        }
        return [came[one.key] for one in examples]

    def _scores(self, tune: FineTune, parent: Path | None, candidate: Path) -> Scores:
        choice = self._choice(tune)
        new, old = self._held_out(choice.new), self._held_out(choice.old)
        if not new:
            return Scores()
        before, after = (self.model.evaluate(one, new) for one in (parent, candidate))
        scores = Scores(
            before.loss,
            after.loss,
            agreement_before=before.agreement,
            agreement_after=after.agreement,
            pairing=pairing(
                new,
                self._versions_of(new, choice.new),
                after.each,
                lambda others: self.model.evaluate(candidate, others).each,
            ),
        )
        if not old:
            return scores
        old_before, old_after = (self.model.evaluate(one, old) for one in (parent, candidate))
        return replace(
            scores,
            old_before=old_before.loss,
            old_after=old_after.loss,
            agreement_before=_agreement(before, old_before),
            agreement_after=_agreement(after, old_after),
        )

    def _write_golden(self, file: Path, tune: FineTune) -> None:
        """What the live test's probes ask, before it begins: the worker reads the file anew."""
        known = [one.number for one in self.store.versions()]
        spoilt = set(known) - set(self._choice(tune).sound)
        count, chat = self._learn.golden_items, self._learn.training.prompt_form == "chat"
        self.store.write_golden(file, max(known), count, spoilt, chat=chat)

    # ---- what others see meanwhile
    def _tell(self, tune: FineTune, told: Told) -> None:
        self.updated()
        now = self.clock()
        if now - self._told_at < _PROGRESS_EVERY_S and told.step < told.steps:
            return
        self._told_at = now
        self.places.tell_progress(
            {
                "name": tune.name, "at": now, "pid": os.getpid(), "step": told.step,
                "steps": told.steps, "loss": told.loss,
                "gradient_update_s": told.gradient_update_s,
            }
        )  # fmt: skip


def _place(example: Example) -> str:
    """An order that has nothing to do with what an example says."""
    return hashlib.sha256(f"{example.prompt}\0{example.answer}".encode()).hexdigest()


def _agreement(one: Evaluation, other: Evaluation) -> float:
    tokens = one.tokens + other.tokens
    return (one.agreement * one.tokens + other.agreement * other.tokens) / tokens
