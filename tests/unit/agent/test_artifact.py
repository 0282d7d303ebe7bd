from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

from autotuner.agent.artifact import (
    AgentArtifact,
    AgentCard,
    describe,
    expected_shapes,
    load,
    save,
)
from autotuner.agent.environment import TuningVecEnv
from autotuner.agent.features import FEATURES
from autotuner.agent.ladder import Ladder
from autotuner.agent.policy import Policy
from autotuner.agent.ppo import TrainConfig, TrainProgress, train, train_seeds
from autotuner.agent.random_ladders import draw_ladder
from autotuner.agent.schedule import AGENT_KNOBS
from autotuner.agent.systems import Systems, draw_systems
from autotuner.agent.validation import RandomMoves, validate
from autotuner.domain.errors import AgentError

NET = (8, 6)


def artifact(net: tuple[int, ...] = NET, seed: int = 0) -> AgentArtifact:
    rng = np.random.default_rng(seed)
    shapes = expected_shapes(net)
    tensors = {name: rng.normal(0, 0.3, s).astype(np.float32) for name, s in shapes.items()}
    card = AgentCard("test", FEATURES, AGENT_KNOBS, net, seed, 10, "2026-01-01")
    return AgentArtifact(card, tensors)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    saved = artifact()
    save(saved, tmp_path / "deep" / "agent")
    for name in ("agent", "agent.json", "agent.safetensors"):
        loaded = load(tmp_path / "deep" / name)
        assert loaded.card == saved.card
        assert set(loaded.tensors) == set(saved.tensors)
        assert all((loaded.tensors[k] == v).all() for k, v in saved.tensors.items())


def test_a_name_with_a_dot_keeps_it(tmp_path: Path) -> None:
    save(artifact(), tmp_path / "agent-1.5")
    assert (tmp_path / "agent-1.5.json").exists()
    assert load(tmp_path / "agent-1.5").card.name == "test"


def refused(card: AgentCard, match: str) -> None:
    with pytest.raises(AgentError, match=match):
        AgentArtifact(card, artifact().tensors)


def test_what_does_not_fit_is_refused_with_the_reason() -> None:
    card = artifact().card
    refused(replace(card, features=(*FEATURES[1:], "moon_phase")), "unknown .*moon_phase")
    refused(replace(card, features=tuple(reversed(FEATURES))), "another order")
    refused(replace(card, knobs=("block_size",)), "knobs differ")
    refused(replace(card, net=(8, 7)), "has shape")
    refused(replace(card, net=(8, 6, 6)), "missing or unknown")
    refused(replace(card, knobs=AGENT_KNOBS[:4]), "lacks .*weight_dtype")


def test_an_agent_of_the_first_format_is_refused_and_told_what_to_do() -> None:
    card = replace(artifact().card, format=1, knobs=AGENT_KNOBS[:4], features=FEATURES[:20])
    refused(card, "format is 1, this version reads 2.*autotuner agent train")


def test_weights_that_are_not_finite_are_refused() -> None:
    good = artifact()
    bad = {**good.tensors, "action_net.bias": np.full(33, np.nan, dtype=np.float32)}
    with pytest.raises(AgentError, match=r"action_net\.bias"):
        AgentArtifact(good.card, bad)


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    save(artifact(seed=0), tmp_path / "a")
    save(artifact(seed=1), tmp_path / "b")
    (tmp_path / "a.json").write_bytes((tmp_path / "b.json").read_bytes())
    with pytest.raises(AgentError, match="checksum"):
        load(tmp_path / "a")


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_damaged_and_missing_files_are_refused(tmp_path: Path, suffix: str) -> None:
    save(artifact(), tmp_path / "a")
    path = tmp_path / f"a{suffix}"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(AgentError, match="damaged"):
        load(tmp_path / "a")
    path.unlink()
    with pytest.raises(AgentError, match="can't be read"):
        load(tmp_path / "a")


def test_a_name_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(artifact(), tmp_path / name)
    with pytest.raises(AgentError, match=r"c: can't be read.*agents there: a, b"):
        load(tmp_path / "c")


def test_a_card_that_lacks_a_field_is_refused(tmp_path: Path) -> None:
    save(artifact(), tmp_path / "a")
    card = json.loads((tmp_path / "a.json").read_text())
    del card["seed"]
    (tmp_path / "a.json").write_text(json.dumps(card))
    with pytest.raises(AgentError, match="seed"):
        load(tmp_path / "a")


