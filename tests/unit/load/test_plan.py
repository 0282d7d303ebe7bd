from __future__ import annotations

import numpy as np
import pytest

from autotuner.domain.errors import ConfigError
from autotuner.load.arrivals import steady
from autotuner.load.kinds import Process
from autotuner.load.lengths import PRESETS
from autotuner.load.plan import (
    Clamp,
    PlannedRequest,
    Replay,
    from_trace,
    rate_scale_for,
    synthetic,
)
from autotuner.load.traces import Trace


def trace(*rows: tuple[float, int, int]) -> Trace:
    columns = list(zip(*rows, strict=True))
    return Trace(np.array(columns[0]), np.array(columns[1]), np.array(columns[2]))


TRACE = trace((0.0, 10, 5), (1.0, 20, 0), (4.0, 3000, 700))
REGULAR = trace(*((float(i), i + 1, 1) for i in range(2000)))


def test_a_trace_is_played_as_it_was() -> None:
    assert from_trace(TRACE) == (
        PlannedRequest(0.0, 10, 5),
        PlannedRequest(1.0, 20, 1),  # a server can't be asked for no token
        PlannedRequest(4.0, 3000, 700),
    )


def test_time_is_stretched_and_lengths_are_clamped() -> None:
    plan = from_trace(TRACE, Replay(time_scale=0.5), clamp=Clamp(100, 50))
    assert [p.at_s for p in plan] == [0.0, 0.5, 2.0]
    assert plan[2] == PlannedRequest(2.0, 100, 50)


def test_the_plan_ends_at_the_duration_or_the_limit() -> None:
    assert len(from_trace(TRACE, Replay(duration_s=4.0))) == 2
    assert len(from_trace(TRACE, Replay(limit=1))) == 1


def test_thinning_keeps_times_and_a_share_of_requests() -> None:
    plan = from_trace(REGULAR, Replay(rate_scale=0.25), seed=3)
    assert len(plan) == pytest.approx(500, abs=100)
    assert all(p.at_s == p.prompt_tokens - 1 for p in plan)


def test_multiplying_keeps_the_course_of_the_rate() -> None:
    plan = from_trace(REGULAR, Replay(rate_scale=2.5), seed=3)
    assert len(plan) == pytest.approx(5000, abs=120)
    times = [p.at_s for p in plan]
    assert times == sorted(times)
    assert all(p.prompt_tokens - 1 <= p.at_s <= p.prompt_tokens for p in plan)


def test_the_rate_scale_for_a_mean_rate() -> None:
    scale = rate_scale_for(REGULAR, 0.5, time_scale=2.0)
    plan = from_trace(REGULAR, Replay(time_scale=2.0, rate_scale=scale), seed=1)
    assert len(plan) / (REGULAR.span_s * 2.0) == pytest.approx(0.5, rel=0.05)


def test_a_drawn_plan_depends_on_its_seed_alone() -> None:
    curve, mix = steady(5.0, 20.0), PRESETS["long-tail"]
    first = synthetic(curve, Process.POISSON, mix, seed=1)
    assert first == synthetic(curve, Process.POISSON, mix, seed=1)
    assert first != synthetic(curve, Process.POISSON, mix, seed=2)
    assert all(0 <= p.at_s < 20 and p.prompt_tokens >= 64 for p in first)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"time_scale": 0.0}, "time_scale=0.0: give a number above 0"),
        ({"rate_scale": -1.0}, "rate_scale=-1.0"),
        ({"duration_s": float("nan")}, "duration_s=nan"),
        ({"limit": 0}, "limit=0"),
    ],
)
def test_a_replay_that_makes_no_sense_is_refused(options: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Replay(**options)  # type: ignore[arg-type]


def test_a_clamp_below_a_token_is_refused() -> None:
    with pytest.raises(ConfigError, match="max_output_tokens=0: give at least 1"):
        Clamp(max_output_tokens=0)


def test_no_rate_is_refused() -> None:
    with pytest.raises(ConfigError, match="rate=0"):
        rate_scale_for(TRACE, 0.0, 1.0)
