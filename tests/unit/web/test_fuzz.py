"""Requests made up from the API's description: no fault of ours, no change by a stranger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from autotuner.history.store import History
from autotuner.web.guard import Guard
from autotuner.web.pace import Pace
from autotuner.web.tokens import Role, new_token
from tests.unit.web.house import ACT, app_of, tokens_in

CHECKS = [
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
    content_type_conformance,
]
BASE = "http://localhost"
FEW = settings(
    max_examples=8,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def operations(history: History, guard: Guard) -> list[Any]:
    app = app_of(history, guard)
    schema = schemathesis.openapi.from_asgi(
        "/api/v1/openapi.json", app, headers={"Host": "localhost"}
    )
    return [one.ok() for one in schema.get_all_operations() if isinstance(one, Ok)]


def everything(history: History) -> str:
    """As text, since figures that are NaN equal nothing."""
    found = history.controls(limit=200), history.silences(), history.open_experiments("chat")
    return repr(found)


def unhurried() -> Guard:
    """Loopback's guard, with a pace that a fuzzer keeps."""
    return Guard(acting=Pace(10**9, 1.0), failing=Pace(10**9, 1.0))


def test_made_up_requests_find_no_fault(recent: History) -> None:
    found = operations(recent, unhurried())
    assert len(found) == 21
    for operation in found:

        @seed(7)
        @FEW
        @given(case=operation.as_strategy())
        def holds(case: Any) -> None:
            known = {"name": "chat", "experiment_id": "t4"}
            for name in known.keys() & set(case.path_parameters):
                if len(str(case.path_parameters[name])) % 2:  # else hardly one would be known
                    case.path_parameters[name] = known[name]
            case.call_and_validate(base_url=BASE, headers=ACT, checks=CHECKS)

        holds()


@pytest.mark.parametrize("who", ["nobody", "stranger", "viewer", "foreign page"])
def test_made_up_requests_change_nothing_without_the_right(
    recent: History, tmp_path: Path, who: str
) -> None:
    guard, tokens = tokens_in(tmp_path)
    guard.failing = guard.acting = Pace(10**9, 1.0)
    if who == "foreign page":
        guard = unhurried()
    headers = {
        "nobody": ACT,
        "stranger": {"Authorization": f"Bearer {new_token('x', Role.OPERATOR)[0]}"},
        "viewer": {"Authorization": f"Bearer {tokens['vic']}"},
        "foreign page": {"Origin": "http://evil.example", **ACT},
    }[who]
    before = everything(recent)
    for operation in operations(recent, guard):
        if operation.method.upper() == "GET":
            continue

        @seed(7)
        @FEW
        @given(case=operation.as_strategy())
        def holds(case: Any) -> None:
            answer = case.call(base_url=BASE, headers=headers)
            assert answer.status_code in (401, 403, 404, 405, 413, 422), answer.status_code

        holds()
    assert everything(recent) == before
