"""Does the shipped anomaly rule find labelled failures, and how often does it cry wolf?

The benchmark's own scoring, on recorded series. The rule was chosen on one folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from autotuner.forecast.anomaly import DetectorRules
from experiments.studies import _common
from experiments.studies.nab.corpus import CHOSEN_ON, CONFIRMED_ON, Labelled, drawn, read
from experiments.studies.nab.detecting import (
    Forecasts,
    episodes,
    forecasts_of,
    outside_interval,
)
from experiments.studies.nab.figure import draw
from experiments.studies.nab.scoring import SeriesScore, normalised, probation, scored

SEED = 5
TARGET, MOST_FALSE_PER_DAY = 55.0, 0.4
SHIPPED = "both votes"
ALL = "all series"
MISSING = "the benchmark's series: ../shared/data/nab is not there, drawn ones stand in"
QUICK = ("iio_us-east-1_i-a2eb1cd9_NetworkIn", "rogue_agent_key_hold")
DAY_S = 86_400.0

Known: TypeAlias = Sequence[tuple[Labelled, Forecasts]]
Rule: TypeAlias = Callable[[Labelled, Forecasts], list[int]]
RULES: Mapping[str, Rule] = {
    SHIPPED: lambda series, forecasts: episodes(series, forecasts, DetectorRules()),
    "value's vote alone": lambda series, _: episodes(series, (), DetectorRules()),
    "outside Prophet's 99% interval": outside_interval,
}


@dataclass(frozen=True)
class Outcome:
    """One rule on one series."""

    rule: str
    series: Labelled
    score: SeriesScore

    @property
    def days(self) -> float:
        """The time that is scored."""
        times = self.series.times
        return float(times[-1] - times[probation(len(times))]) / DAY_S

    def row(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "folder": self.series.folder,
            "series": self.series.name,
            "points": len(self.series.times),
            "days": self.days,
            "windows": self.score.windows,
            "hits": self.score.hits,
            "false_episodes": self.score.false_alerts,
            "false_per_day": self.score.false_alerts / self.days,
            "raw_score": self.score.raw,
        }


def run(quick: bool, out: Path) -> dict[str, Any]:
    """Fits, scores, writes results.json and figure.png into `out`, returns the results."""
    found = read()
    corpus = [s for s in found if not quick or s.name in QUICK] or drawn(SEED)
    known = [(series, forecasts_of(series)) for series in corpus]
    outcomes = [o for rule, alerts in RULES.items() for o in _outcomes(rule, alerts, known)]
    summaries = [*_summaries(outcomes)]
    around = [] if quick else [*_neighbours(known)]
    rows = [outcome.row() for outcome in outcomes]
    results = _common.results(
        "nab",
        packages=("numpy", "prophet", "cmdstanpy"),
        seeds=[SEED],
        rows=[*summaries, *around, *rows],
        checks=_checks(summaries, around),
        quick=quick,
        skipped=[] if found else [MISSING],
    )
    _common.write(out, results)
    draw(summaries, [r for r in rows if r["rule"] == SHIPPED], TARGET, out / "figure.png")
    return results


def _outcomes(rule: str, alerts: Rule, known: Known) -> list[Outcome]:
    return [
        Outcome(rule, s, scored(len(s.times), s.windows, alerts(s, forecasts)))
        for s, forecasts in known
    ]


def _summaries(outcomes: Sequence[Outcome]) -> Iterator[dict[str, Any]]:
    for rule in RULES:
        mine = [outcome for outcome in outcomes if outcome.rule == rule]
        folders = sorted({outcome.series.folder for outcome in mine})
        yield _summary(rule, ALL, mine)
        for folder in folders:
            yield _summary(rule, folder, [o for o in mine if o.series.folder == folder])


def _summary(rule: str, scope: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    days = sum(outcome.days for outcome in outcomes)
    false = sum(outcome.score.false_alerts for outcome in outcomes)
    return {
        "rule": rule,
        "scope": scope,
        "series": len(outcomes),
        "windows": sum(outcome.score.windows for outcome in outcomes),
        "hits": sum(outcome.score.hits for outcome in outcomes),
        "false_episodes": false,
        "false_per_series_and_day": false / days,
        "score": normalised(outcome.score for outcome in outcomes),
    }


def _neighbours(known: Known) -> Iterator[dict[str, Any]]:
    """The shipped rule with one number changed at a time, on the folder it was chosen on."""
    chosen = [pair for pair in known if pair[0].folder == CHOSEN_ON]
    for name, rules in _changed(DetectorRules()) if chosen else ():
        yield _summary(name, CHOSEN_ON, _outcomes(name, _with(rules), chosen))


def _with(rules: DetectorRules) -> Rule:
    return lambda series, forecasts: episodes(series, forecasts, rules)


def _changed(rules: DetectorRules) -> Iterator[tuple[str, DetectorRules]]:
    novelty = rules.novelty
    for limit in (5.0, 7.0):
        sudden = replace(novelty.sudden, limit=limit)
        yield f"sudden limit {limit:g}", replace(rules, novelty=replace(novelty, sudden=sudden))
    for limit in (3.0, 5.0):
        lasting = replace(novelty.lasting, limit=limit)
        yield f"lasting limit {limit:g}", replace(rules, novelty=replace(novelty, lasting=lasting))
    for habit in (0.1, 0.3):
        yield f"habit {habit:g}", replace(rules, novelty=replace(novelty, habit=habit))
    for half_life in (144.0, 576.0):
        changed = replace(novelty, habit_half_life=half_life)
        yield f"habit half-life {half_life:g}", replace(rules, novelty=changed)
    for calm in (36, 144):
        yield f"calm points {calm}", replace(rules, calm_points=calm)


def _checks(
    summaries: Sequence[dict[str, Any]], around: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    shipped = {s["scope"]: s for s in summaries if s["rule"] == SHIPPED}
    whole = shipped[ALL]
    checks = [_score_check(f"standard score, {whole['series']} series", whole["score"])]
    if CONFIRMED_ON in shipped:
        name = f"standard score, {CONFIRMED_ON} alone"
        checks.append(_score_check(name, shipped[CONFIRMED_ON]["score"]))
    if around:
        worst = min(row["score"] for row in around)
        checks.append(
            _score_check(f"worst of {len(around)} neighbouring rules, {CHOSEN_ON}", worst)
        )
    checks.append(
        _common.check(
            "false episodes, the folder with the most",
            max(s["false_per_series_and_day"] for scope, s in shipped.items() if scope != ALL),
            "episodes per series and day",
            MOST_FALSE_PER_DAY,
            "at_most",
        )
    )
    return checks


def _score_check(name: str, value: float) -> dict[str, Any]:
    return _common.check(name, value, "points", TARGET, "at_least")
