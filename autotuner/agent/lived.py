"""What a target went through, small enough to be kept: machines, workloads and loads for training.

One moment is a calibration with the workload of its time. Kept as JSON; numbers only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autotuner.agent.checks import Known
from autotuner.agent.stepmodel import StepModel
from autotuner.agent.systems import Mix, points_of_sample
from autotuner.domain.errors import AgentError
from autotuner.domain.knobs import Value
from autotuner.domain.telemetry import Exposure
from autotuner.whole_files import write_whole

MOMENTS = 48  # kept per target: two days at one an hour; chosen


@dataclass(frozen=True)
class Moment:
    """A calibrated machine under `settings`, and what was asked of it. Tokens, seconds, 1/s.

    `relative_errors`: of the step model's coefficients. `mix`: (prompt tokens, output tokens,
    weight) of each point. `kv_tokens` is NaN where it is not known.
    """

    at: float
    settings: Mapping[str, Value]
    model: StepModel
    relative_errors: tuple[float, ...]
    rate_rps: float
    mix: tuple[tuple[float, float, float], ...]
    kv_tokens: float = math.nan
    prefix_share: float = 0.0

    @property
    def points(self) -> Mix:
        table = np.array(self.mix, dtype=np.float64)
        return Mix(table[None, :, 0], table[None, :, 1], table[None, :, 2])


def moment_of(known: Known, requests: Sequence[Exposure]) -> Moment | None:
    """None where the calibration or the requests say too little."""
    calibration, figures = known.calibration, known.calibration.figures
    served = [r for r in requests if r.served and r.prompt_tokens > 0 and r.output_tokens > 0]
    if not calibration.fitted or not figures.rate_rps.known or len(served) < 20:
        return None
    mix = points_of_sample(
        np.array([r.prompt_tokens for r in served], dtype=np.float64),
        np.array([r.output_tokens for r in served], dtype=np.float64),
    )
    points = zip(mix.prompt_tokens[0], mix.output_tokens[0], mix.weight[0], strict=True)
    hits, room = figures.prefix_share, figures.kv_tokens
    return Moment(
        known.at,
        dict(known.settings),
        calibration.model,
        tuple(calibration.relative_errors.tolist()),
        figures.rate_rps.value,
        tuple((float(p), float(o), float(w)) for p, o, w in points),
        room.value if room.known else math.nan,
        min(max(hits.value, 0.0), 0.95) if hits.known else 0.0,
    )


def to_json(moments: Sequence[Moment]) -> list[dict[str, Any]]:
    return [
        {**asdict(m), "kv_tokens": m.kv_tokens if math.isfinite(m.kv_tokens) else None}
        for m in moments
    ]


def from_json(rows: Sequence[Mapping[str, Any]]) -> tuple[Moment, ...]:
    """Raises AgentError for what `to_json` did not write."""
    try:
        return tuple(
            Moment(
                at=float(row["at"]),
                settings=dict(row["settings"]),
                model=StepModel(**row["model"]),
                relative_errors=tuple(map(float, row["relative_errors"])),
                rate_rps=float(row["rate_rps"]),
                mix=tuple((float(p), float(o), float(w)) for p, o, w in row["mix"]),
                kv_tokens=math.nan if row["kv_tokens"] is None else float(row["kv_tokens"]),
                prefix_share=float(row["prefix_share"]),
            )
            for row in rows
        )
    except (KeyError, TypeError, ValueError) as error:
        raise AgentError(f"what the target went through can't be read: {error}") from error


def read(path: Path) -> tuple[Moment, ...]:
    """What is kept at `path`, oldest first; nothing where there is no file. Raises AgentError."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise AgentError(f"{path}: can't be read: {error.strerror}") from error
    try:
        return from_json(json.loads(text))
    except ValueError as error:
        raise AgentError(f"{path}: not JSON; delete it to begin anew: {error}") from error


def keep(path: Path, moment: Moment) -> None:
    """Adds it to what is kept at `path`, the oldest of more than MOMENTS dropped. Atomic.

    Raises AgentError where it can't be written.
    """
    moments = (*read(path), moment)[-MOMENTS:]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(to_json(moments), allow_nan=False))
    except OSError as error:
        raise AgentError(f"{path}: can't be written: {error.strerror}") from error
