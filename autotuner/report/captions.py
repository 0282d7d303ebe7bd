"""What stands under each figure, and what is told to those who can't see it."""

from __future__ import annotations

import math

from autotuner.abtest.wording import percent
from autotuner.domain.experiment import Experiment
from autotuner.domain.measures import measure
from autotuner.report.facts import guardrail_facts, power
from autotuner.report.numbers import count_text, gain_text, level_text, size_text

_CAPTIONS = {
    "slots": "Which arm ran when, and what each slot measured. Hatched: washout, not counted. "
    "Crossed and hollow: does not count, for the reason given.",
    "differences": "Each dot is one pair. The line is their mean so far; the band holds the "
    "effects that the data still allow, at every look.",
    "confidence": "The scale stretches what is close to 100%. The test may be looked at after "
    "each pair: to reach the dashed line once is enough.",
    "guardrails": "The dot is the effect, the line what the data still allow. Kept: worse by the "
    "margin is refuted. An arrow: that bound is not known, or outside the figure.",
    "power": "How many pairs 80% of such tests need, by the size of the true effect.",
}


def caption(panel: str, experiment: Experiment) -> str:
    """One or two sentences: how to read the panel."""
    text = _CAPTIONS[panel]
    return f"{text} {_budget(experiment)}" if panel == "power" else text


def alternative(panel: str, experiment: Experiment) -> str:
    """The panel in words: what it shows, in figures."""
    return _ALTERNATIVES[panel](experiment)


def _slots(test: Experiment) -> str:
    spoiled = sum(slot.excluded is not None for slot in test.slots)
    count = count_text(len(test.slots), "slot")
    return f"Slots over time: {count}, {spoiled} of them do not count. The table has each."


def _differences(test: Experiment) -> str:
    if not test.looks:
        return "Pair differences: none."
    look, one = test.looks[-1], measure(test.plan.outcome)
    return (
        f"{count_text(look.pairs, 'pair difference')} of {one.words}: mean "
        f"{gain_text(one, look.effect)}, at least {gain_text(one, look.low)}, at most "
        f"{gain_text(one, look.high)}. The table of pairs has each."
    )


def _confidence(test: Experiment) -> str:
    if not test.looks:
        return "Confidence: none yet."
    path = ", ".join(percent(look.confidence) for look in test.looks[-3:])
    return (
        f"Confidence over {count_text(len(test.looks), 'look')}; the last ones: {path}. "
        f"Needed: {level_text(test.plan.alpha)}."
    )


def _guardrails(test: Experiment) -> str:
    standing = (f"{f.measure.words} {f.standing.value}" for f in guardrail_facts(test))
    return f"Guardrails: {', '.join(standing) or 'none'}."


def _power(test: Experiment) -> str:
    return f"Pairs needed by the size of the effect. {_budget(test)}"


def _budget(test: Experiment) -> str:
    found, one = power(test), measure(test.plan.outcome)
    noise = f"{size_text(one, found.sd)} ({'seen' if found.seen else 'expected beforehand'})"
    budget = f"the budget of {count_text(found.budget_pairs, 'pair')}"
    if math.isnan(found.smallest_effect):
        return f"At a pair noise of {noise} {budget} suffices for no effect."
    smallest = gain_text(one, found.smallest_effect)
    return f"At a pair noise of {noise} {budget} suffices from {smallest} up."


_ALTERNATIVES = {
    "slots": _slots,
    "differences": _differences,
    "confidence": _confidence,
    "guardrails": _guardrails,
    "power": _power,
}
