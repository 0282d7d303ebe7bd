"""The training loop of one process: batch, loss, backward, update, pause; checkpoints between."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from autotuner.finetune.errors import TrainingError
from autotuner.finetune.training.batches import Batch, batches, steps_in_all
from autotuner.finetune.training.checkpoint import Checkpoints
from autotuner.finetune.training.cluster import Together
from autotuner.finetune.training.model import AnswerLoss, padded, trainable
from autotuner.finetune.training.pacing import Clocks, Pacer
from autotuner.finetune.training.plan import TrainingPlan
from autotuner.finetune.training.progress import Progress
from autotuner.finetune.training.tokens import TokenExample


@dataclass
class Record:
    """What a run tells of itself; it goes on over checkpoints. Times are seconds of all attempts,
    those lost between a checkpoint and a crash left out.
    """

    step: int = 0
    answer_tokens: int = 0
    losses: list[float] = field(default_factory=list)  # an update each
    gradient_update_s: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    resumed: int = 0


class Loop:
    """Trains `model` (see `load_trainable`) on `examples`; `together` are the processes."""

    def __init__(
        self,
        model: Any,
        examples: Sequence[TokenExample],
        plan: TrainingPlan,
        together: Together,
        checkpoints: Checkpoints,
        pacer: Pacer,
        clocks: Clocks,
    ) -> None:
        self._plan, self._examples = plan, examples
        self._together, self._rank, self._checkpoints = together, together.rank, checkpoints
        self._pacer, self._clocks = pacer, clocks
        self._device = "cuda" if plan.backend == "nccl" else "cpu"
        model.to(self._device).train()
        self._parameters = trainable(model)
        self._module = together.wrap(AnswerLoss(model))
        self._optimizer = torch.optim.AdamW(
            self._parameters.values(), lr=plan.learning_rate, weight_decay=plan.weight_decay
        )
        self._steps = steps_in_all(len(examples), plan)
        self.record = Record()

    def resume(self) -> int:
        """Goes on from the last checkpoint; the number of updates made. Raises TrainingError."""
        self._rehearse()
        if (state := self._checkpoints.load()) is not None:
            self._restore(state)
        return self.record.step

    def run(self, progress: Callable[[Progress], None]) -> Record:
        """Trains to the end, after one `resume`; raises TrainingError."""
        saved_at = self._clocks.wall()
        began, cpu_began = saved_at, self._clocks.cpu()
        for batch in batches(self._examples, self._plan, self._rank, self.record.step):
            told, all_agree_to_save = self._update(batch, saved_at)
            now, cpu_now = self._clocks.wall(), self._clocks.cpu()
            self.record.seconds += now - began
            self.record.cpu_seconds += cpu_now - cpu_began
            began, cpu_began = now, cpu_now
            progress(told)
            if all_agree_to_save and batch.step < self._steps:
                self._save()
                saved_at = self._clocks.wall()
        self._together.finish(self._parameters.values())
        return self.record

    def _update(self, batch: Batch, saved_at: float) -> tuple[Progress, bool]:
        """(what there is to tell, whether all processes write a checkpoint now)."""
        clocks, plan = self._clocks, self._plan
        # For models with dropout: no state of a generator has to outlive a crash.
        torch.manual_seed((plan.seed * self._steps + batch.step) * plan.processes + self._rank)
        began = clocks.wall()
        loss_sum, backward_s, paused_s = self._gradients(batch)
        averaged_at = clocks.wall()
        loss, save = self._agree(loss_sum, batch, averaged_at - saved_at >= plan.checkpoint_every_s)
        self._change_weights(batch.step)
        ended = clocks.wall()
        told = Progress(
            at=clocks.epoch(),
            step=batch.step,
            steps=self._steps,
            epoch=batch.epoch,
            loss=loss,
            answer_tokens=batch.answer_tokens,
            tokens=batch.tokens,
            step_s=ended - began - paused_s,
            gradient_update_s=backward_s + ended - averaged_at,
            paused_s=paused_s + self._pacer.pause(),
        )
        self._note(told)
        return told, save

    def _gradients(self, batch: Batch) -> tuple[float, float, float]:
        """(the sum of losses here, seconds of backward passes, seconds paused in between)."""
        loss_sum = backward_s = paused_s = 0.0
        for number, examples in enumerate(batch.mine):
            if number:
                paused_s += self._pacer.pause()
            last = number == len(batch.mine) - 1
            loss, seconds = self._backward(examples, batch.answer_tokens, average=last)
            loss_sum, backward_s = loss_sum + loss, backward_s + seconds
        return loss_sum, backward_s, paused_s

    def _change_weights(self, step: int) -> None:
        factor = learning_rate_factor(step, self._steps, self._plan.warmup_share)
        for group in self._optimizer.param_groups:
            group["lr"] = self._plan.learning_rate * factor
        parameters = self._parameters.values()
        nn.utils.clip_grad_norm_(parameters, self._plan.clip_norm)
        self._optimizer.step()
        self._together.after_update(parameters)
        self._optimizer.zero_grad()

    def _backward(
        self, examples: Sequence[TokenExample], batch_tokens: int, *, average: bool
    ) -> tuple[float, float]:
        """(the summed loss, seconds of the backward pass); `average`: over processes, now.

        Averaging divides by the number of processes: multiplied by it beforehand, gradients are
        those of the mean over all answer tokens of the batch, wherever they are.
        """
        together = self._together
        with contextlib.nullcontext() if average else together.without_averaging():
            loss = self._forward(examples)
            if self._device == "cuda":
                torch.cuda.synchronize()  # or the forward pass would count as the backward pass
            began = self._clocks.wall()
            (loss * (together.size / batch_tokens)).backward()  # type: ignore[no-untyped-call]
            return float(loss.detach()), self._clocks.wall() - began

    def _forward(self, examples: Sequence[TokenExample]) -> torch.Tensor:
        with torch.autocast(self._device, torch.bfloat16, enabled=self._device == "cuda"):
            loss: torch.Tensor = self._module(*padded(examples, self._device))
        return loss

    def _agree(self, loss_sum: float, batch: Batch, wants_to_save: bool) -> tuple[float, bool]:
        """(mean loss over the answer tokens seen, whether to save: process 0 decides for all)."""
        mine = sum(example.answer_tokens for part in batch.mine for example in part)
        wish = float(wants_to_save and self._rank == 0)
        (loss, tokens, save), among_all = self._together.summed(
            [loss_sum, float(mine), wish], batch.step
        )
        loss /= max(tokens, 1.0)
        if not math.isfinite(loss):
            raise TrainingError(
                f"loss={loss} at update {batch.step} of {self._steps}: the training diverged: "
                f"lower learning_rate={self._plan.learning_rate:g}, or look at the examples"
            )
        return loss, among_all and save > 0

    def _note(self, told: Progress) -> None:
        record = self.record
        record.step = told.step
        record.answer_tokens += told.answer_tokens
        record.losses.append(told.loss)
        record.gradient_update_s.append(told.gradient_update_s)

    def _rehearse(self) -> None:
        """Passes without examples, so that DDP's buckets are final before anything counts.

        Compression remembers by bucket: in a resumed run it must meet the same ones.
        """
        for _ in range(self._together.rehearsals):
            self._forward(()).backward()  # type: ignore[no-untyped-call]
            self._optimizer.zero_grad()

    def _save(self) -> None:
        state = {
            "weights": {name: item.detach() for name, item in self._parameters.items()},
            "optimizer": self._optimizer.state_dict(),
            "together": self._together.state(),
            "record": vars(self.record),
        }
        self._checkpoints.save(self.record.step, state)

    def _restore(self, state: dict[str, Any]) -> None:
        with torch.no_grad():
            for name, item in self._parameters.items():
                item.copy_(state["weights"][name])
        self._optimizer.load_state_dict(state["optimizer"])
        self._together.restore(state["together"])
        self.record = Record(**state["record"])
        self.record.resumed += 1


def learning_rate_factor(step: int, steps: int, warmup_share: float) -> float:
    """What the learning rate is multiplied by at `step` (from 1): a rise, then a cosine's half.

    It ends above 0: the last update counts too.
    """
    warmup = math.ceil(steps * warmup_share)
    if step <= warmup:
        return step / warmup
    done = (step - warmup - 1) / max(steps - warmup, 1)
    return 0.5 * (1 + math.cos(math.pi * done))
