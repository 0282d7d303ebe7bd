"""What was seen: a snapshot is one scrape, a window is what happened between two of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from autotuner.domain.energy import Joules, Metering, total_j


class Outcome(StrEnum):
    """How a request ended."""

    STOP = "stop"
    LENGTH = "length"
    ABORT = "abort"
    ERROR = "error"
    REJECTED = "rejected"


@dataclass(frozen=True)
class Exposure:
    """One finished request as the target's exposure log tells it. Times in seconds.

    `arrival` is wall clock on the target; None where a figure does not exist.
    """

    seq: int
    id: str
    generation_start: int
    generation_end: int
    arrival: float
    queue_s: float | None
    ttft_s: float | None
    tpot_s: float | None
    gap_max_s: float | None
    e2el_s: float
    prompt_tokens: int
    output_tokens: int
    outcome: Outcome
    lane: int = 0  # which replica (or group) of the target served it

    @property
    def served(self) -> bool:
        return self.outcome in (Outcome.STOP, Outcome.LENGTH)

    @property
    def ended(self) -> float:
        """When it was over, on the clock of `arrival`."""
        return self.arrival + self.e2el_s

    @property
    def failed(self) -> bool:
        """The service's fault; a client that went away is nobody's."""
        return self.outcome in (Outcome.ERROR, Outcome.REJECTED)


@dataclass(frozen=True)
class ExposureBatch:
    """What the exposure log gave since a cursor."""

    boot_id: str
    now: float
    next: int
    overrun: bool
    in_flight: Mapping[int, int]  # unfinished requests by generation_start
    exposures: tuple[Exposure, ...]
    lanes_in_flight: tuple[Mapping[int, int], ...] = ()  # the same by lane, where there are two


@dataclass(frozen=True)
class GoldenBlock:
    """`items` of a target's golden answers, from the place `first` on; past the end it wraps."""

    first: int
    items: int


@dataclass(frozen=True)
class ProbeReading:
    """What the quality probe said of the settings of `generation` (target's clock)."""

    at: float
    generation: int
    lane: int
    agreement: float  # share of the golden answers' tokens, 0..1
    accuracy: float | None = None  # share of right answers where answers are given, 0..1


@dataclass(frozen=True)
class FeedbackScore:
    """A user's score (0..1) of one request; of two with one `request_id` the later counts."""

    at: float
    request_id: str
    score: float


@dataclass(frozen=True)
class Reading:
    """What the target's hardware told at one moment (target's clock), canonical names.

    Gauges are `temperature_c` (the hottest) and `out_of_memory_total`; `energy` is what the meters
    told. What the target's exporters do not tell is absent, never 0.
    """

    at: float
    gauges: Mapping[str, float] = field(default_factory=dict)
    energy: Metering = field(default_factory=dict)


@dataclass(frozen=True)
class StepRecord:
    """One engine step: its time and what it was made of."""

    at: float
    step_s: float
    decode_seqs: int
    prefill_tokens: int
    context_tokens: int
    prefill_pairs: int = 0  # of a prompt token and a token that it attends to


@dataclass(frozen=True)
class Histogram:
    """A Prometheus histogram: cumulative counts at upper bounds (the last is +Inf)."""

    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    total: float  # sum of the observed values

    @property
    def count(self) -> float:
        return self.counts[-1] if self.counts else 0.0

    def minus(self, earlier: Histogram) -> Histogram:
        """What was observed since `earlier`; a reset or changed buckets gives this side whole."""
        if self.bounds != earlier.bounds or self.count < earlier.count:
            return self
        counts = tuple(a - b for a, b in zip(self.counts, earlier.counts, strict=True))
        return Histogram(self.bounds, counts, self.total - earlier.total)


@dataclass(frozen=True)
class Quantile:
    """A quantile from buckets; `bucket_limited` when it lies in the open last bucket."""

    value: float
    bucket_limited: bool


@dataclass(frozen=True)
class Snapshot:
    """One scrape in canonical names, whatever server it came from.

    `counters` only rise (a fall is a restart), `gauges` are values now. A metric that the server
    does not have is absent, never 0. `energy`: what each source of energy told, None for one that
    did not.
    """

    at: float  # wall clock of the scrape, s
    counters: Mapping[str, float] = field(default_factory=dict)
    gauges: Mapping[str, float] = field(default_factory=dict)
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    energy: Metering = field(default_factory=dict)


@dataclass(frozen=True)
class Window:
    """What happened between two snapshots. Rates per second; NaN where nothing can be said.

    NaN with `requests` 0 is idle; NaN with requests is invalid (`valid` is False). `energy`: by
    source, all of the window's, idle or not.
    """

    start: float
    end: float
    requests: float  # finished in the window
    rates: Mapping[str, float] = field(default_factory=dict)
    gauges: Mapping[str, float] = field(default_factory=dict)
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    resets: tuple[str, ...] = ()
    energy: Mapping[str, Joules] = field(default_factory=dict)

    @property
    def length_s(self) -> float:
        return self.end - self.start

    def mean(self, histogram: str) -> float:
        """The mean of a histogram's observations in the window; NaN when there are none."""
        seen = self.histograms.get(histogram)
        return seen.total / seen.count if seen is not None and seen.count > 0 else math.nan

    @property
    def energy_j(self) -> float:
        """The energy of all sources; NaN where one is not known, or nothing measures it."""
        return total_j(self.energy)

    @property
    def output_tokens(self) -> float:
        """Tokens that were generated; NaN where the server does not tell them."""
        return self.rates.get("generation_tokens", math.nan) * self.length_s

    @property
    def idle(self) -> bool:
        return self.requests == 0

    @property
    def valid(self) -> bool:
        """Requests finished, so their latencies must be numbers."""
        return self.idle or all(
            math.isfinite(self.mean(name))
            for name in ("ttft_s", "e2el_s")
            if name in self.histograms
        )
