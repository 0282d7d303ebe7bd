"""How a setting becomes command-line words, and how it is read back from them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autotuner.proxy.ports import EngineKnob, Value

# A choice with this value leaves the flag out: the server's own default stands.
LEFT_OUT = "none"
_TRUE, _FALSE = {"true", "1", "yes", "on"}, {"false", "0", "no", "off"}


@dataclass(frozen=True)
class Flag:
    """One option of a server.

    `words` are its spellings, the one that is written first. `negation` switches a bool off; a bool
    without one is off when it is absent (store_true). `told_as` are other names under which the
    running server tells it.
    """

    knob: EngineKnob
    words: tuple[str, ...]
    negation: str = ""
    told_as: tuple[str, ...] = ()

    def written(self, value: Value) -> list[str]:
        """The words that set it to `value`."""
        if self.knob.kind == "bool":
            off = [self.negation] if self.negation else []
            return [self.words[0]] if value else off
        if self.knob.kind == "choice" and value == LEFT_OUT:
            return []
        return [self.words[0], f"{value}"]

    def read(self, text: object) -> Value | None:
        """The value that `text` means; None where it means none."""
        if text is None:
            return LEFT_OUT if LEFT_OUT in self.knob.values else None
        try:
            return self._read(text)
        except (TypeError, ValueError):
            return None

    def _read(self, text: object) -> Value | None:
        said = str(text).strip()
        if self.knob.kind == "bool":
            low = said.lower()
            return True if low in _TRUE else False if low in _FALSE else None
        if self.knob.kind == "int":
            return _whole(said)
        if self.knob.kind == "float":
            return float(said)
        if said == "None" and LEFT_OUT in self.knob.values:
            return LEFT_OUT
        known = {str(value): value for value in self.knob.values}
        return known.get(said, said)


def words_of(settings: Mapping[str, Value], flags: Mapping[str, Flag]) -> tuple[str, ...]:
    """The command-line words for these settings, in the order of their names."""
    return tuple(word for name in sorted(settings) for word in flags[name].written(settings[name]))


def read_words(argv: Sequence[str], flags: Mapping[str, Flag]) -> dict[str, Value]:
    """What a command line sets; the last occurrence counts, as it does for argparse.

    A bool that is off by its absence is told only if the line has a word of a server at all.
    """
    found: dict[str, Value] = {}
    by_word = _spellings(flags)
    for at, word in enumerate(argv):
        head, _, tail = word.partition("=")
        name = by_word.get(_plain(head))
        if name is None:
            continue
        flag = flags[name]
        value: Value | None
        if flag.knob.kind == "bool":
            value = _plain(head) != _plain(flag.negation)
        else:
            value = flag.read(tail or (argv[at + 1] if at + 1 < len(argv) else None))
        if value is not None:
            found[name] = value
    return found


def without(argv: Sequence[str], flags: Mapping[str, Flag]) -> list[str]:
    """The command line less every word that sets one of these flags."""
    by_word = _spellings(flags)
    kept, skip = [], False
    for word in argv:
        if skip:
            skip = False
            continue
        head, equals, _ = word.partition("=")
        name = by_word.get(_plain(head))
        if name is None:
            kept.append(word)
        else:
            skip = flags[name].knob.kind != "bool" and not equals
    return kept


def told(data: object, flags: Mapping[str, Flag]) -> dict[str, Value]:
    """What nested data that a server tells of itself (JSON, labels of a metric) says of flags."""
    flat: dict[str, object] = {}
    _flatten(data, flat)
    found: dict[str, Value] = {}
    for name, flag in flags.items():
        for key in (name, *flag.told_as):
            if key in flat and (value := flag.read(flat[key])) is not None:
                found[name] = value
                break
    return found


def _flatten(data: object, into: dict[str, object]) -> None:
    """Leaves by their last key; the outermost of a name wins."""
    if not isinstance(data, Mapping):
        return
    nested: list[object] = []
    for key, value in data.items():
        if isinstance(value, Mapping | list):
            nested += value if isinstance(value, list) else [value]
        else:
            into.setdefault(str(key), value)
    for value in nested:
        _flatten(value, into)


def _spellings(flags: Mapping[str, Flag]) -> dict[str, str]:
    return {
        _plain(word): name
        for name, flag in flags.items()
        for word in (*flag.words, flag.negation)
        if word
    }


def _plain(word: str) -> str:
    """Both servers take --max_num_seqs for --max-num-seqs."""
    return word.replace("_", "-") if word.startswith("--") else word


_SUFFIXES = {"k": 1e3, "m": 1e6, "g": 1e9, "K": 2**10, "M": 2**20, "G": 2**30}


def _whole(said: str) -> int:
    """An int; vLLM takes 16k for 16000 and 16K for 16384."""
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)([kmgKMG])", said):
        return int(float(match[1]) * _SUFFIXES[match[2]])
    return int(said)
