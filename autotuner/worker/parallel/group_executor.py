"""The leader's side of a group: it starts the followers, tells them each step, and ends them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from autotuner.worker.decoder import Batch
from autotuner.worker.engine_options import EngineOptions
from autotuner.worker.parallel.errors import GroupError
from autotuner.worker.parallel.follower import END
from autotuner.worker.parallel.grid import LEADER, Grid
from autotuner.worker.parallel.hosts import Follower, Hosts, Rendezvous
from autotuner.worker.parallel.member import Member
from autotuner.worker.parallel.order import Order, device_name
from autotuner.worker.parallel.packing import pack_batch, pack_blocks
from autotuner.worker.parallel.watch import Watch

END_GRACE_S = 3.0  # for followers to leave in order, before they are killed; chosen
FIND_OUT_S = 0.5  # to learn which rank is behind an error of this one; chosen


class GroupExecutor:
    """See `executor.Executor`. The leader is rank 0, with its own part of the model.

    When a follower is lost, a call raises GroupError; `on_lost` is called, in another thread, when
    none does so in time, because the leader waits for requests or in a collective. It must end the
    process.
    """

    def __init__(
        self, options: EngineOptions, hosts: Hosts, on_lost: Callable[[str], None]
    ) -> None:
        """Starts the followers; all load at the same time. Raises ModelError and GroupError."""
        self._followers: dict[int, Follower] = {}
        self._watch: Watch | None = None
        self._member: Member | None = None
        self._broken = False
        try:
            self._start(options, hosts, on_lost)
        except BaseException:
            self._broken = True
            self.close()
            raise

    @property
    def weight_bytes(self) -> int:
        return self._weight_bytes

    @property
    def ops_name(self) -> str:
        return self._leader().ops_name

    @property
    def batch_device(self) -> torch.device:
        """The host: a batch goes to the ranks as a message."""
        return torch.device("cpu")

    def forward(self, batch: Batch) -> Tensor:
        logits = self._tell(pack_batch(batch))
        assert logits is not None
        return logits

    def clear(self, blocks: list[int]) -> None:
        self._tell(pack_blocks(blocks))

    def close(self) -> None:
        """Leaves the group and ends the followers, at once if it is broken."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.stop()
        member, self._member = self._member, None
        followers, self._followers = self._followers, {}
        for follower in followers.values():
            _send_end(follower)
        if member is not None:
            member.leave(in_order=not self._broken)
        for follower in followers.values():
            follower.end(0.0 if self._broken else END_GRACE_S)

    def _start(self, options: EngineOptions, hosts: Hosts, on_lost: Callable[[str], None]) -> None:
        rendezvous = hosts.meet()
        try:
            self._gather(options, hosts, on_lost, rendezvous)
        finally:
            rendezvous.over()

    def _gather(
        self,
        options: EngineOptions,
        hosts: Hosts,
        on_lost: Callable[[str], None],
        rendezvous: Rendezvous,
    ) -> None:
        meeting = rendezvous.meeting
        for rank in range(LEADER + 1, Grid.of(options.settings).size):
            self._followers[rank] = hosts.start(options, rank)
        conns = {rank: follower.conn for rank, follower in self._followers.items()}
        self._watch = Watch(conns, on_lost)
        for rank, follower in self._followers.items():
            follower.conn.send_bytes(Order(rank, meeting, follower.seat, options).to_json())
        seat = hosts.seat_of_leader(options)
        device = device_name(options.device, seat.device_index)
        self._member = Member(
            replace(options, device=device), LEADER, rendezvous.store, meeting.memory
        )
        told = self._watch.wait_ready()
        self._weight_bytes: int = self._member.weight_bytes + sum(t["weight_bytes"] for t in told)

    def _tell(self, message: bytes) -> Tensor | None:
        """Has every rank do it, this one too."""
        try:
            for follower in self._followers.values():
                follower.conn.send_bytes(message)
            return self._leader().obey(message)
        except Exception as error:
            self._broken = True
            reason = self._why_lost()
            if reason is None and not isinstance(error, OSError):
                raise
            raise GroupError(reason or f"the way to a rank: {error}") from error

    def _why_lost(self) -> str | None:
        """What a follower is behind an error of this rank with, if one is."""
        if self._watch is None:
            return None
        reason = self._watch.reason(FIND_OUT_S)
        self._watch.stop()  # whoever called is told by the exception
        return reason

    def _leader(self) -> Member:
        assert self._member is not None, "the group is closed"
        return self._member


def _send_end(follower: Follower) -> None:
    try:
        follower.conn.send_bytes(END)
    except OSError:
        return  # it has ended already