def test_the_description_names_what_it_moves_and_sees() -> None:
    told = describe(artifact())
    assert "max_num_batched_tokens" in told
    assert FEATURES[0] in told
    assert "not evaluated" in told
    assert "format 2" in told


def test_the_description_tells_every_seeds_score() -> None:
    told = {"metric": "gain", "games": 4, "gain": {"0": 0.2, "1": 0.3}, "random": 0.1}
    one = artifact(seed=1)
    lines = describe(replace(one, card=replace(one.card, validation=told))).splitlines()
    assert "  seed 0: +0.2000" in lines
    assert "  seed 1: +0.3000 (kept)" in lines
    assert "  random moves: +0.1000" in lines


TINY = TrainConfig(
    name="tiny", steps=512, environments=16, rollout_steps=16, batch=64, epochs=1, net=NET
)


def test_training_is_repeatable_and_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    heard: list[TrainProgress] = []
    first, second = train(TINY, heard.append), train(TINY)
    assert [p.steps for p in heard] == [256, 512]
    assert all((first.tensors[k] == v).all() for k, v in second.tensors.items())
    other = train(replace(TINY, seed=1))
    assert any((first.tensors[k] != v).any() for k, v in other.tensors.items())
    assert not list(tmp_path.glob("SB3*"))  # its logs


def test_of_several_seeds_the_best_is_kept_with_all_scores() -> None:
    best = train_seeds(replace(TINY, steps=256, seed=3), 2)
    told = best.card.validation
    assert told is not None
    assert list(told["gain"]) == ["3", "4"]
    gains = {int(seed): gain for seed, gain in told["gain"].items()}
    assert gains[best.card.seed] == max(gains.values())
    again = train(replace(TINY, steps=256, seed=best.card.seed))
    assert all((best.tensors[name] == tensor).all() for name, tensor in again.tensors.items())


def test_training_takes_systems_from_a_source() -> None:
    asked = []

    def source(rng: np.random.Generator, n: int) -> tuple[Systems, Ladder]:
        asked.append(n)
        systems = draw_systems(rng, n)
        return systems, draw_ladder(rng, systems.machines)

    train(replace(TINY, steps=256), systems=source)
    assert asked


def test_a_short_training_beats_random_moves() -> None:
    config = TrainConfig(
        steps=16_000,
        environments=64,
        rollout_steps=16,
        batch=512,
        epochs=4,
        learning_rate=2e-3,
        net=(32,),
    )
    trained, idle = (validate(p, 99, 256) for p in (Policy(train(config)), RandomMoves()))
    assert trained.reward > idle.reward + 0.05


def test_validation_deals_the_same_games_to_all() -> None:
    policy = Policy(artifact())
    assert validate(policy, 5, 16) == validate(policy, 5, 16)
    assert validate(policy, 5, 16) != validate(policy, 6, 16)


def test_training_goes_on_from_an_agent() -> None:
    start = artifact()
    tuned = train(replace(TINY, steps=256, learning_rate=1e-9), start=start)
    assert tuned.card.parent == "test"
    for name, tensor in start.tensors.items():
        np.testing.assert_allclose(tuned.tensors[name], tensor, atol=1e-4)


def test_the_numpy_policy_is_torchs() -> None:
    agent = train(replace(TINY, steps=256))
    env = TuningVecEnv(16, seed=3)
    model = PPO("MlpPolicy", env, policy_kwargs={"net_arch": list(NET)}, device="cpu")
    model.policy.load_state_dict({k: torch.from_numpy(v) for k, v in agent.tensors.items()})
    observation = np.asarray(env.reset())
    policy = Policy(agent)
    moves, _ = model.predict(observation, deterministic=True)
    np.testing.assert_array_equal(policy.best(observation), moves - 1)
    shares = policy.probabilities(observation)
    np.testing.assert_allclose(shares.sum(axis=2), 1.0)
    rng = np.random.default_rng(0)
    drawn = np.stack([policy.sample(observation, rng) for _ in range(4000)])
    for move in (-1, 0, 1):
        np.testing.assert_allclose((drawn == move).mean(axis=0), shares[:, :, move + 1], atol=0.05)
