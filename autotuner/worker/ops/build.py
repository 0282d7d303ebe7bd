"""Compiles native/*.cpp at first use and keeps the library in the user's cache folder.

A library is found again by what it was made from: sources, compiler, flags and processor.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from autotuner.worker.cache_home import cache_home
from autotuner.worker.cpu_features import cpu_flags

SOURCES = Path(__file__).parent / "native"
LIBRARY_NAME = "native.so"
COMPILERS = ("c++", "g++", "clang++")
BUILD_LIMIT_S = 300.0  # it takes about 5 s on a free core
# Not -ffast-math: not-a-number must come out where it went in.
FLAGS = (
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-shared",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-Wno-psabi",
)

log = logging.getLogger(__name__)


class BuildError(RuntimeError):
    """Why there is no library."""


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled operations, built if need be; None (told once) where there are none."""
    return load(os.environ)


def load(environment: Mapping[str, str]) -> ctypes.CDLL | None:
    """`library`, afresh, with the environment's AUTOTUNER_NATIVE, CXX, PATH and XDG_CACHE_HOME."""
    if environment.get("AUTOTUNER_NATIVE") == "0":
        return None
    try:
        return _open(built_library(environment))
    except BuildError as error:
        log.warning(
            "compiled operations are off and plain torch, which is slower, does their work: %s. "
            "Fix: install a C++17 compiler (Debian: apt install g++), or name one in $CXX; "
            "AUTOTUNER_NATIVE=0 turns them off without this message",
            error,
        )
        return None


def built_library(environment: Mapping[str, str]) -> Path:
    """The library's file, compiled unless it is there; raises BuildError.

    Several processes may do so at once: each compiles under a name of its own and renames.
    """
    compiler = _compiler(environment)
    path = _cache_folder(environment) / _key(compiler) / LIBRARY_NAME
    if path.exists():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".build-", dir=path.parent) as folder:
            made = Path(folder) / LIBRARY_NAME
            _compile(compiler, made)
            made.replace(path)
    except OSError as error:
        raise BuildError(f"the folder {path.parent} can't be written: {error}") from error
    return path


def _compiler(environment: Mapping[str, str]) -> list[str]:
    """The compiler's command: $CXX, which may hold arguments, or the first that is installed."""
    if named := shlex.split(environment.get("CXX", "")):
        return named
    for name in COMPILERS:
        if found := shutil.which(name, path=environment.get("PATH")):
            return [found]
    raise BuildError(f"none of {', '.join(COMPILERS)} is installed")


def _cache_folder(environment: Mapping[str, str]) -> Path:
    try:
        return cache_home(environment) / "native"
    except RuntimeError as error:
        raise BuildError("there is no home folder; set XDG_CACHE_HOME") from error


def _key(compiler: list[str]) -> str:
    digest = hashlib.sha256()
    for part in (_run([*compiler, "--version"]), *compiler, *_flags(), _cpu_flags()):
        digest.update(part.encode() + b"\0")
    for path in sorted(SOURCES.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:20]


def _flags() -> tuple[str, ...]:
    is_x86 = platform.machine().lower() in {"x86_64", "amd64"}
    return (*FLAGS, "-march=native" if is_x86 else "-mcpu=native")


def _cpu_flags() -> str:
    """The processor's abilities as the kernel lists them: code for more of them would crash."""
    return " ".join(sorted(cpu_flags())) or platform.processor()


def _compile(compiler: list[str], to: Path) -> None:
    sources = sorted(str(path) for path in SOURCES.glob("*.cpp"))
    _run([*compiler, *_flags(), *sources, "-o", str(to)])


def _run(command: list[str]) -> str:
    """What a command prints; raises BuildError when it fails or takes too long."""
    try:
        done = subprocess.run(  # noqa: S603 - the user's own compiler, no shell
            command, capture_output=True, text=True, timeout=BUILD_LIMIT_S, check=False
        )
    except OSError as error:
        raise BuildError(f"{command[0]} does not start: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{command[0]} took more than {BUILD_LIMIT_S:.0f} s") from error
    if done.returncode != 0:
        raise BuildError(f"{command[0]} failed: {_first_error(done.stderr)}")
    return done.stdout


def _first_error(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line), lines[-1] if lines else "no message")


def _open(path: Path) -> ctypes.CDLL:
    try:
        opened = ctypes.CDLL(str(path))
    except OSError as error:
        raise BuildError(
            f"{path} does not load: {error}; delete it to have it built anew"
        ) from error
    opened.use_parallel.argtypes, opened.use_parallel.restype = (ctypes.c_void_p,), None
    opened.use_parallel(_start_of_torch_threads())
    return opened


def _start_of_torch_threads() -> int | None:
    """Address of the function that starts torch's own thread pool; None where there is none.

    Only a library that is loaded already will do: a second pool would fight for the cores.
    """
    import torch

    for path in sorted((Path(torch.__file__).parent / "lib").glob("lib*omp*.so*")):
        try:
            loaded = ctypes.CDLL(str(path), mode=os.RTLD_NOLOAD | os.RTLD_NOW)
            return ctypes.cast(loaded.GOMP_parallel, ctypes.c_void_p).value
        except (OSError, AttributeError):
            continue
    return None
