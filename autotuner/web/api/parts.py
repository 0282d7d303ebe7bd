"""The parameters and answers that routes of the API share."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query

from autotuner.web.failures import ErrorBody

PREFIX = "/api/v1"
_NAME = r"^[^\x00-\x1f\x7f]{1,200}$"
_LATEST = 32_503_680_000.0  # the year 3000: what lies beyond is no time in seconds

TargetName = Annotated[str, Path(pattern=_NAME, examples=["chat"])]
Name = Annotated[str, Path(pattern=_NAME)]
Target = Annotated[
    str | None, Query(pattern=_NAME, description="only of this target", examples=["chat"])
]
Cursor = Annotated[
    str | None, Query(max_length=400, description="`next` of the page before this one")
]
Limit = Annotated[int, Query(ge=1, le=200, description="rows on a page")]
Time = Annotated[
    float | None,
    Query(ge=0, le=_LATEST, allow_inf_nan=False, description="UTC epoch seconds"),
]


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The failures that a route may answer with, beside those that every one may."""
    words = {
        401: "no token, or one that is not known",
        403: "the token may not do this, or a foreign page may have sent it",
        404: "there is nothing of that name",
        409: "it can't be done as things stand",
        413: "the body is too large",
        422: "something is to be mended: field, value and fix",
        429: "too often: see Retry-After",
        503: "the history's database is away",
    }
    told = sorted({401, 422, 429, 503, *statuses})
    return {status: {"model": ErrorBody, "description": words[status]} for status in told}
