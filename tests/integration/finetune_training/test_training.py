"""One process: it learns, what it writes others read, and what can't be trained is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM

from autotuner.finetune.errors import TrainingError
from autotuner.finetune.evaluation import evaluate
from autotuner.finetune.examples import Example
from autotuner.finetune.training.base import Base
from autotuner.finetune.training.model import AnswerLoss, padded
from autotuner.finetune.training.plan import TrainingPlan
from autotuner.finetune.training.progress import Progress
from autotuner.finetune.training.run import train
from autotuner.finetune.training.tokens import Tokeniser
from autotuner.finetune.training.trained import add_facts, read_description
from autotuner.worker.adapters.adapter import read_adapter
from autotuner.worker.adapters.merge import merged_tensors
from tests.integration.finetune_training.tiny import END, byte_tokenizer, examples, make_model

PLAN = TrainingPlan(rank=4, learning_rate=2e-2, batch_size=8, epochs=4)


def test_it_learns_what_the_examples_show(tiny: Path, tmp_path: Path) -> None:
    told: list[Progress] = []

    trained = train(tiny, examples(48), PLAN, tmp_path, told.append, {"dataset_versions": [1, 2]})

    before, after = (evaluate(tiny, a, examples(64)[48:]) for a in (None, trained.folder))
    assert after.loss < 0.5 * before.loss
    assert after.agreement > before.agreement
    assert (after.examples, after.tokens) == (16, 16 * 4)
    assert [item.step for item in told] == list(range(1, trained.steps + 1))
    assert all(0 < item.gradient_update_s < item.step_s for item in told)
    assert trained.last_loss < trained.first_loss


def test_what_it_writes_is_told_whole(tiny: Path, tmp_path: Path) -> None:
    trained = train(tiny, examples(8), PLAN, tmp_path, facts={"dataset_versions": [1, 2]})
    add_facts(trained.folder, held_out_loss=1.25)

    told = read_description(trained.folder)
    assert told["facts"] == {"dataset_versions": [1, 2], "held_out_loss": 1.25}
    assert told["base"]["name"] == "model"
    assert TrainingPlan.from_dict(told["plan"]) == PLAN
    config = json.loads((trained.folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "model"  # and no path of this machine
    assert not list(tmp_path.glob("*.partial"))


def test_the_worker_merges_the_adapter_into_the_same_model(tiny: Path, tmp_path: Path) -> None:
    """Its check of the base's hash included."""
    trained = train(tiny, examples(8), PLAN, tmp_path / "run")
    merged = merged_tensors(tiny, trained.folder, tmp_path / "cache")
    model = loaded(tiny)
    changed = read_adapter(trained.folder).changes
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(merged.get(name))

    scorer = AnswerLoss(model)
    tokens = Tokeniser(Base.find(tiny), "plain", 512).all(examples(8))
    losses, _ = scorer.score(*padded(tokens, "cpu"))

    assert len(changed) == 2 * len(PLAN.targets)
    told = evaluate(tiny, trained.folder, examples(8))
    assert sum(losses) / told.tokens == pytest.approx(told.loss, rel=1e-5)
    each = [one / item.answer_tokens for one, item in zip(losses, tokens, strict=True)]
    assert told.each == pytest.approx(each, rel=1e-5)


def loaded(folder: Path) -> Any:
    model: Any = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval()


def test_only_answer_tokens_count(tiny: Path) -> None:
    """transformers' own loss of the same labels, example by example, without padding."""
    model = loaded(tiny)
    tokens = Tokeniser(Base.find(tiny), "plain", 512).all(examples(5))
    expected = 0.0
    for example in tokens:
        ids = torch.tensor([example.ids])
        labels = ids.clone()
        labels[:, : example.answer_from] = -100
        with torch.no_grad():
            expected += float(model(ids, labels=labels).loss) * example.answer_tokens

    assert AnswerLoss(model)(*padded(tokens, "cpu")).item() == pytest.approx(expected, rel=1e-5)
    found = evaluate(tiny, None, examples(5))
    assert found.loss == pytest.approx(expected / found.tokens, rel=1e-5)


def test_tokens_are_cut_where_it_hurts_least(tiny: Path) -> None:
    tokeniser = Tokeniser(Base.find(tiny), "plain", 6)
    decode = byte_tokenizer().decode

    def shown(prompt: str, answer: str) -> tuple[str, str]:
        example = tokeniser.tokens(Example(prompt, answer))
        ids, at = list(example.ids), example.answer_from
        return decode(ids[:at]), decode(ids[at:])

    assert shown("ab", "cd") == ("ab", "cd" + END)
    assert shown("abcdef", "xy") == ("def", "xy" + END)
    assert shown("ab", "uvwxyz") == ("b", "uvwxy")
    assert shown("", "x") == (END, "x" + END)


def test_all_weights_make_a_model_of_its_own(tiny: Path, tmp_path: Path) -> None:
    plan = replace(PLAN, method="full", learning_rate=5e-3)

    trained = train(tiny, examples(16), plan, tmp_path)

    assert evaluate(trained.folder, None, examples(16)).loss < trained.first_loss
    assert LlamaForCausalLM.from_pretrained(trained.folder).config.tie_word_embeddings
    assert read_description(trained.folder)["plan"]["method"] == "full"


def test_a_diverged_training_leaves_no_result(tiny: Path, tmp_path: Path) -> None:
    plan = replace(PLAN, method="full", learning_rate=1e30, clip_norm=1e30, warmup_share=0.0)

    with pytest.raises(TrainingError, match=r"loss=.* at update .*diverged: lower learning_rate"):
        train(tiny, examples(32), plan, tmp_path)

    assert not (tmp_path / "model").exists()
    assert "diverged" in (tmp_path / "failed.txt").read_text()


def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    tiny: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for base, given, plan, told in (
        (tmp_path / "nowhere", examples(1), PLAN, "base=.*nowhere': no model there"),
        (tiny, [], PLAN, "examples: none"),
        (tiny, examples(1), replace(PLAN, epochs=0), "epochs=0"),
    ):
        with pytest.raises(TrainingError, match=told):
            train(base, given, plan, out)
    assert not out.exists()


def test_layers_that_are_not_there_are_told_with_those_that_are(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="has no such layers; it has down_proj, gate_proj"):
        train(tiny, examples(1), replace(PLAN, targets=("query",)), tmp_path)


def test_chat_needs_a_template(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="prompt_form='chat': model has no chat template"):
        train(tiny, examples(1), replace(PLAN, prompt_form="chat"), tmp_path)


def test_an_adapter_of_another_model_is_refused(tiny: Path, tmp_path: Path) -> None:
    trained = train(tiny, examples(8), PLAN, tmp_path / "run")

    with pytest.raises(TrainingError, match="it was trained on other weights"):
        evaluate(make_model(tmp_path / "other", seed=5), trained.folder, examples(1))


def test_it_goes_on_from_an_earlier_adapter(tiny: Path, tmp_path: Path) -> None:
    earlier = train(tiny, examples(32), PLAN, tmp_path / "earlier")
    plan = replace(PLAN, start=str(earlier.folder), warmup_share=0.9)  # it hardly moves at first

    later = train(tiny, examples(32), plan, tmp_path / "later")

    assert later.first_loss < 0.6 * earlier.first_loss
    with pytest.raises(TrainingError, match=r"rank=2: the adapter .* has 4"):
        train(tiny, examples(1), replace(plan, rank=2), tmp_path / "other")
    with pytest.raises(TrainingError, match=r"start=.*: leave it out"):
        train(tiny, examples(1), replace(plan, method="full"), tmp_path / "full")
