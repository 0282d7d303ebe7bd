"""The engine's own process: the loop between the pipe to the front and the engine.

torch is imported only once the process runs, so that the front that starts it stays light.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from autotuner.worker.allocator import keep_freed_memory
from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.messages import (
    AbortRequest,
    AddRequest,
    ApplySettings,
    EngineFailed,
    FromEngine,
    ScoreRequest,
    SettingsApplied,
    Shutdown,
    ToEngine,
)

if TYPE_CHECKING:
    from autotuner.worker.engine import Engine

__all__ = ["EngineOptions", "run_engine"]


def run_engine(conn: Connection, options: EngineOptions) -> None:
    """Loads, sends EngineReady, and serves until Shutdown or until the front's end closes.

    Whatever ends it otherwise (a model that doesn't load, out of memory, a lost rank) is told as
    EngineFailed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the front decides when the engine ends
    keep_freed_memory()
    engine: Engine | None = None
    try:
        engine = _load(conn, options)
        _serve(conn, engine)
    except (EOFError, ConnectionError):
        return
    except Exception as error:  # noqa: BLE001 (the last place that can tell the front why)
        _tell_failure(conn, f"{type(error).__name__}: {error}")
    finally:
        if engine is not None:
            engine.close()


def _load(conn: Connection, options: EngineOptions) -> Engine:
    from autotuner.worker.engine import Engine
    from autotuner.worker.parallel.replica import place_leader, start_group

    def on_lost(reason: str) -> None:
        """The engine's own thread waits, for a request or for a rank that is gone."""
        _tell_failure(conn, reason)
        os._exit(1)

    started = time.monotonic()
    group = start_group(options, on_lost)
    try:
        engine = Engine(place_leader(options), group)
    except BaseException:
        if group is not None:
            group.close()
        raise
    _send(conn, engine.ready(load_s=time.monotonic() - started))
    return engine


def _serve(conn: Connection, engine: Engine) -> None:
    while True:
        for message in _messages(conn, engine.wait_s()):
            if isinstance(message, Shutdown):
                return
            _handle(conn, engine, message)
        if engine.wait_s() == 0.0:
            _send(conn, engine.step())
            for scored in engine.scored():
                _send(conn, scored)


def _messages(conn: Connection, wait_s: float | None) -> Iterator[ToEngine]:
    """All that has come, after at most `wait_s` (None: as long as it takes) for the first.

    Raises EOFError once the front is gone, however it went.
    """
    while conn.poll(wait_s):
        yield conn.recv()
        wait_s = 0.0


def _handle(conn: Connection, engine: Engine, message: ToEngine) -> None:
    match message:
        case AddRequest():
            engine.add(message)
        case AbortRequest(request_id):
            engine.abort(request_id)
        case ApplySettings(settings, generation):
            engine.apply(settings, generation)
            _send(conn, SettingsApplied(settings, generation, time.time()))
        case ScoreRequest():
            if (refused := engine.score(message)) is not None:
                _send(conn, refused)
        case _:
            raise TypeError(f"message {message!r}: not one for the engine")


def _send(conn: Connection, message: FromEngine) -> None:
    conn.send(message)


def _tell_failure(conn: Connection, reason: str) -> None:
    try:
        _send(conn, EngineFailed(reason))
    except OSError:
        return  # the front is gone as well
