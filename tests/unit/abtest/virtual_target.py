"""A target on a virtual clock: requests come evenly, and how each fares is for others to say."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace

from autotuner.abtest.view import View
from autotuner.domain.knobs import Settings
from autotuner.domain.ports import LiveSettings
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Exposure, Outcome

CONTROL, TREATMENT = Settings({"max_num_seqs": 8}), Settings({"max_num_seqs": 16})
TARGETS = SLO(ttft_s=1.0)
_START = 1000.0


@dataclass(frozen=True)
class Reply:
    """How one request fares. Times in seconds from its arrival."""

    ttft_s: float | None = 0.2
    e2el_s: float = 0.8
    outcome: Outcome = Outcome.STOP


@dataclass(kw_only=True)
class VirtualTarget(ABC):
    """Its own boot and generation, and an exposure log. Times in virtual seconds."""

    rate_rps: float = 2.0
    now: float = _START
    boot: int = 1
    generation: int = 7
    applied_at: float = 900.0
    settings: Settings = CONTROL
    requests: int = 0
    unfinished: list[Exposure] = field(default_factory=list)
    finished: list[Exposure] = field(default_factory=list)

    @abstractmethod
    def reply(self, arrival: float) -> Reply:
        """To the newest request."""

    def live(self) -> LiveSettings:
        return LiveSettings(
            self.settings, self.generation, str(self.boot), self.applied_at, self.now
        )

    def apply(self, settings: Settings) -> LiveSettings:
        self.settings, self.generation, self.applied_at = settings, self.generation + 1, self.now
        return self.live()

    def tick(self, seconds: float) -> None:
        """Time goes on. A request that takes no number of seconds is over at once."""
        end = self.now + seconds
        while self.rate_rps and _START + (self.requests + 1) / self.rate_rps <= end:
            self.requests += 1
            self._admit(_START + self.requests / self.rate_rps)
        self.now = end
        over = [r for r in self.unfinished if not r.arrival + r.e2el_s > end]
        self.unfinished = [r for r in self.unfinished if r.arrival + r.e2el_s > end]
        self.finished += [replace(r, generation_end=self.generation) for r in over]

    def view(self, boot_of_slot: int = 1) -> View:
        in_flight: dict[int, int] = {}
        for request in self.unfinished:
            in_flight[request.generation_start] = in_flight.get(request.generation_start, 0) + 1
        changed = self.boot != boot_of_slot
        return View(self.live(), tuple(self.finished), in_flight, boot_changed=changed)

    def _admit(self, arrival: float) -> None:
        reply = self.reply(arrival)
        self.unfinished.append(
            Exposure(
                seq=self.requests, id=f"r{self.requests}", generation_start=self.generation,
                generation_end=self.generation, arrival=arrival, queue_s=0.0,
                ttft_s=reply.ttft_s, tpot_s=0.02, gap_max_s=0.03, e2el_s=reply.e2el_s,
                prompt_tokens=10, output_tokens=10, outcome=reply.outcome,
            )
        )  # fmt: skip
