"""The verdict in plain words: what was tried, what happened, how sure, what it cost."""

from __future__ import annotations

import math
from dataclasses import dataclass

from autotuner.abtest.standing import Standing
from autotuner.abtest.wording import percent
from autotuner.domain.experiment import Arm, Design, Experiment, Look, Verdict
from autotuner.domain.measures import Measure, measure
from autotuner.report.facts import (
    GuardrailFact,
    duration_s,
    exclusions,
    extra_suffering,
    guardrail_facts,
    harm_confidences,
    is_aa,
    mean_value,
    toll,
)
from autotuner.report.numbers import (
    change_text,
    count_text,
    gain_text,
    length_text,
    level_text,
    margin_text,
    share_text,
    value_text,
)

_HEADLINES = {
    Verdict.ACCEPTED: "The treatment is better",
    Verdict.REJECTED: "No gain worth having: the control stays",
    Verdict.HARMFUL: "The treatment is harmful: the control is back",
    Verdict.INCONCLUSIVE: "Not decided: the control stays",
    Verdict.ABORTED: "Stopped before a verdict: the control stays",
}
_DESIGNS = {
    Design.SWITCHBACK: "in turns on the whole target (switchback)",
    Design.SPLIT: "side by side on two lanes that swap arms (split)",
}


@dataclass(frozen=True)
class Words:
    """The top of a report; each field is one paragraph of plain text."""

    headline: str
    tried: str
    happened: str
    sure: str
    guarded: str
    cost: str
    reason: str  # as it was recorded; empty while the test runs

    @property
    def titled(self) -> tuple[tuple[str, str], ...]:
        """The paragraphs below the headline with their titles; without those that are empty."""
        titled = (
            ("What was tried", self.tried),
            ("What happened", self.happened),
            ("How sure", self.sure),
            ("Guardrails", self.guarded),
            ("What it cost", self.cost),
            ("The reason as recorded", self.reason),
        )
        return tuple((title, text) for title, text in titled if text)


def words(experiment: Experiment, ended_at: float | None) -> Words:
    """What a reader should know without a table. Plain text: whoever shows it escapes it."""
    ended = experiment.conclusion
    return Words(
        headline=_headline(experiment),
        tried=_tried(experiment),
        happened=_happened(experiment),
        sure=_sure(experiment),
        guarded=_guarded(experiment),
        cost=f"{_time(experiment, ended_at)} {_suffered(experiment)}",
        reason="" if ended is None else ended.reason,
    )


def changes_text(experiment: Experiment) -> str:
    """Such as `max_num_seqs 8 → 16`; of an A/A, that both arms are the same."""
    changed = experiment.treatment.changed_from(experiment.control)
    if not changed:
        return "the same settings under both arms (A/A)"
    control = experiment.control
    return ", ".join(f"{name} {control.get(name, '–')} → {new}" for name, new in changed.items())


def bounds_text(outcome: Measure, low: float, high: float, level: str) -> str:
    """Both one-sided bounds, each of which holds at every look."""
    floor, ceiling = outcome.span
    below = low > floor and math.isfinite(low)
    above = high < ceiling and math.isfinite(high)
    known = [
        text
        for text, is_known in (
            (f"at least {gain_text(outcome, low)}", below),
            (f"at most {gain_text(outcome, high)}", above),
        )
        if is_known
    ]
    if not known:
        return "How large the gain is, nobody can say yet: neither bound is known."
    each = "each of them" if len(known) == 2 else "this bound"
    return f"The gain is {' and '.join(known)}: {each} holds with {level}."


def _headline(experiment: Experiment) -> str:
    ended = experiment.conclusion
    if ended is None:
        return f"Still running: {count_text(len(experiment.pairs), 'pair')} counted"
    if not is_aa(experiment):
        return _HEADLINES[ended.verdict]
    if ended.verdict in (Verdict.ACCEPTED, Verdict.HARMFUL):
        return f"A/A test called {ended.verdict}, though both arms were the same"
    if ended.verdict is Verdict.ABORTED or not experiment.pairs:
        return "A/A test that says nothing"
    return "A/A test: no difference was claimed, as it should be"


def _tried(experiment: Experiment) -> str:
    plan = experiment.plan
    text = f"On {experiment.target}: {changes_text(experiment)}, {_DESIGNS[plan.design]}."
    if plan.confirms:
        text += f" It repeats {plan.confirms} before the candidate is kept."
    if experiment.proposer:
        text += f" Proposed by {experiment.proposer}"
        text += f": {experiment.rationale}" if experiment.rationale else "."
    return text


