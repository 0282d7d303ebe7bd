"""Does a served model get better from new examples, at less cost without copies, and safely?

Copies left out, training against training on everything, forgetting, mixed-up labels, and the
whole way from a file to weights that are live on a worker under load.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autotuner.commands.learn import base_of
from autotuner.config import Config, load_config
from autotuner.domain.fine_tuning import FineTune
from autotuner.domain.fine_tuning import Stage as Step
from autotuner.finetune.evaluation import Evaluation
from autotuner.finetune.examples import Example
from autotuner.finetune.job import Job
from autotuner.finetune.pairing import pairing
from autotuner.finetune.trainer import AdapterTrainer
from autotuner.history.store import History, open_history
from experiments.studies import _common
from experiments.studies.incremental_learning import serving
from experiments.studies.incremental_learning.corpus import (
    Material,
    shuffled,
    topics,
    with_copies,
)
from experiments.studies.incremental_learning.figure import draw

SEED = 0
FORGETTING = 0.05  # nats per token: the bound of the configuration's default


@dataclass(frozen=True)
class Plan:
    """`originals`: of each topic. `live`: whether the way to live weights is gone to its end."""

    originals: int
    epochs: int
    live: bool
    test_s: float = 5400.0


FULL = Plan(160, epochs=3, live=True)
QUICK = Plan(12, epochs=1, live=False)
TRAINING = {"learning_rate": 1e-3, "batch_size": 4, "micro_batch": 4, "max_tokens": 160}
LATER_RATE = 2e-4  # the default: who goes on from learnt weights at the first rate forgets them


def run(quick: bool, out: Path) -> dict[str, Any]:
    """Measures, writes results.json and figure.png into `out`, returns the results."""
    plan = QUICK if quick else FULL
    first, second, third = topics(plan.originals, SEED)
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder), plan)
        try:
            rows = _measured(house, plan, with_copies(first, SEED), second, third)
        finally:
            house.close()
    content = _common.results(
        "incremental_learning",
        packages=("torch", "transformers", "peft"),
        seeds=[SEED],
        rows=rows,
        checks=_checks({row["part"]: row for row in rows}, live=plan.live),
        quick=quick,
        plan={
            "originals": plan.originals,
            "epochs": plan.epochs,
            **TRAINING,
            "later_learning_rate": LATER_RATE,
        },
    )
    _common.write(out, content)
    draw(content, out / "figure.png")
    return content


class House:
    """The configuration, history and model of the study; a worker too where it is wanted."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder, self.plan = folder, plan
        self.learn_at(TRAINING["learning_rate"])
        self.history: History = open_history(self.config.history)

    def learn_at(self, rate: float) -> None:
        """From here on at that learning rate."""
        self.rate = rate
        self.config: Config = load_config(self.configure("http://127.0.0.1:1"))
        assert self.config.learn is not None
        self.learn = self.config.learn
        self.model = AdapterTrainer(base_of(self.learn), self.learn)

    def configure(self, url: str) -> Path:
        learn = {
            "experiment": {"probe_items": 8, "prior_sd": 0.03, "max_pairs": 30},
            "golden_items": 64, "share": 1.0, "forgetting": FORGETTING,
            "training": {**TRAINING, "learning_rate": self.rate, "epochs": self.plan.epochs},
        }  # fmt: skip
        return serving.configured(self.folder, url, learn)

    def close(self) -> None:
        self.history.close()

    def take(self, name: str, material: Material) -> tuple[FineTune, float]:
        """One run on a file: the fine-tune that came of it, and the run's seconds."""
        self.learn.inbox_folder.mkdir(parents=True, exist_ok=True)
        material.write(self.learn.inbox_folder / name)
        began, known = time.monotonic(), len(self.history.fine_tunes(serving.TARGET))
        said = Job(self.config, self.history, self.model).run()
        tunes = self.history.fine_tunes(serving.TARGET)
        if len(tunes) == known:
            raise RuntimeError(f"{name}: nothing was trained on it: {said}")
        return tunes[0], time.monotonic() - began

    def adapter(self, tune: FineTune) -> Path:
        return self.learn.adapters / tune.name


def _measured(
    house: House,
    plan: Plan,
    first: Material,
    second: Sequence[Example],
    third: Sequence[Example],
) -> list[dict[str, Any]]:
    tune, _ = house.take("first.jsonl", first)
    job = Job(house.config, house.history, house.model)
    rows = [_intake(house, first), _filtered(tune), _on_everything(house, first, job, tune)]
    rows.append(_live(house, plan) if plan.live else _as_if_live(house, tune))
    house.learn_at(LATER_RATE)
    later = Material(tuple(second), (None,) * len(second))
    rows += _forgetting(house, later)
    mixed, _ = house.take("mixed.jsonl", shuffled(third, SEED))
    rows.append({"part": "mixed-up labels", **_of(mixed)})
    return rows


def _intake(house: House, material: Material) -> dict[str, Any]:
    """Copies are told by the corpus, which made them; what else is left out was alike before."""
    (intake,) = house.history.intakes(serving.TARGET, 1)
    left_out = intake.exact_duplicates + intake.near_duplicates
    return {
        "part": "intake", "read": intake.read, "copies": material.copies, "kept": intake.kept,
        "left_out": left_out, "left_out_share": left_out / intake.read,
        "copies_share": material.copies / intake.read, "seconds": intake.seconds,
    }  # fmt: skip


