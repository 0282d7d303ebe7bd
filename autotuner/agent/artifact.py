"""A trained agent on disk: weights as safetensors, everything else as JSON beside it.

Loading reads numbers and text only, never code. An agent whose features, knobs or shapes differ
from this version's is refused with the reason.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from autotuner.agent.features import FEATURES
from autotuner.agent.schedule import AGENT_KNOBS
from autotuner.domain.errors import AgentError

FORMAT = 2
MOVES = 3  # down, stay, up

Tensors = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class AgentCard:
    """What is known about an agent besides its weights."""

    name: str
    features: tuple[str, ...]
    knobs: tuple[str, ...]
    net: tuple[int, ...]  # widths of the hidden layers, of the policy and of the value alike
    seed: int
    steps: int
    trained_on: str  # a date, given by who trained it
    parent: str | None = None  # the agent that training started from
    versions: Mapping[str, str] = field(default_factory=dict)
    score: Mapping[str, Any] | None = None  # of the evaluation on held-out systems
    validation: Mapping[str, Any] | None = None  # by which one of several seeds was chosen
    format: int = FORMAT


@dataclass(frozen=True)
class AgentArtifact:
    """An agent in memory. `tensors` are named as in the policy's torch state."""

    card: AgentCard
    tensors: Tensors

    def __post_init__(self) -> None:
        """Raises AgentError unless this version can use the agent."""
        _check_card(self.card)
        _check_tensors(self.card, self.tensors)


def paths(path: Path) -> tuple[Path, Path]:
    """The weights' and the card's path of an agent named by either, or by their common stem."""
    stem = path.with_suffix("") if path.suffix in (".safetensors", ".json") else path
    return stem.with_name(stem.name + ".safetensors"), stem.with_name(stem.name + ".json")


def save(artifact: AgentArtifact, path: Path) -> None:
    """Write both files; the card carries the weights' checksum."""
    weights_path, card_path = paths(path)
    weights = save_tensors({k: np.ascontiguousarray(v) for k, v in artifact.tensors.items()})
    card = {**asdict(artifact.card), "weights_sha256": hashlib.sha256(weights).hexdigest()}
    weights_path.parent.mkdir(parents=True, exist_ok=True)
    weights_path.write_bytes(weights)
    card_path.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def load(path: Path) -> AgentArtifact:
    """Read an agent; raises AgentError with the reason when it can't be used."""
    weights_path, card_path = paths(path)
    try:
        weights = weights_path.read_bytes()
        told = json.loads(card_path.read_text(encoding="utf-8"))
        tensors = load_tensors(weights)
    except OSError as error:
        known = sorted(file.stem for file in weights_path.parent.glob("*.safetensors"))
        there = f"; agents there: {', '.join(known)}" if known else ""
        raise AgentError(f"agent {path}: can't be read: {error.strerror}{there}") from error
    except (ValueError, SafetensorError) as error:
        raise AgentError(f"agent {path}: a damaged file: {error}") from error
    if not isinstance(told, dict):
        raise AgentError(f"agent {path}: {card_path.name} is not a JSON object")
    if told.pop("weights_sha256", None) != hashlib.sha256(weights).hexdigest():
        raise AgentError(
            f"agent {path}: {weights_path.name} is not the file that {card_path.name} describes "
            "(checksum differs): copy both files of one training"
        )
    return AgentArtifact(_card(told, path), tensors)


def _card(told: Mapping[str, Any], path: Path) -> AgentCard:
    known = {f.name for f in fields(AgentCard)}
    lists = {"features", "knobs", "net"}
    values: dict[str, Any] = {
        k: tuple(v) if k in lists else v for k, v in told.items() if k in known
    }
    try:
        return AgentCard(**values)
    except TypeError as error:
        raise AgentError(f"agent {path}: its JSON lacks a field: {error}") from error


def _check_card(card: AgentCard) -> None:
    if card.format != FORMAT:
        raise AgentError(
            f"agent {card.name}: its format is {card.format}, this version reads {FORMAT}, whose "
            f"agents see {len(FEATURES)} features and move {len(AGENT_KNOBS)} knobs: train it anew "
            "with `autotuner agent train`, or name one under policies/agents"
        )
    for what, has, needs in (
        ("features", card.features, FEATURES),
        ("knobs", card.knobs, AGENT_KNOBS),
    ):
        if has != needs:
            lacks = sorted(set(needs) - set(has))
            unknown = sorted(set(has) - set(needs))
            raise AgentError(
                f"agent {card.name}: its {what} differ from this version's (lacks {lacks}, unknown "
                f"{unknown}, or another order): train it anew with `autotuner agent train`"
            )


def expected_shapes(net: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The name and shape of every tensor of a policy with these hidden layers."""
    shapes: dict[str, tuple[int, ...]] = {}
    for part in ("policy_net", "value_net"):
        width = len(FEATURES)
        for i, units in enumerate(net):
            shapes[f"mlp_extractor.{part}.{2 * i}.weight"] = (units, width)
            shapes[f"mlp_extractor.{part}.{2 * i}.bias"] = (units,)
            width = units
    last = net[-1] if net else len(FEATURES)
    for head, units in (("action_net", MOVES * len(AGENT_KNOBS)), ("value_net", 1)):
        shapes[f"{head}.weight"] = (units, last)
        shapes[f"{head}.bias"] = (units,)
    return shapes


def _check_tensors(card: AgentCard, tensors: Tensors) -> None:
    expected = expected_shapes(card.net)
    if set(tensors) != set(expected):
        odd = sorted(set(tensors) ^ set(expected))
        raise AgentError(f"agent {card.name}: tensors missing or unknown for its net: {odd}")
    for name, shape in expected.items():
        if tensors[name].shape != shape:
            raise AgentError(
                f"agent {card.name}: {name} has shape {tensors[name].shape}, expected {shape}"
            )
        if not np.isfinite(tensors[name]).all():
            raise AgentError(f"agent {card.name}: {name} holds numbers that are not finite")


def describe(artifact: AgentArtifact) -> str:
    """The card for a reader: how the agent was made, what it sees, moves and scores."""
    card = artifact.card
    weights = sum(tensor.size for tensor in artifact.tensors.values())
    lines = [
        f"{card.name}: PPO, {card.steps:,} steps, seed {card.seed}, trained {card.trained_on}",
        f"parent: {card.parent or 'none, trained from scratch'}",
        f"net: {' × '.join(map(str, card.net))} hidden units, {weights:,} weights",
        f"versions: format {card.format}, "
        + ", ".join(f"{name} {number}" for name, number in card.versions.items()),
        f"score: {_score(card)}",
        *_validation(card),
        f"moves {len(card.knobs)} knobs, a level down, none, or a level up each:",
        *(f"  {name}" for name in card.knobs),
        f"sees {len(card.features)} features:",
        *(f"  {name}" for name in card.features),
    ]
    return "\n".join(lines)


def _validation(card: AgentCard) -> list[str]:
    """One line per seed that was trained, and random moves on the same games."""
    if not card.validation:
        return []
    told = card.validation
    lines = [f"validation: {told['metric']}, {told['games']} games"]
    for seed, gain in told["gain"].items():
        kept = " (kept)" if seed == str(card.seed) else ""
        lines.append(f"  seed {seed}: {gain:+.4f}{kept}")
    return [*lines, f"  random moves: {told['random']:+.4f}"]


def _score(card: AgentCard) -> str:
    if not card.score:
        return "not evaluated"
    return ", ".join(f"{name} {value}" for name, value in card.score.items())
