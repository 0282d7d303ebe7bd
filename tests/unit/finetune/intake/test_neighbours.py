"""Who is too near: at known cosines, in both ways of looking, and the same in both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from autotuner.finetune.intake.neighbours import AllOfThem, Indexed, Seen, fresh

Vectors = npt.NDArray[np.float32]
DIMENSIONS = 64


def _units(count: int, seed: int) -> Vectors:
    rows = np.random.default_rng(seed).standard_normal((count, DIMENSIONS))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def _at_cosine(rows: Vectors, cosines: npt.NDArray[np.float64], seed: int) -> Vectors:
    """For each row one at the given cosine to it."""
    other = _units(len(rows), seed)
    other -= (other * rows).sum(axis=1, keepdims=True) * rows
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    found = cosines[:, None] * rows + np.sqrt(1 - cosines[:, None] ** 2) * other
    return np.asarray(found, dtype=np.float32)


@pytest.fixture(params=["all", "index"])
def seen(request: pytest.FixtureRequest) -> Seen:
    return AllOfThem([]) if request.param == "all" else Indexed(DIMENSIONS)


def test_the_nearest_is_found_at_its_cosine(seen: Seen) -> None:
    kept, cosines = _units(300, 1), np.linspace(0.7, 1, 300)
    assert (seen.nearest(kept) == -1).all()
    seen.add(kept[:200])
    seen.add(kept[200:])
    assert np.allclose(seen.nearest(_at_cosine(kept, cosines, 2)), cosines, atol=2e-3)


def test_what_lies_above_the_threshold_goes_and_what_lies_below_it_stays(seen: Seen) -> None:
    kept = _units(200, 3)
    assert fresh(kept, seen, 0.85).all()
    above = _at_cosine(kept[:100], np.full(100, 0.86), 4)
    below = _at_cosine(kept[100:], np.full(100, 0.84), 5)
    assert (
        fresh(np.concatenate([above, below]), seen, 0.85).tolist() == [False] * 100 + [True] * 100
    )
    # Those that stayed count from now on, those that went do not.
    assert not fresh(below, seen, 0.85).any()


def test_within_a_batch_the_first_stays_and_one_that_goes_takes_none_with_it(seen: Seen) -> None:
    first = _units(1, 6)
    angle = np.arccos(0.9)
    across = _at_cosine(first, np.zeros(1), 7)
    turned = [np.cos(k * angle) * first + np.sin(k * angle) * across for k in range(4)]
    # Each is near to its neighbour alone: the second goes because of the first, so the third stays.
    rows = np.concatenate(turned).astype(np.float32)
    assert fresh(rows, seen, 0.85).tolist() == [True, False, True, False]


def test_both_ways_agree_on_many_in_clusters() -> None:
    centres = _units(20, 8)
    draw = np.random.default_rng(9)
    off = 0.1 * _units(3000, 10) * draw.uniform(1, 8, (3000, 1))
    around = centres[draw.integers(0, 20, 3000)] + off
    rows = np.asarray(around / np.linalg.norm(around, axis=1, keepdims=True), dtype=np.float32)
    everything, index = AllOfThem([]), Indexed(DIMENSIONS)
    kept = [
        np.concatenate([fresh(rows[at : at + 250], way, 0.85) for at in range(0, 3000, 250)])
        for way in (everything, index)
    ]
    assert 300 < kept[0].sum() < 2700
    assert (kept[0] == kept[1]).mean() > 0.99


def test_an_index_comes_back_from_its_file_and_a_broken_file_is_none(tmp_path: Path) -> None:
    index, rows = Indexed(DIMENSIONS), _units(50, 11)
    index.add(rows)
    index.save(tmp_path / "good")
    again = Indexed.load(tmp_path / "good", DIMENSIONS)
    assert again is not None
    assert len(again) == 50
    again.add(_units(1, 12))
    assert np.allclose(again.nearest(rows), 1, atol=2e-3)
    assert Indexed.load(tmp_path / "good", DIMENSIONS * 2) is None
    assert Indexed.load(tmp_path / "none", DIMENSIONS) is None
    for size in (0, 10, 100, 3000):
        (tmp_path / "cut").write_bytes((tmp_path / "good").read_bytes()[:size])
        assert Indexed.load(tmp_path / "cut", DIMENSIONS) is None
    (tmp_path / "text").write_text("no index at all\n" * 100)
    assert Indexed.load(tmp_path / "text", DIMENSIONS) is None
