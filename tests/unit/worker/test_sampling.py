from __future__ import annotations

from collections import Counter

import pytest
import torch

from autotuner.worker.sampling import DrawParams, draw, uniform

VOCAB = 2000


def params(
    temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, seed: int = 0, position: int = 0
) -> DrawParams:
    return DrawParams(temperature, top_k, top_p, seed, position)


def noise(rows: int, vocab: int = VOCAB) -> torch.Tensor:
    return torch.randn(rows, vocab, generator=torch.Generator().manual_seed(5)) * 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_temperature_zero_is_the_most_likely_token(dtype: torch.dtype) -> None:
    logits = noise(6).to(dtype)
    assert draw(logits, [params(0.0)] * 6) == logits.float().argmax(-1).tolist()


@pytest.mark.parametrize("kind", [params(), params(top_k=7), params(top_p=0.3), params(0.0)])
def test_rows_that_are_not_finite_are_none(kind: DrawParams) -> None:
    logits = noise(3)
    logits[1, 17] = torch.nan
    tokens = draw(logits, [kind] * 3)
    assert [token is None for token in tokens] == [False, True, False]


def test_a_draw_does_not_depend_on_its_company() -> None:
    logits = noise(6)
    mixed = [
        params(seed=1, position=3),
        params(0.0),
        params(0.7, top_k=5, seed=2, position=9),
        params(1.3, top_p=0.9, seed=3),
        params(0.7, seed=1, position=4),
        params(5.0, top_p=0.99, seed=4),
    ]
    together = draw(logits, mixed)
    assert together == [draw(logits[i : i + 1], [p])[0] for i, p in enumerate(mixed)]
    assert together[::-1] == draw(logits.flip(0), mixed[::-1])


def test_top_k_one_and_tiny_top_p_are_greedy() -> None:
    logits = noise(4)
    best = logits.argmax(-1).tolist()
    assert draw(logits, [params(top_k=1, seed=i) for i in range(4)]) == best
    assert draw(logits, [params(top_p=1e-9, seed=i) for i in range(4)]) == best


def frequencies(logits: list[float], kind: DrawParams, draws: int = 4000) -> list[float]:
    rows = torch.tensor([logits]).expand(draws, -1)
    each = [params(kind.temperature, kind.top_k, kind.top_p, 3, i) for i in range(draws)]
    counts = Counter(draw(rows, each))
    return [counts[i] / draws for i in range(len(logits))]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (params(), [0.5, 0.25, 0.15, 0.1]),
        (params(0.5), [0.25 / 0.345, 0.0625 / 0.345, 0.0225 / 0.345, 0.01 / 0.345]),
        (params(top_k=2), [2 / 3, 1 / 3, 0.0, 0.0]),
        (params(top_p=0.6), [2 / 3, 1 / 3, 0.0, 0.0]),
        (params(top_k=3, top_p=0.9), [5 / 9, 2.5 / 9, 1.5 / 9, 0.0]),
        (params(top_k=3, top_p=0.8), [2 / 3, 1 / 3, 0.0, 0.0]),
    ],
)
def test_draws_follow_the_distribution(kind: DrawParams, expected: list[float]) -> None:
    logits = torch.tensor([0.5, 0.25, 0.15, 0.1]).log().tolist()
    # Four standard errors of 4,000 draws; the seeds are fixed.
    assert frequencies(logits, kind) == pytest.approx(expected, abs=0.032)


def test_top_p_reaches_beyond_the_first_candidates_on_a_flat_distribution() -> None:
    flat = torch.zeros(300, VOCAB)
    tokens = draw(flat, [params(top_p=0.9, seed=i) for i in range(300)])
    # 1,800 of 2,000 tokens are allowed: so many draws fall far beyond the first 512.
    assert len(set(tokens)) > 250


def test_uniform_is_even_and_in_range() -> None:
    values = [uniform(seed, position) for seed in range(40) for position in range(100)]
    assert all(0.0 <= value < 1.0 for value in values)
    assert len(set(values)) == len(values)
    assert sum(values) / len(values) == pytest.approx(0.5, abs=0.02)
    tenths = Counter(int(value * 10) for value in values)
    assert all(340 < count < 460 for count in tenths.values())


def test_a_negative_or_huge_seed_is_a_seed() -> None:
    assert 0.0 <= uniform(-1, 0) < 1.0
    assert uniform(2**70 + 5, 1) == uniform(2**70 + 5, 1)
