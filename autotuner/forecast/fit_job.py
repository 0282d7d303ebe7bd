"""The process that fits: a request as JSON on stdin, points as JSON on stdout. Low priority."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass

import numpy as np

from autotuner.domain.forecasts import ForecastPoint
from autotuner.forecast.bands import Kind
from autotuner.forecast.child import run_limited
from autotuner.forecast.prophet_model import fit_and_predict
from autotuner.forecast.series import FloatArray, Series

_NICENESS = 10


@dataclass(frozen=True, eq=False)
class FitRequest:
    """A series, the times wanted (UTC seconds) and how to fit."""

    series: Series
    horizon: FloatArray
    kind: Kind
    time_limit_s: float
    seed: int

    def as_json(self) -> bytes:
        body = {
            "times": self.series.times.tolist(),
            "values": self.series.values.tolist(),
            "step_s": self.series.step_s,
            "horizon": self.horizon.tolist(),
            "kind": self.kind.value,
            "time_limit_s": self.time_limit_s,
            "seed": self.seed,
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
            body["seed"],
        )


def fit_in_child(request: FitRequest) -> tuple[ForecastPoint, ...]:
    """The points of a Prophet fit that ran in a process of its own.

    Raises TimeoutError at the request's time limit (the process is killed), ChildError when the
    fit failed there, OSError when no process could be started.
    """
    command = [sys.executable, "-m", "autotuner.forecast.fit_job"]
    answer = run_limited(command, request.as_json(), request.time_limit_s)
    return tuple(ForecastPoint(*row) for row in json.loads(answer))


def main() -> None:
    os.nice(_NICENESS)
    # Whatever a library prints must not mix with the answer.
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as answer:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        request = FitRequest.from_json(sys.stdin.buffer.read())
        points = fit_and_predict(
            request.series,
            request.horizon,
            request.kind,
            time_limit_s=request.time_limit_s,
            seed=request.seed,
        )
        json.dump([(p.at, p.value, p.low, p.high) for p in points], answer, allow_nan=False)


if __name__ == "__main__":
    main()
