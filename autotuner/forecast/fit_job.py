"""The process that fits: requests as lines of JSON on stdin, answers on stdout. Low priority."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from autotuner.domain.forecasts import ForecastPoint
from autotuner.forecast import prophet_model
from autotuner.forecast.backtest import Tried, tried
from autotuner.forecast.bands import Kind
from autotuner.forecast.child import ChildError, run_limited
from autotuner.forecast.series import FloatArray, Series

COMMAND = (sys.executable, "-m", "autotuner.forecast.fit_job")
MODEL = "prophet"
_NICENESS = 10


@dataclass(frozen=True, eq=False)
class FitRequest:
    """A series, the times wanted (UTC seconds) and how to fit; `coverage` of the intervals."""

    series: Series
    horizon: FloatArray
    kind: Kind
    time_limit_s: float
    coverage: float

    def as_json(self) -> bytes:
        """One line, without its end."""
        body = {
            "times": self.series.times.tolist(),
            "values": self.series.values.tolist(),
            "step_s": self.series.step_s,
            "horizon": self.horizon.tolist(),
            "kind": self.kind.value,
            "time_limit_s": self.time_limit_s,
            "coverage": self.coverage,
        }
        return json.dumps(body, allow_nan=False).encode()

    @staticmethod
    def from_json(text: bytes) -> FitRequest:
        body = json.loads(text)
        series = Series(np.asarray(body["times"]), np.asarray(body["values"]), body["step_s"])
        return FitRequest(
            series,
            np.asarray(body["horizon"]),
            Kind(body["kind"]),
            body["time_limit_s"],
            body["coverage"],
        )


def fit(request: FitRequest) -> Tried:
    """Prophet tried on the series, in this process: two fits, each within the time limit."""
    return tried(
        MODEL,
        request.series,
        request.horizon,
        request.kind,
        lambda seen, times: prophet_model.curve(seen, times, request.time_limit_s),
        request.coverage,
    )


def fit_in_child(request: FitRequest) -> Tried:
    """What `fit` gives, found by a process of its own.

    Raises TimeoutError at the request's time limit (the process is killed), ChildError when the
    fit failed there, OSError when no process could be started.
    """
    return from_answer(run_limited(COMMAND, request.as_json() + b"\n", request.time_limit_s))


def from_answer(line: bytes) -> Tried:
    """What the process found; raises ChildError with what went wrong there."""
    body = json.loads(line)
    if "failed" in body:
        raise ChildError(body["failed"])
    points = tuple(ForecastPoint(*row) for row in body["points"])
    return Tried(body["model"], points, body["error"])


def answered(line: bytes) -> dict[str, Any]:
    """The answer to one request: a model's points and error, or what failed."""
    try:
        found = fit(FitRequest.from_json(line))
    except Exception as error:  # noqa: BLE001 - told to the other process, which falls back
        return {"failed": f"{type(error).__name__}: {error}"}
    points = [(p.at, p.value, p.low, p.high) for p in found.points]
    return {"model": found.model, "points": points, "error": found.error}


def main() -> None:
    os.nice(_NICENESS)
    # Whatever a library prints must not mix with the answers.
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        for line in sys.stdin.buffer:
            answers.write(json.dumps(answered(line), allow_nan=False) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
