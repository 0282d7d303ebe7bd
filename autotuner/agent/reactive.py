"""Additive increase, multiplicative decrease: what a congestion control would do with the knobs.

It knows no model: it looks at whether the SLO holds and at what requests wait for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from autotuner.agent.candidates import Openings, offered
from autotuner.domain.knob_names import common_name
from autotuner.domain.knobs import Knob, Settings
from autotuner.domain.ports import Proposal, ProposalContext

_SEQS, _BUDGET = "max_num_seqs", "max_num_batched_tokens"
_CUT = 0.5  # as in TCP (Chiu and Jain 1989 show that it converges); chosen


class AIMDProposer:
    """One step per experiment on the number of sequences or the token budget.

    Up by a level while the attainment is at the goal; down to half of the value or less while it
    is below. Where every cut was tried and did not win, work at once is not what is wrong, and it
    goes up. Nothing without an attainment and without latencies.
    """

    def propose(self, context: ProposalContext) -> Proposal | None:
        openings, holds = Openings.of(context), _holds(context)
        if openings is None or holds is None:
            return None
        named = {common_name(k.name): k for k in context.space if _numeric(k)}
        knobs = {name: named[name] for name in (_SEQS, _BUDGET) if name in named}
        steps = [*_raises(openings, knobs)] if holds else [*_cuts(openings, knobs)]
        if not holds:
            steps += _raises(openings, knobs)
        for name, settings, kind in steps:
            if settings is not None:
                words = "holds" if holds else "is missed"
                move = f"{name} {context.incumbent[name]} → {settings[name]}"
                reason = f"the SLO {words}: {kind}, {move}"
                return offered(context, settings, "aimd", reason, len(steps))
        return None


def _holds(context: ProposalContext) -> bool | None:
    """Whether the SLO holds as the goal asks; by mean latencies where attainment is unknown."""
    if math.isfinite(context.attainment):
        return context.attainment >= context.goal.attainment
    known = [late for late in map(_late(context).get, ("ttft_s", "tpot_s", "e2el_s")) if late]
    return None if not known else max(known) <= 1


def _late(context: ProposalContext) -> dict[str, float]:
    """Mean latencies of the window over their targets, where both are known."""
    window, slo = context.window, context.slo
    if window is None:
        return {}
    targets = {"ttft_s": slo.ttft_s, "tpot_s": slo.tpot_s, "e2el_s": slo.e2el_s}
    ratios = {name: window.mean(name) / t for name, t in targets.items() if t}
    return {name: ratio for name, ratio in ratios.items() if math.isfinite(ratio)}


def _numeric(knob: Knob) -> bool:
    return all(isinstance(level, int | float) for level in knob.levels)


_Step = tuple[str, Settings | None, str]


def _raises(openings: Openings, knobs: dict[str, Knob]) -> Iterator[_Step]:
    """A level up: first that of which requests wait for."""
    window = openings.context.window
    waits = window is not None and window.gauges.get("waiting", 0.0) > 0
    for name in (_SEQS, _BUDGET) if waits else (_BUDGET, _SEQS):
        if name in knobs:
            own = knobs[name].name
            yield own, openings.moved(**{own: 1}), "additive increase"


def _cuts(openings: Openings, knobs: dict[str, Knob]) -> Iterator[_Step]:
    """Half or less: first the budget where tokens are late, else the sequences."""
    tokens_late = _late(openings.context).get("tpot_s", 0.0) > 1
    for name in (_BUDGET, _SEQS) if tokens_late else (_SEQS, _BUDGET):
        if name in knobs:
            own, step = knobs[name].name, _cut(openings, knobs[name])
            yield own, openings.moved(**{own: step}), "multiplicative decrease"


def _cut(openings: Openings, knob: Knob) -> int:
    """How many levels (negative) lead to half of the value, one at least, within reach."""
    k = openings.context.space.names.index(knob.name)
    half = float(knob.levels[openings.start[k]]) * _CUT
    below = [i for i in openings.ranges[k] if float(knob.levels[i]) <= half]
    target = below[-1] if below else openings.ranges[k][0]
    return min(target - openings.start[k], -1)
