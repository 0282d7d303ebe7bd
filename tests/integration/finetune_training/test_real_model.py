"""The packaged model: its ids are the worker's, its GGUF file does as well, and it learns."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotuner.finetune.evaluation import evaluate
from autotuner.finetune.examples import Example
from autotuner.finetune.training.base import Base
from autotuner.finetune.training.plan import TrainingPlan
from autotuner.finetune.training.run import train
from autotuner.finetune.training.tokens import Tokeniser
from autotuner.worker.chat_template import ChatTemplate
from autotuner.worker.convert import packaged_gguf
from autotuner.worker.tokens import TextTokenizer
from autotuner.worker.weights import resolve_model

pytestmark = pytest.mark.model

EXAMPLES = [
    Example(
        "What does the red lamp on pump 7 mean?", " The filter of pump 7 is blocked: change it."
    ),
    Example("Who may open valve 12?", " Only the shift leader may open valve 12."),
]


@pytest.fixture(scope="module")
def smollm() -> Path:
    return resolve_model(None)


def test_ids_are_the_workers(smollm: Path) -> None:
    worker, template = TextTokenizer.from_folder(smollm), ChatTemplate.from_folder(smollm)
    text, answer = "12 naïve 東京\ttests", " Yes, 3."
    chat = template.render([{"role": "user", "content": text}])

    for form, prompt_ids in (
        ("plain", worker.encode(text, add_special_tokens=True)),
        ("chat", worker.encode(chat, add_special_tokens=False)),
    ):
        found = Tokeniser(Base.find(smollm), form, 512).tokens(Example(text, answer))  # type: ignore[arg-type]
        assert list(found.ids[: found.answer_from]) == prompt_ids
        end = found.ids[-1]
        assert list(found.ids[found.answer_from :]) == [
            *worker.encode(answer, add_special_tokens=False),
            end,
        ]
        assert worker.decode([end]) == ""


def test_it_learns_facts_in_a_few_updates(smollm: Path, tmp_path: Path) -> None:
    plan = TrainingPlan(rank=8, learning_rate=2e-3, epochs=6, batch_size=2, micro_batch=2)

    trained = train(smollm, EXAMPLES, plan, tmp_path)

    before, after = (evaluate(smollm, adapter, EXAMPLES) for adapter in (None, trained.folder))
    assert after.loss < 0.6 * before.loss


def test_its_gguf_file_is_the_same_model(smollm: Path) -> None:
    file, folder = Base.find(packaged_gguf()), Base.find(smollm)
    attention = [f"model.layers.{n}.self_attn.{p}_proj.weight" for n in (0, 29) for p in "qkvo"]
    names = [*attention, "model.embed_tokens.weight", "model.norm.weight"]

    assert file.weights_sha256(names) == folder.weights_sha256(names)
    first, second = (Tokeniser(base, "chat", 512).all(EXAMPLES) for base in (file, folder))
    assert first == second
