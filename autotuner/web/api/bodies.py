"""What the API takes and gives beyond the read models; outside data, checked once."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Body(BaseModel):
    """A field that is not known is refused: a misspelt one would change nothing."""

    model_config = ConfigDict(extra="forbid")


class NoteBody(Body):
    """Why; kept beside the wish."""

    note: str = Field("", max_length=500, examples=["maintenance of node 7"])


class SilenceBody(Body):
    """Which alerts are not told, for how long, and why. Without a match `everything` is needed."""

    lasting: str = Field(max_length=40, description="90s, 30m, 2h, 1h30m, 1d, 1w", examples=["2h"])
    comment: str = Field(max_length=500, examples=["we drain node 7"])
    target: str = Field("", max_length=200, examples=["chat"])
    alert: str = Field("", max_length=200, description="the rule's name", examples=["HighTTFT"])
    labels: dict[str, str] = Field({}, examples=[{"tier": "hardware"}])
    everything: bool = False


class Accepted(BaseModel):
    """What will happen, in a sentence; the daemon acts in its next cycle."""

    said: str = Field(examples=["pause asked for chat; the daemon acts in its next cycle"])
    who: str = Field(examples=["ana@10.0.0.7"])


class Me(BaseModel):
    """Who the daemon takes you for."""

    name: str = Field(examples=["ana"])
    role: str = Field(examples=["operator"])
    address: str = Field(examples=["10.0.0.7"])


class ExperimentReport(BaseModel):
    """One test whole; beside these the keys of `autotuner experiment report --json`.

    `looks`: after each pair the confidence that the treatment is better, and the effect with its
    interval, all valid at every look. `explanation`: why it was proposed, null where not told.
    """

    model_config = ConfigDict(extra="allow")

    id: str
    target: str
    phase: str
    running: bool
    started_at: float
    ended_at: float | None
    control: dict[str, Any]
    treatment: dict[str, Any]
    verdict: dict[str, Any] | None
    words: dict[str, Any]
    slots: list[dict[str, Any]]
    pairs: list[dict[str, Any]]
    looks: list[dict[str, Any]]
    guardrails: list[dict[str, Any]]
    explanation: dict[str, Any] | None
