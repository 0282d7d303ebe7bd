"""What one slot served, request by request; never which arm was better."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from autotuner.domain.experiment import Plan, Slot, SlotOutcome
from autotuner.domain.slo import SLO
from autotuner.domain.telemetry import Exposure


def slot_outcome(
    exposures: Iterable[Exposure], slot: Slot, ended_at: float, plan: Plan, slo: SLO
) -> SlotOutcome:
    """The outcome of `slot`, whose settings stopped to act at `ended_at` or later.

    Its requests are those it admitted in [counted_from, ended_at − cooldown_s]. One that ended
    under the same generation counts; one that ended under a later one counts, as missed, only if
    a deadline had passed before `ended_at`. A request that its client gave up counts, as missed,
    only if a deadline had passed when it left (`SLO.counts`): an arm so slow that clients leave
    must not lose its worst requests, and a client that left in time accuses nobody. It is no
    failure: the limit on errors does not see it. A request whose times are no numbers counts
    nowhere: a broken measurement is no miss.
    """
    start = slot.started_at if slot.counted_from is None else slot.counted_from
    end = ended_at - plan.cooldown_s
    admitted = [
        request
        for request in exposures
        if request.generation_start == slot.generation
        and start <= request.arrival <= end
        and _measured(request)
        and slo.counts(request)
    ]
    inside = [r for r in admitted if r.generation_end == slot.generation]
    across = [r for r in admitted if r.generation_end != slot.generation]
    missed = [r for r in across if slo.overdue(r, by=ended_at)]
    served = [r for r in inside if r.served]
    return SlotOutcome(
        requests=len(inside) + len(missed),
        good=sum(slo.met_by(r) for r in inside),
        failed=sum(r.failed for r in inside),
        straddlers=len(across) - len(missed),
        counted_s=max(0.0, end - start),
        ttft_p95_s=_p95([r.ttft_s for r in served]),
        gap_p95_s=_p95([r.gap_max_s for r in served]),
        e2el_mean_s=float(np.mean([r.e2el_s for r in served])) if served else math.nan,
        prompt_tokens=sum(r.prompt_tokens for r in (*inside, *missed)),
        output_tokens=sum(r.output_tokens for r in (*inside, *missed)),
    )


def difference(control: SlotOutcome, treatment: SlotOutcome, outcome: str) -> float:
    """A pair's difference, positive when the treatment was better; NaN where there is none.

    `attainment`: share points. `e2el`: log ratio of the mean whole-request times.
    """
    if outcome == "attainment":
        return treatment.attainment - control.attainment
    if outcome == "e2el":
        if not (control.e2el_mean_s > 0 and treatment.e2el_mean_s > 0):
            return math.nan
        return math.log(control.e2el_mean_s) - math.log(treatment.e2el_mean_s)
    raise ValueError(f"outcome={outcome!r}: give attainment or e2el")


def _measured(request: Exposure) -> bool:
    times = (request.ttft_s, request.tpot_s, request.gap_max_s, request.e2el_s)
    return all(time is None or math.isfinite(time) for time in times)


def _p95(values: Sequence[float | None]) -> float:
    kept = [value for value in values if value is not None]
    return float(np.percentile(kept, 95)) if kept else math.nan
