"""Further training: what it is trained on, who is better, and that only the better is released."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autotuner.agent import lived
from autotuner.agent.artifact import AgentArtifact, AgentCard, expected_shapes, load, save
from autotuner.agent.features import FEATURES
from autotuner.agent.finetune import LEAST_SYSTEMS, Family, compare, judged
from autotuner.agent.finetune_job import Request, answer, run
from autotuner.agent.lived import Moment
from autotuner.agent.schedule import AGENT_KNOBS
from autotuner.agent.stepmodel import StepModel
from autotuner.domain.errors import AgentError
from autotuner.domain.knobs import Knob, KnobSpace
from autotuner.domain.slo import SLO

SPACE = KnobSpace(
    (
        Knob("max_num_seqs", (2, 4, 8, 16, 32, 64)),
        Knob("max_num_batched_tokens", (32, 64, 128, 256, 512, 1024, 2048)),
        Knob("schedule_policy", ("fcfs", "length-grouped"), max_step=1),
    )
)
WANTED = SLO(ttft_s=1.5, gap_max_s=0.12)
MOMENT = Moment(
    at=0.0,
    settings={"max_num_seqs": 32},
    model=StepModel(6e-3, 0.45e-3, 0.42e-3, 4e-6, noise=0.08),
    relative_errors=(0.05,) * 5,
    rate_rps=3.0,
    mix=((100.0, 30.0, 0.8), (1000.0, 30.0, 0.2)),
    kv_tokens=20_000.0,
    prefix_share=0.2,
)
FAMILY = Family((MOMENT,), SPACE, WANTED)


def agent(seed: int, net: tuple[int, ...] = (32, 32)) -> AgentArtifact:
    """One that knows nothing yet."""
    rng = np.random.default_rng(seed)
    shapes = expected_shapes(net)
    tensors = {k: (0.05 * rng.standard_normal(s)).astype(np.float32) for k, s in shapes.items()}
    return AgentArtifact(AgentCard("base", FEATURES, AGENT_KNOBS, net, seed, 0, ""), tensors)


def test_systems_lie_around_what_the_target_had() -> None:
    own = replace(FAMILY, generic=0.0)
    systems, ladder = own.draw(np.random.default_rng(0), 400)
    assert len(systems) == len(ladder) == 400
    assert np.median(systems.rate_rps) == pytest.approx(3.0, rel=0.1)
    assert np.median(systems.steps.decode_s) == pytest.approx(0.45e-3, rel=0.05)
    assert systems.steps.decode_s.std() > 0
    assert set(systems.machines.kv_tokens) == {20_000.0}
    assert set(systems.prefix_share) == {0.2}
    assert np.median(systems.slo.ttft_s) == pytest.approx(1.5, rel=0.05)
    assert np.isinf(systems.slo.tpot_s).all()
    moving = (ladder.counts > 1).any(axis=0)
    assert {AGENT_KNOBS[k] for k in np.flatnonzero(moving)} == set(SPACE.names)


def test_a_share_of_the_systems_is_of_any_kind() -> None:
    systems, _ = FAMILY.draw(np.random.default_rng(1), 400)
    others = (systems.machines.kv_tokens != 20_000.0).mean()
    assert 0.15 < others < 0.35


def test_the_same_seed_draws_the_same() -> None:
    first, again = (FAMILY.draw(np.random.default_rng(2), 50)[0] for _ in range(2))
    np.testing.assert_array_equal(first.rate_rps, again.rate_rps)


def test_an_agent_is_not_better_than_itself() -> None:
    found = compare(agent(0), agent(0), FAMILY.draw, LEAST_SYSTEMS, seed=3)
    assert found.gain == 0
    assert not found.better


def test_training_on_a_narrow_family_beats_an_agent_that_knows_nothing(tmp_path: Path) -> None:
    save(agent(0), tmp_path / "base")
    request = Request(
        tmp_path / "base", tmp_path / "new", "new", (MOMENT,), SPACE, WANTED, 20_000, 1, 60, "day",
        learning_rate=1e-3,
    )  # fmt: skip
    found = run(request)
    assert found.better
    assert found.systems == 60
    made = load(tmp_path / "new")
    assert made.card.parent == "base"
    assert made.card.score is not None
    worse = compare(made, load(tmp_path / "base"), FAMILY.draw, 60, seed=9)
    assert not worse.better
    assert worse.bound < 0


def test_a_gain_that_may_be_chance_is_no_gain() -> None:
    rng = np.random.default_rng(4)
    before = rng.random(100)
    assert not judged(before, before + rng.normal(0, 0.1, 100)).better
    assert judged(before, before - 0.05 + rng.normal(0, 0.1, 100)).better


def test_chance_alone_is_released_in_about_one_try_of_twenty() -> None:
    rng = np.random.default_rng(5)
    released = sum(judged(np.zeros(60), rng.normal(0, 0.1, 60)).better for _ in range(2_000))
    assert 0.03 < released / 2_000 < 0.07


def test_few_systems_are_not_enough_to_judge() -> None:
    with pytest.raises(ValueError, match="at least 50"):
        compare(agent(0), agent(1), FAMILY.draw, 10, seed=0)


def test_a_request_and_its_answer_survive_the_way() -> None:
    endless = (replace(MOMENT, kv_tokens=math.inf),)
    request = Request(Path("a/b"), Path("c"), "n", endless, SPACE, WANTED, 5, 6, 70, "today")
    told = Request.from_json(request.as_json())
    assert math.isnan(told.moments[0].kv_tokens)  # no limit and not known are the same here
    assert replace(told, moments=()) == replace(request, moments=())
    assert replace(told.moments[0], kv_tokens=0.0) == replace(MOMENT, kv_tokens=0.0)
    with pytest.raises(ValueError, match="not a comparison"):
        answer(json.dumps({"score": 1.0}).encode())


def test_only_the_last_moments_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "t" / "lived.json"
    for at in range(lived.MOMENTS + 3):
        lived.keep(path, replace(MOMENT, at=float(at)))
    kept = lived.read(path)
    assert len(kept) == lived.MOMENTS
    assert kept[-1] == replace(MOMENT, at=float(lived.MOMENTS + 2))
    assert path.stat().st_size < 60_000


def test_a_damaged_file_is_told_with_the_fix(tmp_path: Path) -> None:
    path = tmp_path / "lived.json"
    assert lived.read(path) == ()
    path.write_text("{")
    with pytest.raises(AgentError, match="delete it to begin anew"):
        lived.read(path)
    path.write_text('[{"at": 1}]')
    with pytest.raises(AgentError, match="can't be read"):
        lived.read(path)
