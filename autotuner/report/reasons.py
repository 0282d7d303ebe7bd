"""Why a candidate was tried, for people: what was seen, expected and learnt, beside what came."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from autotuner.domain.experiment import Experiment
from autotuner.domain.explanation import Explanation, NearTrial
from autotuner.domain.goals import SAVED_BY, predicted_saving
from autotuner.domain.measures import Measure, measure
from autotuner.report.numbers import count_text, gain_text, length_text, rounded

SAVINGS = frozenset(SAVED_BY)
_NAMES = {
    "rate_rps": "requests a second",
    "forecast_rate_rps": "peak of the forecast, requests a second",
    "planned_rate_rps": "requests a second that it was chosen for",
    "prompt_tokens_mean": "prompt tokens on average",
    "prompt_tokens_tail": "prompt tokens of the longest",
    "output_tokens_mean": "output tokens on average",
    "ttft_s": "time to first token",
    "ttft_short_s": "time to first token of short prompts",
    "ttft_long_s": "time to first token of long prompts",
    "tpot_s": "time per output token",
    "gap_max_s": "largest gap between tokens",
    "e2el_s": "whole request",
    "full_step_s": "a full step of the engine",
    "decoding": "requests that decode at a time",
    "kv_load": "memory that requests ask for",
    "busy": "share of the time at work",
    "energy_j_per_token": "joules per output token",
    "devices": "devices in use",
    "past_trials": "past experiments",
    "goal_attainment": "the goal's attainment",
    "horizon_s": "time until the forecast has another load",
    "rebuild_s": "time that a restart takes",
}
_SHARES = ("attainment", "busy", "kv_load")
_METHODS = {
    "policy": "the trained agent and its model of the target",
    "correction": "the model of the target, corrected by past experiments",
    "exploration": "trying what is least known",
    "tpe": "a tree-structured sampler (TPE)",
    "gp": "a Gaussian process over past experiments",
}


@dataclass(frozen=True)
class Comparison:
    """A figure that the model predicts for the settings in force and for the candidate."""

    name: str
    incumbent: str
    candidate: str


@dataclass(frozen=True)
class Reasons:
    """Each field is one paragraph of plain text; empty where nothing is known."""

    seen: str
    expected: str
    figures: tuple[Comparison, ...]
    nearest: str
    chosen: str
    model: str

    @property
    def paragraphs(self) -> tuple[tuple[str, str], ...]:
        """Title and text of each that says something, in order; the figures as one sentence."""
        figures = "; ".join(f"{f.name} {f.incumbent} → {f.candidate}" for f in self.figures)
        told = (
            ("What was seen", self.seen),
            ("What was expected", self.expected),
            ("Predicted, in force → candidate", f"{figures}." if figures else ""),
            ("What was learnt nearby", self.nearest),
            ("How it was chosen", self.chosen),
            ("How well the model is known", self.model),
        )
        return tuple((title, text) for title, text in told if text)


def reasons(experiment: Experiment, told: Explanation) -> Reasons:
    """The explanation in words, with what the test measured where it has."""
    return Reasons(
        seen=_seen(told.seen),
        expected=_expected(experiment, told),
        figures=tuple(_comparisons(told)),
        nearest=_nearest(told.nearest, experiment),
        chosen=_chosen(told),
        model=_sentence(told.model_note),
    )


def predicted(experiment: Experiment, told: Explanation) -> tuple[Measure, float, float, float]:
    """The measure that the prediction is of, its effect and interval (that measure's units).

    Of a saving only the ratio of the predicted figures is known, without an interval.
    """
    name = experiment.plan.outcome
    if name not in SAVINGS:
        return measure("attainment"), told.effect, told.low, told.high
    effect = predicted_saving(SAVED_BY[name], told.incumbent, told.candidate)
    if math.isnan(effect):
        plan = experiment.plan
        used = ({"devices": plan.control_devices}, {"devices": plan.treatment_devices})
        effect = predicted_saving(SAVED_BY[name], *used) or math.nan
    return measure(name), effect, math.nan, math.nan


def figure_name(name: str) -> str:
    """What a figure of an explanation is called; one without words of its own loses its unit."""
    if name in _NAMES:
        return _NAMES[name]
    return name.removesuffix("_s").removesuffix("_rps").replace("_", " ")


def figure_text(name: str, value: float) -> str:
    """A figure of an explanation with its unit, by the ending of its name."""
    if not math.isfinite(value):
        return "unknown" if math.isnan(value) else "without end"
    if name in _SHARES or name.endswith(("_share", "_attainment")):
        return f"{rounded(100 * value)}%"
    if name.endswith("_s"):
        return _time(value)
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _time(seconds: float) -> str:
    if abs(seconds) < 1:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.3g} s" if abs(seconds) < 100 else length_text(seconds)


def _seen(figures: Mapping[str, float]) -> str:
    """Without what nobody knew, and without a horizon that has no end."""
    known = {name: value for name, value in figures.items() if math.isfinite(value)}
    told = "; ".join(f"{figure_name(name)} {figure_text(name, v)}" for name, v in known.items())
    return _sentence(told)


def _expected(experiment: Experiment, told: Explanation) -> str:
    by, effect, low, high = predicted(experiment, told)
    if not math.isfinite(effect):
        return ""
    text = f"{by.words[:1].upper()}{by.words[1:]}: a gain of {gain_text(by, effect)}"
    if math.isfinite(low) and math.isfinite(high):
        text += f" (95% interval: {gain_text(by, low)} to {gain_text(by, high)})"
    return f"{text}. {_measured(experiment, by, low, high)}"


def _measured(experiment: Experiment, by: Measure, low: float, high: float) -> str:
    if not experiment.looks:
        return "The test has measured nothing to set against it."
    outcome, effect = measure(experiment.plan.outcome), experiment.looks[-1].effect
    far = "so far " if experiment.running else ""
    text = f"The test {far}measured {gain_text(outcome, effect)}"
    if outcome.name != by.name:
        return f"{text} in {outcome.words}, which is another figure."
    if math.isfinite(low) and math.isfinite(high):
        where = "within" if low <= effect <= high else "below" if effect < low else "above"
        return f"{text}, {where} what was expected."
    return f"{text}."


def _comparisons(told: Explanation) -> list[Comparison]:
    """Those that differ as they are told: the others explain nothing."""
    both = (
        Comparison(
            figure_name(name), figure_text(name, value), figure_text(name, told.candidate[name])
        )
        for name, value in told.incumbent.items()
        if name in told.candidate
    )
    return [figure for figure in both if figure.incumbent != figure.candidate]


def _nearest(trials: tuple[NearTrial, ...], experiment: Experiment) -> str:
    by = predicted(experiment, Explanation())[0]
    told = "; ".join(_trial(trial, by) for trial in trials)
    return f"{told}." if told else ""


def _trial(trial: NearTrial, by: Measure) -> str:
    changes = ", ".join(f"{name}={value}" for name, value in trial.changes.items())
    away = "the same settings" if trial.distance == 0 else f"{_levels(trial.distance)} away"
    bounds = ""
    if math.isfinite(trial.low) and math.isfinite(trial.high):
        bounds = f" (between {gain_text(by, trial.low)} and {gain_text(by, trial.high)})"
    effect = f"{gain_text(by, trial.effect)}{bounds}, " if math.isfinite(trial.effect) else ""
    where = f" in {trial.experiment}" if trial.experiment else ""
    return f"{changes or 'the same settings'}{where}, {away}: {effect}{trial.verdict}"


def _levels(count: int) -> str:
    return count_text(count, "level")


def _chosen(told: Explanation) -> str:
    if not told.method:
        return ""
    among = f", out of {told.considered} candidates that were compared" if told.considered else ""
    return f"By {_METHODS.get(told.method, told.method)}{among}."


def _sentence(text: str) -> str:
    said = text.strip()
    return f"{said[:1].upper()}{said[1:]}{'' if said.endswith('.') else '.'}" if said else ""
