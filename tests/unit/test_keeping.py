"""From days in the configuration to times before which rows may go."""

from __future__ import annotations

from typing import Any

from autotuner.config import Config
from autotuner.keeping import keeping_of

DAY = 86400.0
NOW = 1000 * DAY


def days(**more: Any) -> tuple[dict[str, float], float | None]:
    config = Config.model_validate({"targets": [{"name": "t", "url": "http://t"}], **more})
    keeping = keeping_of(config, NOW)
    thin = keeping.thin_before
    return (
        {name: (NOW - at) / DAY for name, at in keeping.cutoffs.items()},
        None if thin is None else (NOW - thin) / DAY,
    )


def test_what_is_not_named_is_kept_for_keep_days() -> None:
    kept, thin = days(keep_days=200)
    assert (kept["samples"], kept["decisions"], kept["alerts"]) == (200, 200, 200)
    assert (kept["forecasts"], kept["outbox"], kept["heartbeats"]) == (30, 90, 30)
    assert thin is not None
    assert thin >= 14


def test_a_default_is_no_longer_than_keep_days_and_a_wish_may_be() -> None:
    kept, _ = days(keep_days=10, keep={"delivered": 60, "held_decisions": 5})
    assert (kept["forecasts"], kept["outbox"], kept["decisions"]) == (10, 60, 5)


def test_series_are_as_fine_as_forecasts_need_them() -> None:
    from autotuner.config import load_policy
    from autotuner.resources import resource_folder

    needed = load_policy("default", resource_folder("policies")).forecast.history_days
    assert days(keep={"thin_after": needed / 2})[1] == needed
    assert days(keep={"thin_after": needed * 2})[1] == needed * 2
    assert days(keep={"thin_after": None})[1] is None
