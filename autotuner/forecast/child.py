"""Runs a command that must not outlive its time limit: own session, own temporary folder."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress


class ChildError(RuntimeError):
    """The command failed; the text is the last line it wrote to stderr."""


# One fit is one thread's work; a pool of BLAS threads would only take cores from the service.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def run_limited(command: Sequence[str], stdin: bytes, limit_s: float) -> bytes:
    """What `command` wrote to stdout, given `stdin`.

    At the limit the command and all that it started are killed, and TimeoutError is raised.
    ChildError when it exits with another code than 0; OSError when it can't be started. Nothing
    that it put into its temporary folder stays.
    """
    with (
        tempfile.TemporaryDirectory(prefix="autotuner-child-") as folder,
        started(command, folder, stderr=subprocess.PIPE) as process,
    ):
        return _output_of(process, stdin, limit_s)


def started(command: Sequence[str], folder: str, stderr: int) -> subprocess.Popen[bytes]:
    """The command in a session of its own, one thread, its temporary files in `folder`."""
    return subprocess.Popen(  # noqa: S603 - the caller's own command, no shell
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        start_new_session=True,
        env={**os.environ, **_ONE_THREAD, "TMPDIR": folder},
    )


def _output_of(process: subprocess.Popen[bytes], stdin: bytes, limit_s: float) -> bytes:
    try:
        out, err = process.communicate(stdin, timeout=limit_s)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"timed out after {limit_s:g} s") from None
    finally:
        kill_session(process)
    if process.returncode != 0:
        lines = err.decode(errors="replace").strip().splitlines()
        raise ChildError(lines[-1] if lines else f"exit code {process.returncode}")
    return out


def kill_session(process: subprocess.Popen[bytes]) -> None:
    """Ends the whole session of what `started` gave: Stan runs as a grandchild."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
