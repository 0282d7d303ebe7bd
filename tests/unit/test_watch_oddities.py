from __future__ import annotations

from autotuner.alerts.conditions import Builtin
from autotuner.domain.forecasts import AnomalyScore
from autotuner.watch import oddities


def score(anomalous: bool, suppressed: bool) -> AnomalyScore:
    return AnomalyScore("ttft_s", 0.0, 0.25, 0.1, 2.5 if anomalous else 0.5, anomalous, suppressed)


def test_a_new_episode_raises_and_a_normal_point_clears() -> None:
    raised, cleared = oddities([score(True, False), score(False, False)])
    assert (raised.kind, raised.active, cleared.active) == (Builtin.ANOMALY, True, False)
    assert raised.summary == "ttft_s is 0.25, 0.1 was expected (score 2.5)"
    assert raised.labels == (("series", "ttft_s"),)


def test_the_rest_of_an_episode_changes_nothing() -> None:
    (later,) = oddities([score(True, True)])
    assert later.active is None
