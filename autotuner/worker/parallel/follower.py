"""The process of a rank that follows: it joins a group, does what it is told, and ends with it."""

from __future__ import annotations

import json
import os
import queue
import signal
import threading
from multiprocessing.connection import Connection
from typing import Any

END = b""


def run_follower(conn: Connection) -> None:
    """Takes its order and then a message a step from `conn`; ends on END, or when it closes.

    It tells `{"ready": ...}` once it can run and `{"failed": reason}` when it can't go on.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the leader decides when it ends
    inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(conn, inbox), daemon=True).start()
    try:
        _follow(conn, inbox)
    except Exception as error:  # noqa: BLE001 (the last place that can tell the leader why)
        _tell(conn, {"failed": f"{type(error).__name__}: {error}"})
        os._exit(1)  # the group is broken: leaving it in order would wait for the others


def _read(conn: Connection, inbox: queue.SimpleQueue[bytes]) -> None:
    """A thread reads, so that the leader's end is noticed while a collective waits for it."""
    message = None
    while message != END:
        try:
            message = conn.recv_bytes()
        except (EOFError, OSError):
            os._exit(1)
        inbox.put(message)


def _follow(conn: Connection, inbox: queue.SimpleQueue[bytes]) -> None:
    # torch is imported only now, so that a leader's early end does not wait for it.
    from autotuner.worker.allocator import keep_freed_memory
    from autotuner.worker.parallel.member import Member
    from autotuner.worker.parallel.order import Order
    from autotuner.worker.parallel.stores import join_store

    keep_freed_memory()
    order = Order.from_json(inbox.get())
    meeting = order.meeting
    member = Member(order.own_options(), order.rank, join_store(meeting), meeting.memory)
    _tell(conn, {"ready": {"weight_bytes": member.weight_bytes}})
    while (message := inbox.get()) != END:
        member.obey(message)
    member.leave(in_order=True)


def _tell(conn: Connection, message: dict[str, Any]) -> None:
    try:
        conn.send_bytes(json.dumps(message).encode())
    except OSError:
        os._exit(1)  # the leader is gone
