"""A group of ranks computes what one process computes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from autotuner.worker.engine import Engine
from autotuner.worker.messages import AddRequest, ScoreRequest
from autotuner.worker.settings import WorkerSettings
from tests.integration.worker_engine.engine_help import greedy
from tests.integration.worker_engine.tiny_models import TINY, make_tiny
from tests.integration.worker_parallel.groups import (
    VOCAB,
    answers,
    followers_of,
    group_engine,
    is_running,
    mixed_requests,
    options_of,
    tiny_model,
    until,
)

pytestmark = pytest.mark.process

# Some steps have more than LEAST_TOKENS per stage, so that pipelines cut them.
LENGTHS = (1, 2, 200, 40, 90, 17, 130, 3)
STEPS = [WorkerSettings(max_num_seqs=8, max_num_batched_tokens=budget) for budget in (300, 50, 200)]


def assert_near(got: dict[str, Tensor], expected: dict[str, Tensor], atol: float = 1e-4) -> None:
    for name, logits in expected.items():
        torch.testing.assert_close(got[name], logits, atol=atol, rtol=0.0)


@pytest.mark.parametrize(("tensor", "stages"), [(1, 2), (2, 1), (3, 1), (2, 2), (1, 3)])
def test_logits_and_text_are_those_of_one_process(tiny: Path, tensor: int, stages: int) -> None:
    requests = mixed_requests(VOCAB, LENGTHS)
    alone = Engine(options_of(tiny))
    tokens, logits = answers(alone, requests, STEPS)
    with group_engine(options_of(tiny, tensor, stages)) as engine:
        followers = followers_of(os.getpid())
        assert len(followers) == tensor * stages - 1
        group_tokens, group_logits = answers(engine, requests, STEPS)
    assert group_tokens == tokens
    assert_near(group_logits, logits)
    assert not any(map(is_running, followers))


def test_biases_are_summed_once_and_scores_are_the_same(tiny_biased: Path) -> None:
    alone = Engine(options_of(tiny_biased))
    score = ScoreRequest("score", mixed_requests(VOCAB, [150])["0"][0], first=20)
    requests = mixed_requests(VOCAB, (5, 60))
    with group_engine(options_of(tiny_biased, 2, 2)) as engine:
        for each in (alone, engine):
            each.score(score)
            answers(each, requests, STEPS)
        (one,), (many,) = alone.scored(), engine.scored()
    assert len(one.log_probs) == 130
    assert many.most_likely == one.most_likely
    torch.testing.assert_close(
        torch.tensor(many.log_probs), torch.tensor(one.log_probs), atol=1e-4, rtol=0.0
    )


@pytest.mark.parametrize(("name", "tensor", "stages"), [("qwen2", 2, 1), ("deepseek-v3", 2, 2)])
def test_other_architectures_are_split_as_well(
    tmp_path: Path, name: str, tensor: int, stages: int
) -> None:
    make_tiny(TINY[name]).save_pretrained(tmp_path)
    requests = mixed_requests(VOCAB, (7, 140, 1, 60))
    tokens, logits = answers(Engine(options_of(tmp_path)), requests, STEPS)
    with group_engine(options_of(tmp_path, tensor, stages)) as engine:
        group_tokens, group_logits = answers(engine, requests, STEPS)
    assert group_tokens == tokens
    assert_near(group_logits, logits)


def test_sums_over_gloo_are_the_same(tiny: Path) -> None:
    requests = mixed_requests(VOCAB, LENGTHS)
    tokens, logits = answers(Engine(options_of(tiny)), requests, STEPS)
    with group_engine(options_of(tiny, 2, 2), share_memory=False) as engine:
        group_tokens, group_logits = answers(engine, requests, STEPS)
    assert group_tokens == tokens
    assert_near(group_logits, logits)


def test_what_is_not_finite_is_cleared_on_every_rank(tmp_path: Path) -> None:
    poison = 5
    folder = tiny_model(tmp_path, tie_word_embeddings=False)
    spoil_embedding(folder, poison)
    clean = {"short": ([7] * 9, greedy(3)), "longer": ([8] * 40, greedy(3))}
    with group_engine(options_of(folder, 2, 2)) as engine:
        before, _ = answers(engine, clean)
        engine.add(AddRequest("bad", [7] * 30 + [poison], greedy(3), 0.0))
        (output,) = engine.step().tokens
        assert (output.finish, output.token_id) == ("error", None)
        assert answers(engine, clean)[0] == before


def spoil_embedding(folder: Path, token: int) -> None:
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    tensors = load_file(file)
    tensors["model.embed_tokens.weight"][token] = float("nan")
    save_file(tensors, file, metadata={"format": "pt"})


@pytest.mark.parametrize("share_memory", [True, False])
def test_bfloat16_is_as_near_to_float32_as_one_process(tiny: Path, share_memory: bool) -> None:
    requests = mixed_requests(VOCAB, (30, 100))
    exact = answers(Engine(options_of(tiny)), requests)[1]
    alone = answers(Engine(options_of(tiny, weight_dtype="bfloat16")), requests)[1]
    with group_engine(
        options_of(tiny, 3, weight_dtype="bfloat16"), share_memory=share_memory
    ) as engine:
        group = answers(engine, requests)[1]
    for name, truth in exact.items():
        own_error = (alone[name][0] - truth[0]).abs().mean()
        assert (group[name][0] - truth[0]).abs().mean() < 2 * own_error + 1e-3


@pytest.mark.model
def test_the_packaged_model_over_two_uneven_ranks_and_two_stages(smollm: Path) -> None:
    """Three K/V heads and nine query heads over two ranks, thirty layers over two stages."""
    requests = mixed_requests(49152, (7, 140))
    settings = [WorkerSettings(max_num_batched_tokens=160)]
    alone = Engine(options_of(smollm))
    tokens, logits = answers(alone, requests, settings)
    with group_engine(options_of(smollm, 2, 2)) as engine:
        group_tokens, group_logits = answers(engine, requests, settings)
        assert engine.executor.weight_bytes >= alone.executor.weight_bytes
    assert group_tokens == tokens
    # Logits reach 34 here: in float32 another order of the sums alone moves them by 1.3e-4.
    assert_near(group_logits, logits, atol=3e-4)


def test_nothing_is_left_after_a_load_that_fails(tiny: Path, tmp_path: Path) -> None:
    """Weights that only a follower misses: its error is the group's."""
    from safetensors.torch import load_file, save_file

    for file in tiny.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(tiny / "model.safetensors")
    del tensors["model.layers.2.mlp.up_proj.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with (
        pytest.raises(RuntimeError, match=r"rank 1: ModelError: .*layers\.2\.mlp\.up_proj"),
        group_engine(options_of(tmp_path, 1, 2)),
    ):
        pass
    until(lambda: not followers_of(os.getpid()), 5.0)