def _filtered(tune: FineTune) -> dict[str, Any]:
    return {"part": "without copies", **_of(tune)}


def _of(tune: FineTune) -> dict[str, Any]:
    """JSON knows no not-a-number: what is not known is left out."""
    told = {
        "stage": str(tune.stage), "examples": tune.examples, "replayed": tune.replayed,
        "seconds": tune.seconds, **vars(tune.scores), "forgetting": tune.scores.forgetting,
        "reason": tune.reason,
    }  # fmt: skip
    return {key: value for key, value in told.items() if value == value}


def _on_everything(house: House, material: Material, job: Job, tune: FineTune) -> dict[str, Any]:
    """The same training on every row, copies too; judged on the same held-out examples."""
    examples = material.all_to_train_on(serving.HELD_OUT)
    made = house.model.train(examples, None, house.folder / "everything", lambda _: None, {})
    unseen = list(job.store.held_out(max(tune.versions)))
    found = house.model.evaluate(made.folder, unseen)
    return {
        "part": "with copies", "examples": len(examples), "seconds": made.seconds,
        "cpu_seconds": made.cpu_seconds, "new_after": found.loss,
        "agreement_after": found.agreement,
        "pairing": pairing(
            unseen, [1] * len(unseen), found.each,
            lambda others: house.model.evaluate(made.folder, others).each,
        ),
    }  # fmt: skip


def _forgetting(house: House, later: Material) -> list[dict[str, Any]]:
    """A second topic, with a share of the first one replayed; and without, for comparison."""
    parent = house.history.fine_tunes(serving.TARGET, 1)[0]
    store = Job(house.config, house.history, house.model).store
    old = list(store.held_out(max(parent.versions)))
    second, _ = house.take("second.jsonl", later)
    if second.stage is Step.OFFERED:  # no worker is there any more for its live test
        house.history.record_fine_tune(second.to(Step.UNDECIDED, time.time(), "not tested live"))
    new = list(store.training(max(second.versions), max(second.versions)))
    start, out = house.adapter(parent), house.folder / "no-replay"
    made = house.model.train(new, start, out, lambda _: None, {})
    before, after = (_loss(house, one, old) for one in (start, made.folder))
    bare = {"part": "second topic, no replay", "forgetting": after.loss - before.loss}
    return [{"part": "second topic, replay", **_of(second)}, bare]


def _loss(house: House, adapter: Path, examples: Sequence[Example]) -> Evaluation:
    return house.model.evaluate(adapter, examples)


def _as_if_live(house: House, tune: FineTune) -> dict[str, Any]:
    """Quick: the weights are taken for promoted, so that the rest has a parent to go on from."""
    from autotuner.domain.knobs import Settings

    now = time.time()
    settings = Settings({"max_num_seqs": 32, "weights": tune.name})
    house.history.set_incumbent(serving.TARGET, settings, at=now, why="the quick study says so")
    if tune.stage is Step.REFUSED:  # too few examples to learn from; published all the same
        tune = house.history.record_fine_tune(tune.to(Step.OFFERED, now))
    house.history.record_fine_tune(tune.to(Step.PROMOTED, now))
    return {"part": "live", "played": True}


def _live(house: House, plan: Plan) -> dict[str, Any]:
    """From the file's adapter, which is offered, to weights that serve, under load."""
    began = time.monotonic()
    with serving.worker(house.folder) as (stage, url), serving.Load(url) as load:
        serving.start_daemon(stage, house.configure(url))
        done = serving.until_decided(house.history, plan.test_s)
        promoted = done.stage is Step.PROMOTED
        if promoted:
            serving.until_live(url, done.name, 600.0)
        stage.check()
    test = house.history.experiment(done.experiment_id or "")
    effect = test.conclusion.effect if test is not None and test.conclusion else 0.0
    return {
        "part": "live", "promoted": promoted, "reason": done.reason,
        "pairs": len(test.pairs) if test is not None else 0, "effect": effect,
        "seconds": time.monotonic() - began, "served": load.served, "failed": load.failed,
    }  # fmt: skip


def _checks(rows: dict[str, dict[str, Any]], *, live: bool) -> list[dict[str, Any]]:
    intake, alone, every = rows["intake"], rows["without copies"], rows["with copies"]
    second, mixed = rows["second topic, replay"], rows["mixed-up labels"]
    found = [
        _common.check(
            "share of a file left out, where 60% are copies", intake["left_out_share"], "", 0.55,
            "at_least",
        ),
        _common.check(
            "training time saved by leaving copies out", 1 - alone["seconds"] / every["seconds"],
            "", 0.5, "at_least",
        ),
        _common.check(
            "held-out loss without copies, over that with them",
            alone["new_after"] - every["new_after"], "nats/token", 0.02, "at_most",
        ),
        _common.check(
            "fall of the held-out loss", alone["new_before"] - alone["new_after"], "nats/token",
            0.0, "at_least",
        ),
        _common.check(
            "forgetting of the first topic after the second", second.get("forgetting", 1.0),
            "nats/token", FORGETTING, "at_most",
        ),
        _common.check(
            "mixed-up labels refused", float(mixed["stage"] == Step.REFUSED), "", 1.0, "at_least"
        ),
    ]  # fmt: skip
    if live:
        told = rows["live"]
        found += [
            _common.check("weights promoted", float(told["promoted"]), "", 1.0, "at_least"),
            _common.check("requests that failed", float(told["failed"]), "", 0.0, "at_most"),
        ]
    return found
