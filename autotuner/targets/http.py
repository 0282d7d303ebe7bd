"""Admin requests over HTTP: one try each, and the foreign errors as ours.

Knows status codes and tokens; knows no body's fields beyond the error's.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

import requests
from pydantic import BaseModel, ValidationError

from autotuner.bounded import read_body
from autotuner.domain.errors import (
    SettingsRefusedError,
    StaleGenerationError,
    TargetError,
    TargetUnavailableError,
)

Body = TypeVar("Body", bound=BaseModel)


class AdminClient:
    """A session with a target's admin front. For one thread at a time."""

    def __init__(
        self, url: str, token: str | None, timeout_s: float, connect_s: float | None = None
    ) -> None:
        """`connect_s`: how long a connection may take to come about; as an answer, by default."""
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._connect_s = timeout_s if connect_s is None else connect_s
        self._session = requests.Session()
        # A target is reached directly, and no .netrc may replace the token.
        self._session.trust_env = False
        if token is not None:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, kind: type[Body], **query: int) -> Body:
        """The parsed answer. Raises TargetUnavailableError, or TargetError where refused."""
        return self._ask("GET", path, kind, params=query)

    def put(self, path: str, kind: type[Body], body: dict[str, Any]) -> Body:
        """The parsed answer; sent once, never again.

        Raises StaleGenerationError, SettingsRefusedError or TargetError when nothing was applied,
        and TargetUnavailableError when that is unknown.
        """
        return self._ask("PUT", path, kind, json=body)

    def post(self, path: str, kind: type[Body], body: dict[str, Any]) -> Body:
        """The parsed answer; sent once, never again. Raises as `get` does."""
        return self._ask("POST", path, kind, json=body)

    def close(self) -> None:
        self._session.close()

    def _ask(self, method: str, path: str, kind: type[Body], **extra: Any) -> Body:
        url = self._url + path
        try:
            response = self._session.request(
                method,
                url,
                timeout=(self._connect_s, self._timeout_s),
                allow_redirects=False,
                stream=True,
                **extra,
            )
            content = read_body(response, self._timeout_s)
        except requests.RequestException as error:
            raise TargetUnavailableError(f"{method} {url}: no answer: {error}") from error
        if response.status_code != requests.codes.ok:
            raise _refusal(method, url, response.status_code, content)
        return _parsed(method, url, content, kind)


def _parsed(method: str, url: str, content: bytes, kind: type[Body]) -> Body:
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise TargetUnavailableError(
            f"{method} {url}: the answer can't be used: {where}: {first['msg']}"
        ) from error


_REFUSALS: dict[int, type[TargetError]] = {409: StaleGenerationError}


def _refusal(method: str, url: str, status: int, content: bytes) -> TargetError:
    said = f"{method} {url}: {status}: {_message(content)}"
    if status >= requests.codes.server_error or status in (
        requests.codes.request_timeout,
        requests.codes.too_many_requests,
    ):
        return TargetUnavailableError(said)
    if status in (requests.codes.unauthorized, requests.codes.forbidden):
        return TargetError(
            f"{said}; put the worker's admin token into the target's admin_token_file"
        )
    if status == requests.codes.unprocessable_entity:
        fault = _fault(content)
        # What a server's log said is a reason of its own, whoever passed it on.
        return SettingsRefusedError(said if fault is None else _message(content), fault)
    return _REFUSALS.get(status, TargetError)(said)


def _fault(content: bytes) -> str | None:
    """Why the engine with the new settings failed, where one was tried."""
    try:
        error = json.loads(content)["error"]
        return str(error["fault"]) if error["type"] == "engine_failed" else None
    except (ValueError, KeyError, TypeError):
        return None


def _message(content: bytes) -> str:
    """What the error body says, with the field and value that it names; else its start."""
    try:
        error = json.loads(content)["error"]
        named = f"{error['field']}={error['value']!r}: " if error.get("field") else ""
        return f"{named}{error['message']}"
    except (ValueError, KeyError, TypeError):
        return content[:200].decode(errors="replace")
