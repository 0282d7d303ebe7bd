"""Whether answers follow from their prompts, told for each version."""

from __future__ import annotations

import numpy as np
import pytest

from autotuner.finetune.examples import Example
from autotuner.finetune.pairing import FEW, SHIFTS, grouped, pairing, shifted


def examples(count: int) -> list[Example]:
    return [Example(f"q{n}", f"a{n}") for n in range(count)]


def told(gain: float, noise: float, count: int, seed: int, *, versions: int = 1) -> float:
    """The pairing of answers that own prompts make likelier by `gain`, in even versions alone."""
    draw, asked = np.random.default_rng(seed), examples(count)
    came = [1 + n % versions for n in range(count)]
    own = [2.0 - gain * (version % 2) for version in came]
    return pairing(
        asked, came, own, lambda others: (2.0 + noise * draw.normal(size=len(others))).tolist()
    )


def test_each_answer_is_held_against_other_prompts_of_its_version() -> None:
    asked = examples(20)
    groups = grouped([1] * 10 + [2] * 10)
    for by in SHIFTS:
        found = shifted(asked, groups, by)
        assert [one.answer for one in found] == [one.answer for one in asked]
        for place, one in enumerate(found):
            other = int(one.prompt[1:])
            assert other != place
            assert other // 10 == place // 10


@pytest.mark.parametrize("count", [2, 3, 4])
def test_of_a_few_none_meets_its_own_prompt(count: int) -> None:
    for by in SHIFTS:
        found = shifted(examples(count), [list(range(count))], by)
        assert all(one.prompt[1:] != one.answer[1:] for one in found)


def test_small_versions_count_together_or_with_a_large_one() -> None:
    assert grouped([1] * 3 + [2] * 4) == [[0, 1, 2, 3, 4, 5, 6]]
    assert grouped([1] * FEW + [2] * 3) == [list(range(FEW + 3))]
    assert grouped([1] * 5 + [2] * 5 + [3] * FEW) == [list(range(10, 10 + FEW)), list(range(10))]


def test_what_follows_from_its_prompt_passes_and_what_does_not_rarely_does() -> None:
    assert all(told(0.3, 0.3, 30, seed) > 0.05 for seed in range(40))
    mixed = [told(0.0, 0.3, 30, seed) > 0.05 for seed in range(400)]
    assert sum(mixed) <= 4


def test_a_version_that_was_mixed_up_does_not_hide_behind_a_sound_one() -> None:
    assert told(0.3, 0.1, 60, 1) > 0.2
    assert told(0.3, 0.1, 60, 1, versions=2) < 0.05


def test_with_a_few_in_all_it_is_the_mean() -> None:
    asked, own = examples(4), [1.0, 2.0, 1.0, 2.0]
    assert pairing(asked, [1] * 4, own, lambda _: [1.5, 2.0, 1.5, 2.0]) == pytest.approx(0.25)
    assert pairing(asked[:1], [1], own[:1], lambda _: [1.0]) == 0.0
