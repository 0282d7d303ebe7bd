"""A target that lives in memory and keeps the worker's rules: what replays and tests talk to.

It serves nobody. Whoever drives it says what time it is and which requests ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile

from autotuner.domain.errors import (
    SettingsRefusedError,
    StaleGenerationError,
    TargetUnavailableError,
)
from autotuner.domain.knobs import Settings, Value
from autotuner.domain.ports import LiveSettings
from autotuner.domain.telemetry import Exposure, ExposureBatch, StepRecord
from autotuner.targets.capabilities import Capabilities


class MemoryTarget:
    """Implements `domain.ports.Target`. `clock` gives the target's time in seconds.

    `ring_size` bounds the exposure log as on the worker, so that overruns happen here too.
    """

    def __init__(
        self,
        settings: Mapping[str, Value],
        capabilities: Capabilities,
        clock: Callable[[], float],
        ring_size: int = 4096,
    ) -> None:
        self._capabilities = capabilities
        self._clock = clock
        self._ring: deque[Exposure] = deque(maxlen=ring_size)
        self._steps: deque[tuple[int, StepRecord]] = deque(maxlen=ring_size)
        self._boots = 0
        self._reachable = True
        self._live: LiveSettings
        self._in_flight: dict[int, int] = {}
        self._start(dict(settings))

    # ---- domain.ports.Target
    def read_settings(self) -> LiveSettings:
        self._require_reachable()
        return replace(self._live, now=self._clock())

    def capabilities(self) -> Capabilities:
        self._require_reachable()
        return self._capabilities

    def apply(self, settings: Settings, live: LiveSettings, reason: str) -> LiveSettings:  # noqa: ARG002 - the port's
        self._require_reachable()
        self._refuse_stale(live)
        self._refuse_unknown(settings)
        now = self._clock()
        self._live = replace(
            self._live,
            settings={**self._live.settings, **settings},
            generation=self._live.generation + 1,
            applied_at=now,
            now=now,
        )
        return self._live

    def exposures(self, after: int) -> ExposureBatch:
        self._require_reachable()
        # From the newest back: what was read before may be long.
        new = takewhile(lambda e: e.seq > after, reversed(self._ring))
        found = tuple(new)[::-1]
        oldest = self._ring[0].seq if self._ring else 1
        return ExposureBatch(
            self._live.boot_id,
            self._clock(),
            found[-1].seq if found else after,
            oldest > after + 1,
            dict(self._in_flight),
            found,
        )

    def steps(self, after: int) -> tuple[Sequence[StepRecord], int]:
        self._require_reachable()
        found = [(seq, step) for seq, step in self._steps if seq > after]
        return [step for _, step in found], found[-1][0] if found else after

    # ---- what the world does to it
    def finish(self, exposure: Exposure) -> Exposure:
        """A request ended: log it, with the log's next `seq`."""
        self._last_seq += 1
        logged = replace(exposure, seq=self._last_seq)
        self._ring.append(logged)
        return logged

    def set_in_flight(self, in_flight: Mapping[int, int]) -> None:
        """Unfinished requests by the generation in which they arrived."""
        self._in_flight = dict(in_flight)

    def add_step(self, step: StepRecord) -> None:
        self._last_step += 1
        self._steps.append((self._last_step, step))

    def restart(self, settings: Mapping[str, Value] | None = None) -> None:
        """A new process: a new boot id, generation 1, an empty log."""
        self._start(dict(settings or self._live.settings))

    def set_reachable(self, reachable: bool) -> None:
        """Whether calls are answered; an unanswered `apply` changes nothing here."""
        self._reachable = reachable

    # ---- inside
    def _start(self, settings: dict[str, Value]) -> None:
        self._boots += 1
        now = self._clock()
        self._live = LiveSettings(settings, 1, f"boot-{self._boots}", now, now)
        self._in_flight = {}
        self._last_seq = self._last_step = 0
        self._ring.clear()
        self._steps.clear()

    def _require_reachable(self) -> None:
        if not self._reachable:
            raise TargetUnavailableError("the target does not answer")

    def _refuse_stale(self, live: LiveSettings) -> None:
        runs = self._live
        if (live.boot_id, live.generation) != (runs.boot_id, runs.generation):
            raise StaleGenerationError(
                f"generation {live.generation} of {live.boot_id} was changed: "
                f"generation {runs.generation} of {runs.boot_id} runs"
            )

    def _refuse_unknown(self, settings: Settings) -> None:
        for name, value in settings.items():
            capability = self._capabilities.get(name)
            if capability is None:
                raise SettingsRefusedError(f"{name}={value!r}: unknown knob")
            if not capability.accepted.accepts(value):
                raise SettingsRefusedError(
                    f"{name}={value!r}: give {capability.accepted.describe()}"
                )
