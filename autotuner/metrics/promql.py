"""A Prometheus server's query API: PromQL in, series out. Knows nothing of what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import requests
from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from autotuner.domain.errors import TargetError, TargetUnavailableError


@dataclass(frozen=True)
class Series:
    """One series of an answer: its labels (`__name__` among them, if any) and its points.

    A point is (wall clock s, value); they come in order of time.
    """

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


class PromQL:
    """A session with a Prometheus server, or what speaks its API. For one thread at a time."""

    def __init__(self, url: str, token: str | None = None, timeout_s: float = 5.0) -> None:
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._session = requests.Session()
        # Reached directly, and no .netrc may replace the token.
        self._session.trust_env = False
        if token is not None:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def instant(self, query: str, at: float | None = None) -> tuple[Series, ...]:
        """The query's value at `at` (wall clock s; None: the server's now).

        One point per series; a scalar is a series without labels. A range selector (`m[1m]`) gives
        the raw points with the times of their scrapes. A series with no number (a native
        histogram, a string) is left out.

        Raises TargetUnavailableError when the server does not answer, TargetError when it refuses
        the query.
        """
        form = {"query": query} | ({} if at is None else {"time": repr(at)})
        return self._ask("query", form)

    def range(self, query: str, start: float, end: float, step_s: float) -> tuple[Series, ...]:
        """The query's value every `step_s` seconds from `start` to `end`; raises as `instant`."""
        form = {"query": query, "start": repr(start), "end": repr(end), "step": repr(step_s)}
        return self._ask("query_range", form)

    def close(self) -> None:
        self._session.close()

    def _ask(self, what: str, form: dict[str, str]) -> tuple[Series, ...]:
        url = f"{self.url}/api/v1/{what}"
        limit = {"timeout": f"{max(1, round(self._timeout_s * 1000))}ms"}
        try:
            response = self._session.post(
                url, data=form | limit, timeout=self._timeout_s, allow_redirects=False
            )
        except requests.RequestException as error:
            raise TargetUnavailableError(f"no answer from {url}: {error}") from error
        answer = _parsed(url, response)
        if answer.status == "error":
            raise TargetError(f"{url} refuses {form['query']!r}: {answer.error}")
        if response.status_code != requests.codes.ok or answer.data is None:
            raise TargetUnavailableError(f"{url} answered {response.status_code} without data")
        return _series(answer.data)


def _number(text: Any) -> Any:
    """Prometheus writes values as strings, NaN and +Inf among them."""
    return float(text) if isinstance(text, str) else text


Point = tuple[float, Annotated[float, BeforeValidator(_number)]]


class _Element(BaseModel):
    """A series of a vector (`value`) or of a matrix (`values`)."""

    metric: dict[str, str] = {}
    value: Point | None = None
    values: tuple[Point, ...] = ()


class _Vector(BaseModel):
    kind: Literal["vector", "matrix"] = Field(alias="resultType")
    result: tuple[_Element, ...]


class _Scalar(BaseModel):
    kind: Literal["scalar"] = Field(alias="resultType")
    result: Point


class _Text(BaseModel):
    kind: Literal["string"] = Field(alias="resultType")


Data = Annotated[_Vector | _Scalar | _Text, Field(discriminator="kind")]


class _Answer(BaseModel):
    status: Literal["success", "error"]
    error: str = ""
    data: Data | None = None


def _parsed(url: str, response: requests.Response) -> _Answer:
    try:
        return _Answer.model_validate_json(response.content)
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise TargetUnavailableError(
            f"{url} answered {response.status_code}, not as a Prometheus server does: "
            f"{where}: {first['msg']}"
        ) from problem


def _series(data: _Vector | _Scalar | _Text) -> tuple[Series, ...]:
    if isinstance(data, _Text):
        return ()
    if isinstance(data, _Scalar):
        return (Series({}, (data.result,)),)
    found = []
    for element in data.result:
        points = element.values if element.value is None else (element.value,)
        if points:
            found.append(Series(element.metric, points))
    return tuple(found)
