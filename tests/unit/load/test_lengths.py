from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autotuner.domain.errors import ConfigError
from autotuner.load.lengths import PRESETS, Component, Lognormal, Mix, Range, named_mix


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_long_tail_is_a_tenth_of_long_prompts() -> None:
    drawn = PRESETS["long-tail"].sample(rng(), 20_000)
    prompts, outputs = drawn[:, 0], drawn[:, 1]
    long = prompts >= 1000
    assert long.mean() == pytest.approx(0.1, abs=0.01)
    assert (prompts[long].min(), prompts[long].max()) == pytest.approx((1000, 2000), abs=5)
    assert (prompts[~long].min(), prompts[~long].max()) == (64, 256)
    assert (outputs.min(), outputs.max()) == (16, 96)


def test_lognormal_lengths_have_their_median_within_bounds() -> None:
    drawn = Lognormal(200, 0.9, Range(16, 1000)).sample(rng(), 20_000)
    assert np.median(drawn) == pytest.approx(200, rel=0.05)
    assert (drawn.min(), drawn.max()) == (16, 1000)


def test_weights_are_relative() -> None:
    mix = Mix((Component(3, Range(1, 1), Range(5, 5)), Component(1, Range(2, 2), Range(6, 6))))
    drawn = mix.sample(rng(), 8000)
    assert (drawn[:, 0] == 1).mean() == pytest.approx(0.75, abs=0.02)
    assert np.array_equal(drawn[:, 1], drawn[:, 0] + 4)


def test_a_mix_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mix.yaml"
    file.write_text(
        "- {weight: 2, prompt: [10, 20], output: [1, 2]}\n"
        "- {prompt: {median: 50, sigma: 1, within: [5, 500]}, output: [3, 3]}\n"
    )
    assert named_mix(str(file)) == Mix(
        (
            Component(2, Range(10, 20), Range(1, 2)),
            Component(1, Lognormal(50, 1, Range(5, 500)), Range(3, 3)),
        )
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "components"),
        ("- {weight: 0, prompt: [1, 2], output: [1, 2]}", "weight"),
        ("- {prompt: [1, 2], output: [1, 2], wait: 3}", "wait"),
        ("- {prompt: [9, 2], output: [1, 2]}", "from 9 to 2"),
        ("- {prompt: ten, output: [1, 2]}", "prompt"),
        ("a: [", "mix="),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_field(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "mix.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        named_mix(str(file))


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(ConfigError, match="give one of short, long-tail, chat, or a YAML file"):
        named_mix("longtail")
