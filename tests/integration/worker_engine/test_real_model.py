"""SmolLM2-135M in the engine, with transformers on the same folder as the oracle."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from autotuner.worker.engine import Engine
from autotuner.worker.messages import SamplingParams
from autotuner.worker.settings import WorkerSettings
from tests.integration.worker_engine.engine_help import (
    Spy,
    greedy,
    largest_difference,
    make_engine,
    random_prompt,
    reference_logits,
    run_all,
)

pytestmark = [pytest.mark.model]

VOCAB = 49152
LENGTHS = (1, 7, 130, 1500)


def load_oracle(folder: Path, dtype: torch.dtype) -> Any:
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    return model.eval()


@pytest.fixture(scope="module")
def oracle(smollm: Path) -> Any:
    return load_oracle(smollm, torch.float32)


@pytest.fixture(scope="module")
def engine(smollm: Path) -> Iterator[Engine]:
    made = make_engine(smollm, kv_cache_gib=2.0)
    yield made
    made.runner.on_logits = None


@pytest.fixture(scope="module")
def references(oracle: Any) -> dict[int, torch.Tensor]:
    return {n: reference_logits(oracle, random_prompt(n, VOCAB))[-1:] for n in LENGTHS}


def changing(count: int, seed: int) -> list[WorkerSettings]:
    source = random.Random(seed)
    return [
        WorkerSettings(
            max_num_seqs=source.randint(1, 16),
            max_num_batched_tokens=source.choice([16, 48, 128, 300, 512]),
            schedule_policy=source.choice(["fcfs", "length-grouped"]),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("chunk", [100, 512, 2048])
def test_logits_equal_transformers(
    engine: Engine, references: dict[int, torch.Tensor], chunk: int
) -> None:
    spy = Spy(engine)
    requests = {f"{n}": (random_prompt(n, VOCAB), greedy(1)) for n in LENGTHS}
    run_all(engine, requests, [WorkerSettings(max_num_batched_tokens=chunk)])
    for n in LENGTHS:
        assert largest_difference(spy.logits[f"{n}"], references[n]) < 1e-3


def test_greedy_text_is_the_same_alone_and_in_changing_company(engine: Engine, oracle: Any) -> None:
    requests = {f"{i}": (random_prompt(20 + 9 * i, VOCAB, i), greedy(12)) for i in range(16)}
    spy = Spy(engine)
    together = run_all(engine, requests, changing(31, seed=4))
    for name, request in requests.items():
        assert run_all(engine, {f"alone {name}": request})[f"alone {name}"] == together[name]
    prompt, tokens = requests["3"][0], together["3"]
    reference = reference_logits(oracle, (prompt + tokens)[:-1])
    assert largest_difference(spy.logits["3"], reference) < 1e-3
    assert reference[-12:].argmax(-1).tolist() == tokens


def test_a_seeds_text_is_the_same_alone_and_in_changing_company(engine: Engine) -> None:
    def sampling(i: int) -> SamplingParams:
        return SamplingParams(
            max_tokens=8, temperature=0.9, top_p=0.95, top_k=i % 3 * 20, seed=i, ignore_eos=True
        )

    requests = {f"{i}": (random_prompt(15 + 7 * i, VOCAB, i), sampling(i)) for i in range(6)}
    together = run_all(engine, requests, changing(17, seed=5))
    alone = {name: run_all(engine, {name: request})[name] for name, request in requests.items()}
    assert alone == together


def test_bfloat16_is_as_near_to_float32_as_transformers_own(smollm: Path, oracle: Any) -> None:
    theirs = load_oracle(smollm, torch.bfloat16)
    prompts = {f"{i}": random_prompt(60 + 20 * i, VOCAB, i) for i in range(8)}
    engine = make_engine(smollm, weight_dtype="bfloat16")
    spy = Spy(engine)
    tokens = run_all(engine, {name: (prompt, greedy(3)) for name, prompt in prompts.items()})
    own_error, their_error = 0.0, 0.0
    for name, prompt in prompts.items():
        text = (prompt + tokens[name])[:-1]
        truth = reference_logits(oracle, text)[-3:]
        own_error += float((torch.stack(spy.logits[name]) - truth).abs().mean())
        their_error += float((reference_logits(theirs, text)[-3:] - truth).abs().mean())
    assert own_error < 1.5 * their_error
