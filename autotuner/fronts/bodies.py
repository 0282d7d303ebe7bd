"""JSON bodies as pydantic models, and their errors in the words of OpenAI's servers."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from autotuner.fronts.errors import ApiError, invalid

BodyT = TypeVar("BodyT", bound=BaseModel)


def parse(kind: type[BodyT], raw: bytes) -> BodyT:
    """The body as `kind`; raises ApiError 400 naming the field, its value and what it takes."""
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        raise _first_error(error) from None


def _first_error(error: ValidationError) -> ApiError:
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return ApiError(400, f"body: not JSON: {first['msg']}", param="body", code="invalid_json")
    field = _path(first["loc"]) or "body"
    if first["type"] == "missing":
        return ApiError(400, f"{field}: missing: give it", param=field, code="missing_field")
    return invalid(field, first["input"], first["msg"].removeprefix("Value error, "))


def _path(location: tuple[int | str, ...]) -> str:
    """`messages[0].content` from ("messages", 0, "content")."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return "".join(steps).removeprefix(".")
