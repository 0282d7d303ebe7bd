"""A prompt between the stages: text, a conversation, or token ids; its cleaning."""

from __future__ import annotations

from dataclasses import dataclass

from autotuner.worker.openai_schema import ChatBody, CompletionBody
from autotuner.worker.pipeline.clean import NormalForm, clean


@dataclass(frozen=True)
class Conversation:
    """Turns of `role` and `content`, as a chat template reads them."""

    turns: tuple[dict[str, str], ...]


Prompt = str | list[int] | Conversation


def prompt_of(body: CompletionBody | ChatBody) -> Prompt:
    return body.prompt if isinstance(body, CompletionBody) else Conversation(tuple(body.turns))


def chars_of(prompt: Prompt) -> int:
    """Characters of its texts; none in token ids."""
    if isinstance(prompt, Conversation):
        return sum(len(turn["content"]) for turn in prompt.turns)
    return len(prompt) if isinstance(prompt, str) else 0


def cleaned(prompt: Prompt, form: NormalForm) -> Prompt:
    """Every text cleaned; token ids are what their sender made them."""
    if isinstance(prompt, str):
        return clean(prompt, form)
    if isinstance(prompt, Conversation):
        turns = ({**turn, "content": clean(turn["content"], form)} for turn in prompt.turns)
        return Conversation(tuple(turns))
    return prompt
