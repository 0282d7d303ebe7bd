"""A harmful change on the real worker: the load that shows it, and who suffered from it."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from autotuner.domain.experiment import Arm
from autotuner.domain.knobs import Settings
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Exposure
from autotuner.load.plan import PlannedRequest
from experiments.studies.ab_live.bench import Bench, Tested

BURST = tuple(PlannedRequest(0.0, tokens, 12) for tokens in range(200, 301, 10))
OVERLOAD = 1.28  # chosen: of what the treatment can bear; its queue grows all the time
TTFT_ROOM = 2.0  # chosen: the SLO over the time that the control needs for a request


@dataclass(frozen=True)
class Demand:
    """Engine seconds per long request in a batch, under either settings."""

    control_s: float
    treatment_s: float

    @property
    def rate_rps(self) -> float:
        """What loads the treatment to OVERLOAD."""
        return OVERLOAD / self.treatment_s

    @property
    def control_load(self) -> float:
        """The control's load at that rate; below 1 it keeps up."""
        return self.rate_rps * self.control_s

    @property
    def slo(self) -> SLO:
        return SLO(ttft_s=round(TTFT_ROOM * self.control_s, 2))


def measure(bench: Bench, control: Settings, treatment: Settings, rounds: int) -> Demand:
    """Bursts of long requests, each settings in turn; nothing else may run on the worker."""
    took_s: dict[Settings, list[float]] = {control: [], treatment: []}
    for number in range(rounds):
        for settings, seen in took_s.items():
            bench.apply(settings, "what a burst of long requests takes")
            results = bench.replay(BURST, seed=number)
            seen.append(max(result.e2el_s for result in results) / len(BURST))
    return Demand(statistics.median(took_s[control]), statistics.median(took_s[treatment]))


@dataclass(frozen=True)
class Harm:
    """What a harmful test cost. Requests are those that arrived from its first slot to its end.

    `under_treatment`: requests that lived, wholly or in part, while the treatment ran.
    `suffered`: those of them that missed the SLO. `all_missed` and `all_requests` count the
    control's slots too, where the treatment's queue was left behind.
    """

    treatment_slots: int
    under_treatment: int
    suffered: int
    all_requests: int
    all_missed: int
    first_slot_to_rollback_s: float
    first_miss_to_rollback_s: float
    treatment_ran_s: float

    @property
    def suffered_share(self) -> float:
        return self.suffered / self.under_treatment if self.under_treatment else math.nan


def of(tested: Tested, slo: SLO) -> Harm:
    """What the test cost, from its requests."""
    slots = [s for s in tested.experiment.slots if s.generation > 0]
    treated = [s for s in slots if s.arm is Arm.TREATMENT]
    generations, end = tested.generations(Arm.TREATMENT), tested.settled_at
    mine = [r for r in tested.requests if slots[0].started_at <= r.arrival <= end and slo.counts(r)]
    under = [r for r in mine if touched(r, generations)]
    missed = [r for r in under if not slo.met_by(r)]
    begins = {s.index: s.started_at for s in slots}
    ran_s = sum(begins.get(s.index + 1, end) - s.started_at for s in treated)
    return Harm(
        treatment_slots=len(treated),
        under_treatment=len(under),
        suffered=len(missed),
        all_requests=len(mine),
        all_missed=sum(not slo.met_by(r) for r in mine),
        first_slot_to_rollback_s=end - treated[0].started_at,
        first_miss_to_rollback_s=end - min((noticed_at(r, slo) for r in missed), default=math.nan),
        treatment_ran_s=ran_s,
    )


def touched(request: Exposure, generations: frozenset[int]) -> bool:
    """Whether the request lived, wholly or in part, under one of the generations."""
    return any(request.generation_start <= g <= request.generation_end for g in generations)


def noticed_at(request: Exposure, slo: SLO) -> float:
    """When a missed request's first token was overdue (worker's clock); its end without a TTFT."""
    return request.arrival + (request.e2el_s if slo.ttft_s is None else slo.ttft_s)
