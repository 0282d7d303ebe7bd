"""A receiver is told past the outbox that the history is away, once it has been so for a while."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autotuner.alerts.delivery import DeliveryError
from autotuner.outcry import Outcry


@dataclass
class Hook:
    down: bool = False
    bodies: list[Mapping[str, Any]] = field(default_factory=list)

    def send(self, payload: Mapping[str, Any]) -> None:
        if self.down:
            raise DeliveryError("refused")
        self.bodies.append(payload)

    def told(self) -> list[tuple[str, str]]:
        return [(b["status"], b["commonLabels"]["target"]) for b in self.bodies]


def outcry(hook: Hook, repeat_s: float | None = None) -> Outcry:
    return Outcry("hook", hook, ["chat", "code"], repeat_s)


def test_a_short_absence_is_told_to_nobody() -> None:
    hook = Hook()
    crying = outcry(hook)
    assert [crying.away("gone", now) for now in (0.0, 5.0, 9.0)] == [None] * 3
    crying.back(10.0)
    assert hook.bodies == []


def test_a_longer_one_is_told_once_for_each_target_and_so_is_its_end() -> None:
    hook = Hook()
    crying = outcry(hook)
    for now in range(0, 60, 2):
        crying.away("the history can't be used: gone", float(now))
    firing = [("firing", "chat"), ("firing", "code")]
    assert hook.told() == firing
    assert hook.bodies[0]["commonLabels"]["alertname"] == "HistoryUnavailable"
    assert "gone" in hook.bodies[0]["commonAnnotations"]["summary"]
    for later in (60.0, 62.0):
        crying.back(later)
    assert hook.told() == [*firing, ("resolved", "chat"), ("resolved", "code")]


def test_an_alertmanager_is_told_again() -> None:
    hook = Hook()
    crying = outcry(hook, repeat_s=20.0)
    for now in range(0, 60, 2):
        crying.away("gone", float(now))
    assert len(hook.bodies) == 2 * 3  # at 10, 30 and 50 s


def test_a_receiver_that_is_down_is_told_later() -> None:
    hook = Hook(down=True)
    crying = outcry(hook)
    problems = [crying.away("gone", float(now)) for now in range(0, 24, 2)]
    assert [one for one in problems if one] == ["refused", "refused"]  # at 10 and 20 s
    hook.down = False
    crying.away("gone", 30.0)
    assert hook.told() == [("firing", "chat"), ("firing", "code")]
    hook.down = True
    assert [crying.back(now) for now in (40.0, 42.0)] == ["refused", None]
    hook.down = False
    crying.back(51.0)
    assert hook.told()[2:] == [("resolved", "chat"), ("resolved", "code")]


def test_an_end_that_nobody_was_told_the_beginning_of_is_not_told() -> None:
    hook = Hook(down=True)
    crying = outcry(hook)
    for now in (0.0, 12.0):
        crying.away("gone", now)
    hook.down = False
    crying.back(14.0)
    assert hook.bodies == []
