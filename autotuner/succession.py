"""From leadership to what runs: a service's daemons and jobs are built for each term, and left.

Knows how a service is filled and emptied; leadership itself is `leading`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor as Threads
from dataclasses import dataclass
from typing import Any

import structlog

from autotuner.domain.errors import AutotunerError
from autotuner.instruments import Instruments
from autotuner.leading import Leadership
from autotuner.reloading import Builder, Reloader
from autotuner.service import Service

log = structlog.get_logger()

_AT_ONCE = 16  # chosen: targets whose daemons are built at the same time


@dataclass
class Succession:
    """Implements `service.Leads`. `builder` makes the parts for one term.

    `reloader` has the configuration that is in force, and hears of what was built from it.
    """

    leadership: Leadership
    builder: Callable[[int], Builder]
    reloader: Reloader
    instruments: Instruments
    term: int | None = None  # under which the service runs now

    def start(self, service: Service) -> None:
        """Takes the lead if nobody has it.

        Raises HistoryError where it can never be had, ConfigError or AgentError where what is to
        be led can't be built: a start is the time to hear of it.
        """
        self.leadership.start()
        if self.leadership.term is None:
            log.info("standby", leader=self.leadership.leader)
        else:
            self._lead(service, self.leadership.term)
        self._show()

    def tend(self, service: Service) -> None:
        """Follows the leadership: builds and begins after a takeover, leaves all after a loss."""
        term = self.leadership.term
        if term != self.term:
            if self.term is not None:
                self._leave(service)
            if term is not None:
                self._try_to_lead(service, term)
        self._show()

    def leads(self) -> bool:
        return self.term is not None

    def release(self) -> None:
        """Hands over, once what was led has ended."""
        self.leadership.release()
        self.term = None
        self._show()

    def told(self) -> Mapping[str, Any]:
        """What /health shows."""
        return self.leadership.told()

    def _try_to_lead(self, service: Service, term: int) -> None:
        try:
            self._lead(service, term)
        except AutotunerError as problem:
            log.error("leader.not_started", term=term, problem=str(problem))  # the next tick tries

    def _lead(self, service: Service, term: int) -> None:
        config, builder = self.reloader.config, self.builder(term)
        # Side by side: a target that does not answer must not hold up the start of the others.
        with Threads(_AT_ONCE) as threads:
            built = threads.map(lambda target: builder.of_target(config, target), config.targets)
            parts = {target.name: one for target, one in zip(config.targets, built, strict=True)}
        jobs = [job for one in parts.values() for job in one.jobs]
        common = builder.common_jobs(config)
        service.exchange([one.daemon for one in parts.values()], [*jobs, *common], config.cycle_s)
        self.reloader.parts, self.reloader.builder = parts, builder
        self.term = term
        log.info("leading", term=term, targets=list(parts))

    def _leave(self, service: Service) -> None:
        log.warning("standby", leader=self.leadership.leader, term=self.term)
        self.term, self.reloader.parts = None, {}
        service.leave()

    def _show(self) -> None:
        self.instruments.leader.set(float(self.leads() and self.leadership.confirmed()))
