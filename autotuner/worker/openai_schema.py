"""The bodies of OpenAI's two completion calls, as far as this worker answers them.

A field that would change the answer and is not supported is refused by name; fields that nobody
knows are ignored, as OpenAI's servers do.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from autotuner.fronts.errors import ApiError, invalid

MAX_STOPS = 16
DEFAULT_COMPLETION_TOKENS = 16  # OpenAI's

# The values of unsupported fields that ask for nothing.
NEUTRAL: dict[str, tuple[object, ...]] = {
    "n": (None, 1),
    "best_of": (None, 1),
    "echo": (None, False),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "prompt_logprobs": (None,),
    "suffix": (None, ""),
    "presence_penalty": (None, 0),
    "frequency_penalty": (None, 0),
    "repetition_penalty": (None, 1),
    "logit_bias": (None, {}),
    "tools": (None, []),
    "functions": (None, []),
    "response_format": (None, {"type": "text"}),
}


class StreamOptions(BaseModel):
    model_config = ConfigDict(strict=True)

    include_usage: bool = False


class _Body(BaseModel):
    """What both calls share. `top_k`, `min_tokens` and `ignore_eos` are vLLM's extras."""

    model_config = ConfigDict(strict=True)

    model: str | None = None
    temperature: float = Field(1.0, ge=0.0, le=2.0)
    top_p: float = Field(1.0, gt=0.0, le=1.0)
    top_k: int = Field(0, ge=-1)
    max_tokens: int | None = Field(None, ge=1)
    min_tokens: int = Field(0, ge=0)
    ignore_eos: bool = False
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: list[str] = Field(default_factory=list, max_length=MAX_STOPS)
    stream: bool = False
    stream_options: StreamOptions = Field(default_factory=StreamOptions)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unsupported(cls, raw: Any) -> Any:
        if not isinstance(raw, dict):
            raise invalid("body", raw, "give a JSON object")
        for name, neutral in NEUTRAL.items():
            if name in raw and not any(_same(raw[name], value) for value in neutral):
                raise invalid(
                    name, raw[name], f"not supported: leave it out or give {neutral[-1]!r}"
                )
        optional = cls.model_fields.keys() - {"prompt", "messages"}  # null there means "not given"
        return {k: v for k, v in raw.items() if v is not None or k not in optional}

    @field_validator("stop", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("stop")
    @classmethod
    def _not_empty(cls, value: list[str]) -> list[str]:
        if "" in value:
            raise ValueError("a stop string can't be empty: leave it out")
        return value

    @property
    def most_tokens(self) -> int | None:
        """The most tokens to answer with; None for as many as the context has room for."""
        raise NotImplementedError


class CompletionBody(_Body):
    """`POST /v1/completions`; `prompt` is text, or token ids."""

    prompt: str | list[int]

    @field_validator("prompt", mode="before")
    @classmethod
    def _one_prompt(cls, value: Any) -> Any:
        if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str | list):
            value = value[0]
        is_ids = isinstance(value, list) and all(type(item) is int for item in value)
        if not (isinstance(value, str) or is_ids):
            raise ValueError("give one text, a list of one text, or a list of token ids")
        return value

    @property
    def most_tokens(self) -> int:
        return self.max_tokens or DEFAULT_COMPLETION_TOKENS


class TextPart(BaseModel):
    model_config = ConfigDict(strict=True)

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One turn; its content is text, or parts of text."""

    model_config = ConfigDict(strict=True)

    role: str = Field(min_length=1)
    content: list[TextPart]

    @field_validator("content", mode="before")
    @classmethod
    def _parts(cls, value: Any) -> Any:
        return [{"type": "text", "text": value}] if isinstance(value, str) else value

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.content)


class ChatBody(_Body):
    """`POST /v1/chat/completions`."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)

    @property
    def most_tokens(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    @property
    def turns(self) -> list[dict[str, str]]:
        return [{"role": message.role, "content": message.text} for message in self.messages]

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        both = (self.max_tokens, self.max_completion_tokens)
        if None not in both and both[0] != both[1]:
            raise invalid(
                "max_completion_tokens", both[1], f"max_tokens={both[0]}: give one of them"
            )
        return self


def _same(value: object, neutral: object) -> bool:
    """Equal, and no mix of a number with a truth value: `logprobs: 0` asks for something."""
    return isinstance(value, bool) == isinstance(neutral, bool) and value == neutral


def check_model(asked: str | None, served: str) -> None:
    """Raises ApiError 404 when another model is asked for; none named means the one there is."""
    if asked is not None and asked != served:
        raise ApiError(
            404,
            f"model={asked!r}: not served here: give {served!r}",
            param="model",
            code="model_not_found",
        )
