from __future__ import annotations

from dataclasses import replace

import pytest

from autotuner.domain.errors import ConfigError
from autotuner.domain.forecasts import Alert
from autotuner.domain.silences import Silence, duration_s

ALERT = Alert("f1", "Hot", "warning", "gpu-1", "90 °C", 5.0, labels=(("rack", "7"), ("tier", "x")))
ALL = Silence(10.0, 20.0, "ana", "moving racks")


@pytest.mark.parametrize(
    ("silence", "mutes"),
    [
        (ALL, True),
        (replace(ALL, target="gpu-1", alert="Hot", labels=(("rack", "7"),)), True),
        (replace(ALL, labels=ALERT.labels), True),
        (replace(ALL, target="gpu-10"), False),
        (replace(ALL, alert="hot"), False),
        (replace(ALL, labels=(("rack", "8"),)), False),
        (replace(ALL, labels=(("rack", "7"), ("row", "1"))), False),
    ],
)
def test_a_silence_matches_only_what_has_all_that_it_names(silence: Silence, mutes: bool) -> None:
    assert silence.mutes(ALERT, 15.0) is mutes
    assert silence.matches_all == (silence == ALL)


@pytest.mark.parametrize(
    ("now", "mutes"), [(9.9, False), (10.0, True), (19.9, True), (20.0, False)]
)
def test_it_holds_from_its_start_to_before_its_end(now: float, mutes: bool) -> None:
    assert ALL.mutes(ALERT, now) is mutes


@pytest.mark.parametrize(
    ("text", "length_s"),
    [
        ("90s", 90.0),
        ("30m", 1800.0),
        ("2h", 7200.0),
        (" 1h30m ", 5400.0),
        ("1.5d", 129_600.0),
        ("1w2d", 777_600.0),
    ],
)
def test_durations(text: str, length_s: float) -> None:
    assert duration_s(text) == length_s


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("2", "--for='2': a unit is missing: give 90s, 30m"),
        ("", "--for='': no duration"),
        ("-2h", "--for='-2h': no duration"),
        ("2 h", "--for='2 h': no duration"),
        ("2y", "--for='2y': no duration"),
        ("h", "--for='h': no duration"),
        ("infh", "no duration"),
        ("0m", "--for='0m': no time at all"),
    ],
)
def test_what_is_no_duration_is_told_with_the_fix(text: str, wrong: str) -> None:
    with pytest.raises(ConfigError) as told:
        duration_s(text, "--for")
    assert wrong in str(told.value)
