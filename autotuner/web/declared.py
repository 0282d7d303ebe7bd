"""Tests that people declare over HTTP: checked as the command line does, kept as requests."""

from __future__ import annotations

import json
import re
import time

import structlog

from autotuner.config import ExperimentPlan, TargetConfig
from autotuner.declaring import Wish, checked, declare
from autotuner.domain.errors import ConfigError
from autotuner.history.records import Ask, Control
from autotuner.web.acting import told
from autotuner.web.cursors import cursor_of, number_before
from autotuner.web.guard import Asker
from autotuner.web.lines import request_view
from autotuner.web.problems import RequestError, UnknownNameError
from autotuner.web.sources import Sources
from autotuner.web.views import RequestPage, RequestView

log = structlog.get_logger()

# As our own errors begin: `FIELD=VALUE: FIX`, or `FIELD: FIX`.
_TOLD = re.compile(r"([A-Za-z_][\w.]*)(?:=(.*?))?: (.*)", re.DOTALL)


def ask_for(sources: Sources, plan: ExperimentPlan, asker: Asker) -> RequestView:
    """The request for the test, which waits until no other runs on its target.

    Raises UnknownNameError for a target that this daemon does not drive, RequestError for what the
    target's policy does not allow.
    """
    target = _target(sources, told(plan.target, "target"))
    for field, text in (("name", plan.name), ("note", plan.note)):
        told(text, field)
    try:
        wish = _whole(checked(plan, "", target))
        number = declare(sources.history, wish, asker.who, time.time())
    except ConfigError as problem:
        raise _to_mend(str(problem)) from problem
    log.info("action", what=Ask.EXPERIMENT.value, target=target.name, who=asker.who, id=number)
    made = sources.history.control(number)
    assert made is not None, "it was written just now"
    return request_view(made, None)


def requests(
    sources: Sources, *, target: str | None = None, cursor: str | None = None, limit: int = 20
) -> RequestPage:
    """Tests that people declared, by whatever way, and what became of each; newest first."""
    if target is not None:
        sources.expect(target)
    found = sources.history.declared(target, before=number_before(cursor), limit=limit + 1)
    more = cursor_of(found[limit - 1].id) if len(found) > limit else None
    return RequestPage(tuple(_line(sources, one) for one in found[:limit]), more)


def _line(sources: Sources, request: Control) -> RequestView:
    key = request.experiment_id
    test = None if key is None else sources.history.experiment(key)
    done = test.conclusion if test is not None else None
    return request_view(request, done.verdict.value if done is not None else None)


def _target(sources: Sources, name: str) -> TargetConfig:
    known = {one.name: one for one in sources.configured()}
    if name not in known:
        names = ", ".join(sorted(known)) or "none"
        raise UnknownNameError("target", name, f"this daemon does not drive it; it drives {names}")
    return known[name]


def _whole(wish: Wish) -> Wish:
    """What goes through the history is JSON, which has no infinite numbers."""
    try:
        json.dumps(wish.payload, allow_nan=False)
    except ValueError as problem:
        raise ConfigError("experiment: holds a number without end: give finite ones") from problem
    return wish


def _to_mend(text: str) -> RequestError:
    """The first thing to mend of a ConfigError, as field, value and fix."""
    head, _, lines = text.partition(":\n")
    first = (lines or text).splitlines()[0].strip()
    if first.startswith("(top)="):  # fields that don't fit together: the value is all of them
        return RequestError(head, "", first.rpartition("...: ")[2])
    found = _TOLD.match(first)
    if found is None:
        return RequestError("body", "", text)
    field, value, fix = found.groups()
    return RequestError(f"{head}.{field}" if lines else field, value or "", fix)
