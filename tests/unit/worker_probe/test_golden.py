"""Golden files: what they may say, and what is told of a mistake."""

from __future__ import annotations

import json

import pytest

from autotuner.worker.probe.golden import (
    ANSWER_TOKENS,
    GoldenError,
    GoldenItem,
    built_in,
    parse_golden,
)


def _line(**fields: object) -> str:
    return json.dumps(fields)


def test_every_way_to_give_an_item() -> None:
    turns = [{"role": "user", "content": "Hi"}]
    text = "\n".join(
        [
            _line(prompt="Two and two are", answer=" four"),
            "",
            _line(prompt=[5, 6], answer=[7], expected="x"),
            _line(messages=turns, max_tokens=9, answer=None),
        ]
    )
    assert parse_golden(text, "g.jsonl") == (
        GoldenItem("Two and two are", " four", None, ANSWER_TOKENS),
        GoldenItem((5, 6), (7,), "x", ANSWER_TOKENS),
        GoldenItem(tuple(turns), None, None, 9),
    )


@pytest.mark.parametrize(
    ("line", "field", "fix"),
    [
        ("{", "not JSON", "give one JSON object a line"),
        ("[1]", "item=[1]", "give a JSON object"),
        (_line(answer="x"), "prompt=None", "give either `prompt` or `messages`"),
        (_line(prompt="a", messages=[]), "prompt='a'", "give either"),
        (_line(prompt=""), "prompt=''", "not empty"),
        (_line(prompt=[1, -1]), "prompt=[1, -1]", "list of token ids"),
        (_line(prompt=[True]), "prompt=[True]", "list of token ids"),
        (_line(prompt="a", answer=[]), "answer=[]", "not empty"),
        (_line(prompt="a", answer=3), "answer=3", "give a text or a list"),
        (_line(prompt="a", expected=" "), "expected=' '", "a right answer contains"),
        (_line(prompt="a", max_tokens=0), "max_tokens=0", "whole number from 1"),
        (_line(prompt="a", max_tokens=True), "max_tokens=True", "whole number from 1"),
        (_line(prompt="a", anwser="b"), "anwser='b'", "unknown field; known: answer"),
        (_line(messages=[{"role": "user"}]), "messages=[{'role'", '"content"'),
        (_line(messages="hi"), "messages='hi'", '"role"'),
    ],
)
def test_a_mistake_is_told_with_line_field_and_fix(line: str, field: str, fix: str) -> None:
    with pytest.raises(GoldenError) as caught:
        parse_golden(_line(prompt="fine") + "\n" + line, "g.jsonl")
    message = str(caught.value)
    assert message.startswith("g.jsonl, line 2: ")
    assert field in message
    assert fix in message


def test_a_file_without_items_is_refused() -> None:
    with pytest.raises(GoldenError, match="no items"):
        parse_golden("\n \n", "g.jsonl")


def test_long_values_are_shown_cut() -> None:
    with pytest.raises(GoldenError) as caught:
        parse_golden(_line(prompt="a", answer=[-1] * 1000), "g.jsonl")
    assert len(str(caught.value)) < 200


def test_built_in_prompts_are_conversations_where_there_is_a_template() -> None:
    plain, chat = built_in(chat=False), built_in(chat=True)
    assert len(plain) == len(chat) == 16
    assert chat[0].prompt == ({"role": "user", "content": plain[0].prompt},)
