"""The packaged model's conversion: whole or not there, and true to the file it came from."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from autotuner.worker.convert import convert_once, packaged_gguf, unpermute

pytestmark = [pytest.mark.model]

TEXTS = [
    "",
    "Hello world",
    "it's 12345 apples, 3.14159 & 2024-01-05!",
    "I've, we'll, they're, DON'T",
    "  leading spaces\n\n\tand tabs   \r\n",
    "def f(x):\n    return x**2  # a comment\n",
    "Ünïcödé naïve café 東京 🚀👩‍💻 Привет мир",
    "<|im_start|>user\nhi<|im_end|>\n<|endoftext|>",
    "x" * 200,
    "\u200b\ufeff zero width",
]
CHAT = [{"role": "user", "content": "What is 2+2?"}]


@pytest.fixture(scope="module")
def reference(smollm: Path) -> Any:
    gguf = packaged_gguf()
    return AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)


@pytest.mark.parametrize("text", TEXTS)
def test_the_tokenizer_is_the_files_own(smollm: Path, reference: Any, text: str) -> None:
    tokenizer = Tokenizer.from_file(str(smollm / "tokenizer.json"))
    ids = tokenizer.encode(text).ids
    assert ids == reference(text)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=False) == text


def test_every_kind_of_digit_stands_alone(smollm: Path) -> None:
    tokenizer = Tokenizer.from_file(str(smollm / "tokenizer.json"))
    assert tokenizer.encode("1234 56").tokens == ["1", "2", "3", "4", "Ġ", "5", "6"]
    assert tokenizer.decode(tokenizer.encode("x² ½ ٣").ids) == "x² ½ ٣"


def test_the_chat_template_is_the_files_own(smollm: Path, reference: Any) -> None:
    converted = AutoTokenizer.from_pretrained(smollm)
    texts: list[Any] = [
        t.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True)
        for t in (converted, reference)
    ]
    assert texts[0] == texts[1]
    assert texts[0].endswith("<|im_start|>user\nWhat is 2+2?<|im_end|>\n<|im_start|>assistant\n")


def test_unpermute_undoes_the_interleaving() -> None:
    heads, half = 2, 3
    rows = np.arange(heads * 2 * half, dtype=np.float32)[:, None]
    interleaved = rows.reshape(heads, 2, half, 1).swapaxes(1, 2).reshape(rows.shape)
    np.testing.assert_array_equal(unpermute(np.ascontiguousarray(interleaved), heads), rows)


def test_two_processes_at_once_leave_one_whole_folder(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "tiny"
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=convert_once, args=(packaged_gguf(), folder)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]
    names = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in folder.iterdir()} == names
    assert json.loads((folder / "config.json").read_text())["tie_word_embeddings"] is True


def test_a_conversion_that_fails_leaves_nothing(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF")
    with pytest.raises((ValueError, IndexError)):
        convert_once(broken, tmp_path / "models" / "broken")
    assert list((tmp_path / "models").iterdir()) == []
