"""A real daemon, a real receiver and a silence: kept, not told, told when the silence is over."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from autotuner.domain.silences import Silence
from autotuner.history.store import History
from tests.integration.alerts.receiver import Receiver
from tests.integration.daemon.processes import Rig, kill, until

pytestmark = pytest.mark.process

# Without load both fire at once; with it both are over.
RULES = [
    {
        "name": name,
        "tier": "business",
        "series": "offered_rps",
        "below": 1.0,
        "for_s": 0,
        "resolve_for_s": 0,
    }
    for name in ("Silenced", "Told")
]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    opened = Receiver()
    yield opened
    opened.close()


@pytest.fixture
def rig(tmp_path: Path, receiver: Receiver) -> Iterator[Rig]:
    built = Rig(tmp_path, receiver=receiver.url)
    built.policy["alerts"] = RULES
    try:
        yield built
    finally:
        built.close()


def heard(receiver: Receiver, name: str) -> list[str]:
    """What the receiver was told of one alert, in order."""
    rows = [row for body in list(receiver.bodies) for row in json.loads(body)["alerts"]]
    return [row["status"] for row in rows if row["labels"]["alertname"] == name]


def cycles(history: History, daemon: subprocess.Popen[str]) -> int:
    beat = history.status("t").heartbeat
    return beat.cycles if beat and beat.daemon_id.endswith(f":{daemon.pid}") else 0


def firing(history: History) -> set[str]:
    return {alert.name for alert in history.firing_alerts("t")}


def test_a_silenced_alert_is_told_when_its_silence_ends(rig: Rig, receiver: Receiver) -> None:
    now = time.time()
    with closing(rig.history()) as history:
        made = history.add_silence(Silence(now, now + 3600, "ana", "known", alert="Silenced"))
        rig.start_worker()
        first = rig.start_daemon()
        until(lambda: heard(receiver, "Told") == ["firing"])
        until(lambda: firing(history) == {"Silenced", "Told"})
        # A daemon killed before it noted what it sent sends it again: not what this test is about.
        until(lambda: history.status("t").undelivered == 0)
        kill(first)

        second = rig.start_daemon()
        until(lambda: cycles(history, second) >= 3)
        assert firing(history) == {"Silenced", "Told"}
        assert history.status("t").undelivered == 0
        assert heard(receiver, "Silenced") == []

        config = str(rig.folder / "autotuner.yaml")
        words = [sys.executable, "-m", "autotuner", "silence", "end", str(made), "-c", config]
        assert subprocess.run(words, check=True, capture_output=True, text=True).stdout == "ended\n"
        until(lambda: heard(receiver, "Silenced") == ["firing"])
        assert firing(history) == {"Silenced", "Told"}

        rig.start_load()
        until(lambda: heard(receiver, "Silenced") == ["firing", "resolved"])
        until(lambda: heard(receiver, "Told") == ["firing", "resolved"])
