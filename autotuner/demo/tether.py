"""`python -m autotuner.demo.tether`: becomes a command that ends when its parent does.

A demo that is killed (`kill -9`, the out-of-memory killer) can't end its children, so the kernel
is asked to: it sends SIGTERM to a child whose parent is gone, and the request outlives exec. It is
made by the child itself, since code between fork and exec (`preexec_fn`) is not safe in a process
with threads. Knows nothing of autotuner; on systems other than Linux the tether is left out.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def tethered(command: Sequence[str], niceness: int = 0) -> list[str]:
    """The words that run `command` tethered to this process, as `niceness` steps nicer than it.

    The kernel watches the thread that starts them: start them from one that lives as long.
    """
    words = [sys.executable, "-m", "autotuner.demo.tether", str(os.getpid()), str(niceness)]
    return [*words, *command]


def main() -> None:
    parent, niceness, *command = sys.argv[1:]
    if sys.platform == "linux":
        # Where the kernel does not offer it, the command runs untethered.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != int(parent):  # it was gone before the kernel was told to watch it
            sys.exit(128 + signal.SIGTERM)
    os.nice(int(niceness))
    os.execvp(command[0], command)  # noqa: S606 - our own words, and no shell to read them


if __name__ == "__main__":
    main()
