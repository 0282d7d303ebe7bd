"""The delivery jobs that a configuration makes, over a real history; nothing answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotuner.config import parse_config
from autotuner.couriers import delivery_jobs
from autotuner.domain.errors import ConfigError
from autotuner.history.records import OutboxMessage
from autotuner.history.store import History
from autotuner.instruments import Instruments

NOWHERE = "http://127.0.0.1:1"  # nobody listens on this port
TARGETS = [{"name": "chat", "url": NOWHERE}]


def test_each_receiver_has_a_job_with_a_thread_of_its_own(history: History) -> None:
    config = parse_config(
        {
            "targets": TARGETS,
            "webhooks": [{"name": "pager", "url": NOWHERE}],
            "alertmanagers": [{"name": "am", "url": NOWHERE}],
        }
    )
    jobs = delivery_jobs(config, history, Instruments())
    assert [(job.name, job.apart) for job in jobs] == [
        ("deliver:pager", True),
        ("deliver:am", True),
        ("count-undelivered", False),
    ]


def test_what_waits_and_what_failed_is_counted(history: History) -> None:
    instruments = Instruments()
    config = parse_config(
        {"targets": TARGETS, "webhooks": [{"name": "pager", "url": NOWHERE, "timeout_s": 1}]}
    )
    for receiver in ("pager", "gone"):
        history.enqueue(OutboxMessage(receiver, "x", "firing", {"alerts": []}, 10.0), 10.0)
    for job in delivery_jobs(config, history, instruments):
        job.run(20.0)
    value = instruments.registry.get_sample_value
    assert value("autotuner_alerts_undelivered") == 2
    failed = {"receiver": "pager", "result": "failed"}
    assert value("autotuner_alert_deliveries_total", failed) == 1
    problems = {one.receiver: one.last_error for one in history.due(1e12)}
    assert problems["pager"] == "no answer (ConnectionError)"
    assert "receiver 'gone' is not configured" in str(problems["gone"])


def test_secrets_that_are_missing_are_named(history: History, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    for kind, receiver in (
        ("webhooks", {"url": NOWHERE, "secret_file": missing}),
        ("alertmanagers", {"url": NOWHERE, "token_file": missing}),
        ("alertmanagers", {"url": NOWHERE, "username": "ana", "password_file": missing}),
        ("chats", {"url_file": missing}),
    ):
        config = parse_config({"targets": TARGETS, kind: [{"name": "n", **receiver}]})
        with pytest.raises(ConfigError, match=rf"{kind}\.n\.\w+_file=.*can't be read"):
            delivery_jobs(config, history, Instruments())
