"""Every supported kind of model, tiny and random, against transformers as the oracle."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from autotuner.worker.messages import AddRequest
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
from tests.integration.worker_engine.tiny_models import SIZES, TINY, make_tiny

LENGTHS = (1, 2, 7, 33, 90, 200)


def random_settings(count: int) -> list[WorkerSettings]:
    source = random.Random(1)
    return [
        WorkerSettings(
            max_num_seqs=source.randint(1, 8),
            max_num_batched_tokens=source.randint(16, 80),
            schedule_policy=source.choice(["fcfs", "length-grouped"]),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("name", TINY)
def test_logits_equal_transformers_in_any_chunking_and_company(name: str, tmp_path: Path) -> None:
    oracle = make_tiny(TINY[name])
    oracle.save_pretrained(tmp_path)
    engine = make_engine(tmp_path)
    spy = Spy(engine)
    requests = {f"{n}": (random_prompt(n, SIZES["vocab_size"]), greedy(1 + n % 5)) for n in LENGTHS}
    tokens = run_all(engine, requests, random_settings(23))
    for request_id, (prompt, _) in requests.items():
        reference = reference_logits(oracle, (prompt + tokens[request_id])[:-1])
        assert largest_difference(spy.logits[request_id], reference) < 1e-3


def test_sharded_weights_are_the_same_model(tmp_path: Path) -> None:
    oracle = make_tiny(TINY["llama"])
    oracle.save_pretrained(tmp_path / "one")
    oracle.save_pretrained(tmp_path / "many", max_shard_size="20KB")
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 2
    requests = {"a": (random_prompt(20, SIZES["vocab_size"]), greedy(8))}
    one = run_all(make_engine(tmp_path / "one"), requests)
    assert run_all(make_engine(tmp_path / "many"), requests) == one


def test_bfloat16_runs_and_stays_near(tmp_path: Path) -> None:
    oracle = make_tiny(TINY["qwen2"])
    oracle.save_pretrained(tmp_path)
    engine = make_engine(tmp_path, weight_dtype="bfloat16")
    spy = Spy(engine)
    requests = {
        f"{i}": (random_prompt(40 + i, SIZES["vocab_size"], i), greedy(2)) for i in range(8)
    }
    tokens = run_all(engine, requests)
    for request_id, (prompt, _) in requests.items():
        reference = reference_logits(oracle, (prompt + tokens[request_id])[:-1])
        error = largest_difference(spy.logits[request_id], reference)
        assert error < 0.1 * float(reference.std())


def test_output_that_is_not_finite_ends_its_request_and_spares_the_slots_next(
    tmp_path: Path,
) -> None:
    oracle = make_tiny(TINY["llama"])
    poison = 5
    oracle.get_input_embeddings().weight.data[poison] = float("nan")
    oracle.save_pretrained(tmp_path)
    engine = make_engine(tmp_path)
    # The longer neighbour makes attention read, masked, where the poisoned request wrote.
    clean = {"short": ([7] * 9, greedy(3)), "longer": ([8] * 40, greedy(3))}
    before = run_all(engine, clean)
    engine.add(AddRequest("bad", [7] * 30 + [poison], greedy(3), 0.0))
    (output,) = engine.step().tokens
    assert (output.finish, output.token_id) == ("error", None)
    assert run_all(engine, clean) == before


@pytest.mark.parametrize("bad", [-1, SIZES["vocab_size"]])
def test_a_token_outside_the_vocabulary_is_an_error_not_a_crash(bad: int, tmp_path: Path) -> None:
    make_tiny(TINY["llama"]).save_pretrained(tmp_path)
    engine = make_engine(tmp_path)
    engine.add(AddRequest("a", [3, bad], greedy(3), 0.0))
    output = engine.step()
    assert (output.tokens[0].finish, output.running) == ("error", 0)
    assert "0 to 96" in str(output.tokens[0].error)
    assert engine.wait_s() is None
