"""Environment files as systemd reads them (systemd.exec(5)): read, and replaced in one step."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from autotuner.proxy.engines.launchers.port import LaunchError
from autotuner.whole_files import write_whole

_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")


def read_environment(path: Path) -> dict[str, str]:
    """The variables of a file with a NAME=VALUE a line; raises LaunchError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as problem:
        raise LaunchError(f"environment_file={path}: {problem.strerror}") from problem
    found = {}
    for line in lines:
        if (match := _ASSIGNMENT.fullmatch(line)) and not line.lstrip().startswith(("#", ";")):
            found[match[1]] = _unquoted(match[2].strip())
    return found


def write_environment(path: Path, variables: Mapping[str, str]) -> None:
    """Replaces the file in one step, so that a crash leaves the old one; raises LaunchError."""
    text = "# written by autotuner proxy; changes here are overwritten\n" + "".join(
        f"{name}={_quoted(value)}\n" for name, value in variables.items()
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text, 0o644)
    except OSError as problem:
        raise LaunchError(f"environment_file={path}: {problem.strerror}") from problem


def one_variable(words: Sequence[str]) -> str:
    """Words in one variable; systemd splits an unbraced $NAME at blanks and takes quotes off."""
    return shlex.join(words)


def words_in(variable: str) -> list[str]:
    """The words that `one_variable` put into one; as they are split where quotes do not match."""
    try:
        return shlex.split(variable)
    except ValueError:
        return variable.split()


def _quoted(value: str) -> str:
    return '"' + re.sub(r'(["\\$`])', r"\\\1", value) + '"'


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    if len(text) >= 2 and text[0] == text[-1] == "'":
        return text[1:-1]
    return text
