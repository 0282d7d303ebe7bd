"""From what a person asked for, as the history holds it, to a test that the brain understands."""

from __future__ import annotations

from autotuner.config import parse_plan
from autotuner.domain.declaration import Declaration
from autotuner.domain.knobs import KnobSpace, Value
from autotuner.history.records import Control
from autotuner.journal.options import JournalOptions


def declaration_of(control: Control, options: JournalOptions) -> Declaration:
    """The test that `control` asks for; raises ConfigError naming request, field, value and fix."""
    where, told = f"request {control.id}", control.payload or {}
    plan = parse_plan(
        {
            "target": control.target,
            "name": where,
            "changes": told.get("changes", {}),
            "experiment": told.get("plan", {}),
        },
        where,
    )
    merged = options.experiment.with_changes(plan.overrides(), where)
    return Declaration(
        id=control.id,
        who=control.who,
        changes=plan.changes,
        plan=merged.to_domain(options.replicas),
        note=control.note,
    )


def refusal_of(control: Control, problem: str) -> str:
    """The same words as the brain's, for a request that it never sees."""
    return f"the test that {control.who} asked for (request {control.id}) is refused: {problem}"


def values_of(control: Control, space: KnobSpace) -> dict[str, Value]:
    """The knobs that a rollback is to set, of those that the policy has; none: the incumbent's."""
    changes = (control.payload or {}).get("changes", {})
    return {name: value for name, value in changes.items() if name in space.names}