def _happened(experiment: Experiment) -> str:
    outcome, takes = measure(experiment.plan.outcome), experiment.plan.upkeep
    if not experiment.pairs:
        nothing = "No pair has been counted, so nothing is known of the effect."
        return f"{nothing} {_spoiled(experiment)}".rstrip()
    effect = _last(experiment).effect
    pairs = experiment.pairs
    control = mean_value(outcome, (p.control for p in pairs), takes(Arm.CONTROL))
    treatment = mean_value(outcome, (p.treatment for p in pairs), takes(Arm.TREATMENT))
    counted = count_text(len(pairs), "pair")
    adjusted = ", covariates taken out" if experiment.plan.covariates else ""
    text = (
        f"{_capital(outcome.words)} {change_text(outcome, effect)} under the treatment (mean of "
        f"{counted}{adjusted}): {value_text(outcome, control)} under the control, "
        f"{value_text(outcome, treatment)} under the treatment. {_spoiled(experiment)}"
    )
    return text.rstrip()


def _sure(experiment: Experiment) -> str:
    if _ended_by_limit(experiment):
        return "A hard limit ended the test at once, before the statistics were sure of harm."
    ended, level = experiment.conclusion, level_text(experiment.plan.alpha)
    claim, needed = _claim(experiment), f"{level} is needed to show it"
    if not experiment.pairs:
        return f"Confidence that {claim}: none; {needed}."
    look = _last(experiment)
    confidence = look.confidence if ended is None else ended.confidence
    bounds = bounds_text(measure(experiment.plan.outcome), look.low, look.high, level)
    return f"Confidence that {claim}: {percent(confidence)}; {needed}. {bounds}"


def _claim(experiment: Experiment) -> str:
    """What the confidence is the confidence of; HARMFUL may rest on a guardrail alone."""
    ended = experiment.conclusion
    if ended is None or ended.verdict is not Verdict.HARMFUL:
        return "it is better"
    if _shown_worse(experiment):
        return "it is worse"
    first = _broken(experiment)[0]
    least = margin_text(first.measure, first.guardrail.margin)
    return f"{first.measure.words} got worse by {least} or more"


def _ended_by_limit(experiment: Experiment) -> bool:
    """Whether harm was called without evidence of it: only a hard limit does that."""
    ended = experiment.conclusion
    harmful = ended is not None and ended.verdict is Verdict.HARMFUL
    return harmful and not _shown_worse(experiment) and not _broken(experiment)


def _shown_worse(experiment: Experiment) -> bool:
    harms = harm_confidences(experiment.looks)
    return bool(harms) and harms[-1] >= 1 - experiment.plan.alpha


def _broken(experiment: Experiment) -> list[GuardrailFact]:
    return [f for f in guardrail_facts(experiment) if f.standing is Standing.BROKEN]


def _guarded(experiment: Experiment) -> str:
    facts = guardrail_facts(experiment)
    if not facts:
        return "No guardrail was asked for; only the hard limits stood guard."
    parts = []
    for standing in Standing:
        names = [fact.measure.words for fact in facts if fact.standing is standing]
        if names:
            parts.append(f"{standing.value}: {', '.join(names)}")
    return f"Guardrails {'; '.join(parts)}."


def _time(experiment: Experiment, ended_at: float | None) -> str:
    length = length_text(duration_s(experiment, ended_at))
    slots = count_text(sum(s.generation > 0 for s in experiment.slots), "slot")
    budget = length_text(experiment.plan.budget_s)
    if experiment.running:
        return f"So far {length} and {slots}; the budget is {budget}."
    return f"It took {length} and {slots}; the budget was {budget}."


def _suffered(experiment: Experiment) -> str:
    control, treatment = toll(experiment, Arm.CONTROL), toll(experiment, Arm.TREATMENT)
    if not treatment.requests:
        return "No request under the treatment has been judged."
    text = (
        f"{treatment.suffered} of {count_text(treatment.requests, 'request')} under the treatment "
        f"suffered ({share_text(treatment.suffered, treatment.requests)}): they missed a target "
        f"of the SLO or failed ({treatment.failed} failed)."
    )
    if not control.requests:
        return text
    text += (
        f" Under the control it was {control.suffered} of {control.requests} "
        f"({share_text(control.suffered, control.requests)})"
    )
    extra = round(extra_suffering(experiment))
    if not extra:
        return f"{text}, about the same share."
    more = "more" if extra > 0 else "fewer"
    return f"{text}, about {count_text(abs(extra), 'request')} {more} than at that share."


def _spoiled(experiment: Experiment) -> str:
    found = exclusions(experiment)
    count = sum(len(one.slots) + len(one.mates) for one in found)
    if not count:
        return ""
    first = found[0].reason if len(found) == 1 else "the table of slots has the reasons"
    return f"{count_text(count, 'slot')} did not count: {first}."


def _last(experiment: Experiment) -> Look:
    return experiment.looks[-1]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
