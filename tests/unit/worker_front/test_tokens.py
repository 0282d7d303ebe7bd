from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from autotuner.worker.answer import Answer
from autotuner.worker.messages import TokenOutput
from autotuner.worker.tokens import Detokenizer, StopScanner, TextTokenizer


class Bytes:
    """One token per byte."""

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(ids).decode("utf-8", errors="replace")


class Words:
    """The first word of a decoding has no space before it, as in SentencePiece."""

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(f"w{i}" for i in ids)


def pieces_of(text: str) -> list[str]:
    detokenizer = Detokenizer(Bytes())
    return [detokenizer.push(byte) for byte in text.encode()] + [detokenizer.flush()]


def test_a_character_comes_out_when_its_last_byte_is_there() -> None:
    assert pieces_of("é€😀") == ["", "é", "", "", "€", "", "", "", "😀", ""]


def test_words_keep_the_spaces_between_them() -> None:
    detokenizer = Detokenizer(Words())
    assert [detokenizer.push(i) for i in (7, 8, 9)] == ["w7", " w8", " w9"]


def test_bytes_that_never_make_a_character_come_out_replaced() -> None:
    detokenizer = Detokenizer(Bytes())
    shown = "".join(detokenizer.push(0x80) for _ in range(12))
    assert 12 - len(shown) < 5  # no more is held back than a character could still need
    assert shown + detokenizer.flush() == "\ufffd" * 12


def test_half_a_character_at_the_end_comes_out_replaced() -> None:
    detokenizer = Detokenizer(Bytes())
    assert [detokenizer.push(byte) for byte in "a€".encode()[:3]] == ["a", "", ""]
    assert detokenizer.flush() == "\ufffd"


@given(st.text(max_size=60))
def test_pieces_make_the_text_and_none_holds_half_a_character(text: str) -> None:
    pieces = pieces_of(text)
    assert "".join(pieces) == text
    assert "\ufffd" in text or not any("\ufffd" in piece for piece in pieces)


def test_a_byte_level_tokenizer_splits_characters_over_tokens() -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    tokenizer = TextTokenizer(inner)
    ids = tokenizer.encode("日本 😀!", add_special_tokens=False)
    detokenizer = Detokenizer(tokenizer)
    shown = [piece for i in ids if (piece := detokenizer.push(i))]
    assert (len(ids), shown) == (12, ["日", "本", " ", "😀", "!"])


def scan(stops: list[str], pieces: list[str]) -> tuple[list[str], bool]:
    scanner, shown = StopScanner(stops), []
    for piece in pieces:
        text, stopped = scanner.push(piece)
        shown.append(text)
        if stopped:
            return shown, True
    return [*shown, scanner.flush()], False


def test_a_stop_string_over_three_pieces_is_found_and_left_out() -> None:
    assert scan(["END"], ["abE", "N", "Dxyz", "more"]) == (["ab", "", ""], True)


def test_text_that_only_began_like_a_stop_string_is_given_out_late() -> None:
    assert scan(["END"], ["abE", "N", "X"]) == (["ab", "", "ENX", ""], False)


def test_what_is_held_back_at_the_end_is_given_out() -> None:
    assert scan(["END"], ["ab", "EN"]) == (["ab", "", "EN"], False)


def test_a_repeated_start_does_not_hide_a_stop_string() -> None:
    assert scan(["aab"], ["a", "a", "a", "b"]) == (["", "", "a", ""], True)


def test_the_first_of_several_stop_strings_counts() -> None:
    assert scan(["later", "now"], ["x now and later"]) == (["x "], True)


def test_without_stop_strings_nothing_is_held_back() -> None:
    assert scan([], ["a", "b"]) == (["a", "b", ""], False)


@given(
    st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=3),
    st.lists(st.text("abc", max_size=4), max_size=12),
)
def test_pieces_never_change_where_the_text_is_cut(stops: list[str], pieces: list[str]) -> None:
    text = "".join(pieces)
    cuts = [at for stop in stops if (at := text.find(stop)) >= 0]
    shown, stopped = scan(stops, pieces)
    assert stopped == bool(cuts)
    if not cuts:
        assert "".join(shown) == text
    else:
        assert not any(stop in "".join(shown) for stop in stops)
        assert text.startswith("".join(shown))


def output(token_id: int | None, **more: object) -> TokenOutput:
    return TokenOutput("r", token_id, **more)  # type: ignore[arg-type]


def test_an_answer_ends_at_a_stop_string_whatever_the_engine_says() -> None:
    answer = Answer(Bytes(), ["!"])
    assert answer.push(output(ord("a"))).outcome is None
    last = answer.push(output(ord("!"), finish="length"))
    assert (last.text, last.outcome) == ("", "stop")


def test_an_answer_cut_by_its_length_shows_what_was_held_back() -> None:
    answer = Answer(Bytes(), ["END"])
    answer.push(output(ord("E")))
    last = answer.push(output(ord("N"), finish="length"))
    assert (last.text, last.outcome) == ("EN", "length")


@pytest.mark.parametrize("finish", ["abort", "error"])
def test_an_engine_that_gives_up_is_an_error(finish: str) -> None:
    last = Answer(Bytes(), []).push(output(None, finish=finish, error="no memory"))
    assert last.outcome == "error"
    assert last.error is not None
    assert (last.error.status, last.error.message) == (500, "no memory")
