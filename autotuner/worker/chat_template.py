"""A model folder's chat template: a conversation in, the prompt's text out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, Self

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment


class ChatTemplateError(ValueError):
    """The model has no chat template, or its template refuses this conversation."""


class ChatTemplate:
    """Renders in a sandbox: a template is part of a download and gets no Python objects to call."""

    def __init__(self, source: str | None, special_tokens: Mapping[str, str]) -> None:
        self._special_tokens = dict(special_tokens)
        self._template = None if source is None else _environment().from_string(source)

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Reads tokenizer_config.json, and chat_template.jinja if the template has its own file."""
        config = _read_config(folder / "tokenizer_config.json")
        special = {
            name: text
            for name in ("bos_token", "eos_token", "pad_token", "unk_token")
            if (text := _token_text(config.get(name))) is not None
        }
        own_file = folder / "chat_template.jinja"
        if own_file.is_file():
            return cls(own_file.read_text(encoding="utf-8"), special)
        source = config.get("chat_template")
        return cls(source if isinstance(source, str) else None, special)

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The prompt, open for the assistant's turn; raises ChatTemplateError."""
        if self._template is None:
            raise ChatTemplateError("this model has no chat template: use /v1/completions")
        try:
            return self._template.render(
                messages=messages, add_generation_prompt=True, **self._special_tokens
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise ChatTemplateError(
                f"the chat template refuses the conversation: {error}"
            ) from error


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    environment.filters["tojson"] = _to_json  # Jinja's own escapes HTML, which models never saw
    return environment


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def _strftime_now(pattern: str) -> str:
    return datetime.now().astimezone().strftime(pattern)


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return config


def _token_text(token: Any) -> str | None:
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None
