"""A server's metrics page in canonical names: which family it is, and what its samples add up to.

Knows nothing of HTTP. A metric that the page does not have stays absent: absent is not 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from autotuner.domain.telemetry import Histogram, Snapshot
from autotuner.metrics.families import FAMILIES, PROXY, Family
from autotuner.metrics.samples import Page, Sample, histogram_of, merged, total

# Engines of one server add up, except where a sum means nothing: the fullest cache is the one
# that preempts, and a generation is a number of its own.
_COMBINE: Mapping[str, Callable[[Iterable[float]], float]] = {"kv_usage": max, "generation": max}


@dataclass(frozen=True)
class Recognised:
    """A page in canonical names. `family` is None when no known server's metrics are on it.

    `renamed`: what was found by an older name only, with that name. `missing`: what this family
    could tell and this page does not. `behind`: of a proxy's page, what the server behind it tells
    under its own names; None where it tells nothing now.
    """

    family: str | None
    counters: Mapping[str, float] = field(default_factory=dict)
    gauges: Mapping[str, float] = field(default_factory=dict)
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    behind: Recognised | None = None

    def at(self, when: float) -> Snapshot:
        """The snapshot taken at `when` (wall clock, s)."""
        return Snapshot(when, self.counters, self.gauges, self.histograms)


def recognise(page: Page) -> Recognised:
    """The page in canonical names, by the first family whose prefix has a metric that we know."""
    found = _first_of(FAMILIES, page)
    if found.family != PROXY.name:
        return replace(found, gauges={**found.gauges, **_process(page)}) if found.family else found
    # Two processes stand on this page, so that a start time on it may be either's.
    behind = _first_of([family for family in FAMILIES if family is not PROXY], page)
    gauges = {**found.gauges, **_memory_faults(page)}
    return replace(found, gauges=gauges, behind=behind if behind.family else None)


def _first_of(families: Iterable[Family], page: Page) -> Recognised:
    for family in families:
        found = Recognised(
            family.name,
            _with_rejections({**_outcomes(family, page), **_counters(family, page)}, family),
            {**_gauges(family, page), **_knobs(family, page)},
            _histograms(family, page),
            _renamed(family, page),
            _missing(family, page),
        )
        if found.counters or found.histograms or "running" in found.gauges:
            return found
    return Recognised(None)


_OF_MEMORY = ("run-memory", "start-memory", "start-kv", "killed")


def _memory_faults(page: Page) -> dict[str, float]:
    """How often the engine behind a proxy had too little memory, at its start or later."""
    samples = page.get("proxy:engine_faults_total")
    if samples is None:
        return {}
    return {"out_of_memory_total": total(s for s in samples if s.labels.get("fault") in _OF_MEMORY)}


def _first(family: Family, names: tuple[str, ...], page: Page, suffix: str = "") -> str | None:
    wire = (family.prefix + name for name in names)
    return next((name for name in wire if name + suffix in page), None)


def _renamed(family: Family, page: Page) -> dict[str, str]:
    found = {}
    for canonical, (newest, *older) in family.on_the_wire():
        seen = next((name for name in older if name in page), None)
        if seen is not None and newest not in page:
            found[canonical] = seen.removesuffix("_bucket")
    return found


def _missing(family: Family, page: Page) -> tuple[str, ...]:
    return tuple(
        canonical
        for canonical, names in family.on_the_wire()
        if canonical not in family.optional and not any(name in page for name in names)
    )


def _counters(family: Family, page: Page) -> dict[str, float]:
    found = {}
    for canonical, names in family.counters.items():
        name = _first(family, names, page)
        if name is not None:
            found[canonical] = total(one_per_replica(page[name]))
    return found


def _outcomes(family: Family, page: Page) -> dict[str, float]:
    """`requests` and one `requests_OUTCOME` per way in which requests ended."""
    if family.outcome_counter is None:
        return {}
    name, label = family.outcome_counter
    samples = page.get(family.prefix + name, ())
    found: dict[str, float] = {"requests": total(samples)} if samples else {}
    for sample in samples:
        key = f"requests_{sample.labels.get(label, 'unknown')}"
        found[key] = found.get(key, 0.0) + sample.value
    return found


def _with_rejections(counters: dict[str, float], family: Family) -> dict[str, float]:
    """`requests` with those turned away, also where the server counts them apart.

    Otherwise a server that turns everybody away would read as idle.
    """
    apart = counters.get("requests_rejected") if "requests_rejected" in family.counters else None
    if apart is None:
        return counters
    return {**counters, "requests": counters.get("requests", 0.0) + apart}


def _gauges(family: Family, page: Page) -> dict[str, float]:
    found = {}
    for canonical, names in family.gauges.items():
        name = _first(family, names, page)
        if name is not None:
            values = [sample.value for sample in one_per_replica(page[name])]
            found[canonical] = _COMBINE.get(canonical, sum)(values)
    return found


def _knobs(family: Family, page: Page) -> dict[str, float]:
    """The numeric settings in force, as `setting_KNOB`, where the server tells them."""
    samples = page.get(f"{family.prefix}setting", ())
    return {f"setting_{s.labels['knob']}": s.value for s in samples if "knob" in s.labels}


def _process(page: Page) -> dict[str, float]:
    started = page.get("process_start_time_seconds")
    return {"started_at": started[0].value} if started else {}


def _histograms(family: Family, page: Page) -> dict[str, Histogram]:
    found: dict[str, Histogram] = {}
    for canonical, names in family.histograms.items():
        name = _first(family, names, page, "_bucket")
        histogram = histogram_of(page, name) if name is not None else None
        if histogram is not None:
            found[canonical] = histogram
    return {**found, **_steps_by_kind(family, page)}


def _steps_by_kind(family: Family, page: Page) -> dict[str, Histogram]:
    """`step_decode_s`, `step_prefill_s` and `step_mixed_s`, where steps carry their kind."""
    name = f"{family.prefix}step_time_seconds"
    buckets, sums = page.get(f"{name}_bucket", ()), page.get(f"{name}_sum", ())
    found = {}
    for kind in sorted({s.labels["kind"] for s in buckets if "kind" in s.labels}):
        one = merged(
            name,
            (s for s in buckets if s.labels.get("kind") == kind),
            (s for s in sums if s.labels.get("kind") == kind),
        )
        if one is not None:
            found[f"step_{kind}_s"] = one
    return found


_RANKS = ("pp_rank", "tp_rank", "moe_ep_rank")


def one_per_replica(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    """The samples without those that tell the same requests again.

    The ranks of one replica (SGLang's `tp_rank`, `pp_rank`, `moe_ep_rank`) all see the same
    requests, so only the lowest speaks. Under priority scheduling SGLang gives the total with an
    empty `priority` beside one series per priority, so where that total is, it alone counts.
    """
    chosen: dict[tuple[tuple[str, str], ...], Sample] = {}
    listed = list(samples)
    totals = [s for s in listed if s.labels.get("priority") == ""]
    for sample in totals or listed:
        replica = tuple(sorted((k, v) for k, v in sample.labels.items() if k not in _RANKS))
        kept = chosen.get(replica)
        if kept is None or _rank(sample) < _rank(kept):
            chosen[replica] = sample
    return tuple(chosen.values())


def _rank(sample: Sample) -> tuple[int, ...]:
    return tuple(int(sample.labels.get(name) or 0) for name in _RANKS)
