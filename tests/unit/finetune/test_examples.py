"""Keys, the split that is the same for ever, and lines that come back as they were."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from autotuner.finetune.examples import Example, from_fields, held_out, to_line

WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
EXAMPLES = st.builds(Example, WORDS, WORDS, st.none() | st.floats(0, 1))


@given(EXAMPLES)
def test_a_line_comes_back_as_the_example_that_it_was(example: Example) -> None:
    line = to_line(example)
    assert from_fields(json.loads(line)) == example
    assert line.isascii()
    assert line.splitlines() == [line[:-1]]


def test_the_key_is_of_prompt_and_answer_and_not_of_the_score() -> None:
    assert Example("a", "b", 0.5).key == Example("a", "b").key
    assert Example("ab", "c").key != Example("a", "bc").key


def test_the_split_holds_out_the_share_and_does_not_hang_on_case_spaces_or_the_answer() -> None:
    prompts = [f"What is {n} times {n + 1}?" for n in range(4000)]
    apart = [held_out(Example(prompt, "x"), 0.05) for prompt in prompts]
    assert 140 <= sum(apart) <= 260  # 200, and four standard deviations
    again = [held_out(Example(f"  {prompt.upper()} ", "y"), 0.05) for prompt in prompts]
    assert apart == again


def test_the_split_of_given_prompts_stays_what_it_was_in_every_version() -> None:
    apart = [n for n in range(60) if held_out(Example(f"Count to {n}", ""), 0.1)]
    assert apart == [17, 23, 27, 39, 41, 42]
