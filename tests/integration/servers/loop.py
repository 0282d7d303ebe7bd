"""The real daemon over one target, its cycles driven by the test on the clock on the wall."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autotuner.bootstrap import build_daemon
from autotuner.config import parse_config, parse_policy
from autotuner.daemon import Daemon
from autotuner.domain.experiment import Experiment, Verdict
from autotuner.domain.knobs import Value
from autotuner.history.records import Ask
from autotuner.history.store import History, open_history
from autotuner.instruments import Instruments

CYCLE_S = 0.05


@dataclass
class Loop:
    """`urls`: the proxies; more than one are replicas of one target. The history outlives it."""

    urls: Sequence[str]
    folder: Path
    policy: dict[str, Any]
    history: History = field(init=False)
    daemon: Daemon = field(init=False)
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A new daemon on the same history; the old one is simply left, as kill -9 leaves it."""
        self.said.clear()
        url = f"sqlite:///{self.folder / 'history.sqlite3'}"
        self.history = open_history(url)
        where: dict[str, Any] = {"url": self.urls[0]}
        if len(self.urls) > 1:
            where = {"replicas": list(self.urls)}
        told = {"history": url, "targets": [{"name": "t", **where}], "cycle_s": CYCLE_S}
        config = parse_config(told)
        policy = parse_policy(self.policy)
        self.daemon = build_daemon(
            config, config.targets[0], policy, self.history, Instruments(), ()
        )

    def cycle(self) -> str:
        self.said.append(self.daemon.run_cycle(time.time()))
        return self.said[-1]

    def until(self, holds: Callable[[], bool], within_s: float = 90.0) -> None:
        """Cycles until it holds; fails with what the daemon said last."""
        end = time.monotonic() + within_s
        while not holds():
            assert time.monotonic() < end, "\n".join(dict.fromkeys(self.said[-200:]))
            self.cycle()
            time.sleep(CYCLE_S)

    def heard(self, words: str) -> bool:
        """Whether a cycle since the last `restart` said so."""
        return any(words in said for said in self.said)

    def declare(self, **changes: Value) -> None:
        """What `autotuner experiment start` writes down."""
        payload = {"changes": changes, "plan": {}}
        self.history.ask("t", Ask.EXPERIMENT, "ada", time.time(), payload=payload)

    def ended(self, count: int = 1, within_s: float = 90.0) -> Experiment:
        """The last test, once `count` are over."""

        def over() -> list[Experiment]:
            found = self.history.experiments(target="t", limit=count)
            return [one for told in found if (one := self.history.experiment(told.id))]

        self.until(
            lambda: len(over()) == count and not any(one.running for one in over()), within_s
        )
        return over()[0]


def verdict(test: Experiment) -> Verdict | None:
    """How a test ended; None while it runs."""
    return test.conclusion.verdict if test.conclusion else None
