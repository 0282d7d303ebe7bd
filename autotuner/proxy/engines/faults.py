"""Why a server ended: its exit and the last lines of its log make a Fault and a sentence. Pure.

Out of memory asks for opposite moves. Before the pools stand, what must fit is the weights and the
buffers of one step: START_MEMORY. No room left for the KV cache: START_KV, a larger share cures it.
Once the pools stand (graphs are captured, the sampler is warmed up, requests are served), the share
that they took leaves too little for the rest: RUN_MEMORY, a smaller share or smaller batches cure
it, even where the server was never ready.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from autotuner.proxy.engines.fault_lines import (
    CONSEQUENCE,
    EXCEPTION,
    FAULT_OF,
    GONE,
    POOLS_STAND,
    PREFIX,
    RULES,
    Cause,
)
from autotuner.proxy.engines.launchers.port import Exit
from autotuner.proxy.ports import Fault

_LONGEST = 300  # chosen: a line of a journal
_USAGE_STATUS = 2  # argparse and click
_KILLED_STATUS = 128 + signal.SIGKILL
_ONE_CHILD_FAILED = re.compile(r"sigquit.*means.* child failed|hit an exception", re.IGNORECASE)


@dataclass(frozen=True)
class Death:
    """What a server died of, with the line that says so."""

    fault: Fault
    message: str


def death(ended: Exit | None, lines: Sequence[str], *, was_ready: bool) -> Death:
    """The fault that an exit and the last log lines tell, oldest line first."""
    said = [PREFIX.sub("", line).rstrip() for line in lines]
    if found := _by_lines(said, was_ready=was_ready):
        return found
    if gone := _gone_without_a_word(said):
        return Death(Fault.KILLED, gone)
    return Death(_by_exit(ended, said), _last_word(ended, said))


def _by_lines(lines: Sequence[str], *, was_ready: bool) -> Death | None:
    for rule in RULES:
        # A server that served has been through the checks of its flags and its port.
        if was_ready and rule.cause in {Cause.REFUSED, Cause.PORT, Cause.KV}:
            continue
        for at, line in enumerate(lines):
            if rule.pattern.search(line):
                pools = was_ready or any(map(POOLS_STAND.search, lines[:at]))
                return Death(_fault(rule.cause, pools=pools), _told(lines, at))
    return None


def _gone_without_a_word(lines: Sequence[str]) -> str | None:
    """The line that tells of a lost process, where no exception explains it: most often the
    kernel took it for its memory.
    """
    gone = [line.strip() for line in lines if GONE.search(line)]
    explained = any(EXCEPTION.match(line) and not CONSEQUENCE.search(line) for line in lines)
    return gone[0][:_LONGEST] if gone and not explained else None


def _fault(cause: Cause, *, pools: bool) -> Fault:
    if cause is Cause.DEVICE_MEMORY:
        return Fault.RUN_MEMORY if pools else Fault.START_MEMORY
    return FAULT_OF[cause]


def _told(lines: Sequence[str], at: int) -> str:
    """The line; a validation error says only in the next lines what it is about."""
    words = lines[at].strip()
    if "validation error" in words:
        words = " ".join([words, *(line.strip() for line in lines[at + 1 : at + 3])])
    return words[:_LONGEST]


def _by_exit(ended: Exit | None, lines: Sequence[str]) -> Fault:
    if ended is None:
        return Fault.CRASHED
    if ended.out_of_memory:
        return Fault.KILLED
    if ended.signal == signal.SIGKILL or ended.status == _KILLED_STATUS:
        # SGLang ends itself by SIGKILL when a child of it failed.
        ends_itself = any(_ONE_CHILD_FAILED.search(line) for line in lines)
        return Fault.CRASHED if ends_itself else Fault.KILLED
    return Fault.REFUSED if ended.status == _USAGE_STATUS else Fault.CRASHED


def _last_word(ended: Exit | None, lines: Sequence[str]) -> str:
    """How it ended, and the last exception that is a cause, else the last line at all."""
    causes = [line for line in lines if line.strip() and not CONSEQUENCE.search(line)]
    exceptions = [line for line in causes if EXCEPTION.match(line)]
    word = (exceptions or causes or [""])[-1].strip()[:_LONGEST]
    return f"{_how(ended)}: {word}" if word else _how(ended)


def _how(ended: Exit | None) -> str:
    if ended is None:
        return "it ended"
    how = (
        f"ended by {signal.Signals(ended.signal).name}"
        if ended.signal in signal.valid_signals()
        else f"ended with status {ended.status}"
    )
    return f"{how} ({ended.said})" if ended.said else how
