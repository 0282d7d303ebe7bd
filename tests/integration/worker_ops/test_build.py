"""How the library is compiled, kept and, where it can't be, done without."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest
import torch

from autotuner.worker.ops.build import built_library, library, load
from autotuner.worker.ops.choose import ops_for

# A compiler that writes down each start and copies its first source to where the library goes.
FAKE_COMPILER = """#!/bin/sh
echo "$*" >> "{log}"
[ "$1" = --version ] && echo "fake compiler {version}" && exit 0
sleep 0.2
while [ "$1" != -o ]; do shift; done
echo library > "$2"
"""


def fake_compiler(folder: Path, version: str = "1") -> dict[str, str]:
    """The environment that has it as compiler, and `folder` for all else."""
    script = folder / "fake-c++"
    script.write_text(FAKE_COMPILER.format(log=folder / "log", version=version))
    script.chmod(0o755)
    return {"CXX": str(script), "XDG_CACHE_HOME": str(folder), "PATH": os.environ["PATH"]}


def compilations(folder: Path) -> int:
    starts = (folder / "log").read_text().splitlines()
    return sum("--version" not in start for start in starts)


def test_a_built_library_is_used_again(tmp_path: Path) -> None:
    environment = fake_compiler(tmp_path)
    first = built_library(environment)
    assert built_library(environment) == first
    assert first.read_text() == "library\n"
    assert compilations(tmp_path) == 1


def test_another_compiler_builds_anew(tmp_path: Path) -> None:
    first = built_library(fake_compiler(tmp_path, "1"))
    assert built_library(fake_compiler(tmp_path, "2")) != first


def test_builders_that_race_leave_one_whole_library(tmp_path: Path) -> None:
    environment, made = fake_compiler(tmp_path), []
    builders = [
        threading.Thread(target=lambda: made.append(built_library(environment))) for _ in range(4)
    ]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert len(made) == 4
    assert len(set(made)) == 1
    assert [path.name for path in made[0].parent.iterdir()] == [made[0].name]


def one_warning(caplog: pytest.LogCaptureFixture, environment: dict[str, str]) -> str:
    with caplog.at_level(logging.WARNING):
        assert load(environment) is None
    (record,) = caplog.records
    return record.getMessage()


@pytest.mark.parametrize(
    ("compiler", "reason"),
    [
        ("/bin/false", "/bin/false failed"),
        ("no-such-compiler", "no-such-compiler does not start"),
    ],
)
def test_a_broken_compiler_is_told_with_its_fix(
    compiler: str, reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = one_warning(caplog, {"CXX": compiler, "XDG_CACHE_HOME": str(tmp_path)})
    assert reason in told
    assert "apt install g++" in told


def test_no_compiler_at_all_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told = one_warning(caplog, {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)})
    assert "none of c++, g++, clang++ is installed" in told


def test_a_library_that_does_not_load_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert "does not load" in one_warning(caplog, fake_compiler(tmp_path))


def test_a_cache_folder_that_cannot_be_written_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "autotuner").write_text("a file where the folder goes")
    assert "can't be written" in one_warning(caplog, fake_compiler(tmp_path))


def test_switched_off_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert load({"AUTOTUNER_NATIVE": "0"}) is None
    assert not caplog.records


def test_a_cpu_gets_the_compiled_operations() -> None:
    assert library() is library()
    assert ops_for(torch.device("cpu"), 1).name == ("native" if library() else "torch")
    assert ops_for(torch.device("meta"), 1).name == "torch"
