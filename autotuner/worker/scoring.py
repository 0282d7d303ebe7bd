"""The model's opinion of given texts, collected while their tokens pass through ordinary steps."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from autotuner.worker.messages import ScoreOutput, TokenOutput
from autotuner.worker.sequence import Chunk, Sequence


@dataclass
class _Score:
    log_probs: list[float] = field(default_factory=list)
    most_likely: list[int] = field(default_factory=list)

    def cut(self, tokens: int) -> None:
        del self.log_probs[tokens:]
        del self.most_likely[tokens:]


class Scores:
    """The texts under way, by request id, and those that are done."""

    def __init__(self) -> None:
        self._under_way: dict[str, _Score] = {}
        self._done: list[ScoreOutput] = []

    def expect(self, sequence: Sequence) -> None:
        self._under_way[sequence.request_id] = _Score()

    def see(self, chunk: Chunk, logits: Tensor) -> None:
        """The logits [wanted, vocab_size] after the chunk's wanted tokens, in order.

        A text that had to give way is read again from its start: the later reading counts.
        """
        score = self._under_way[chunk.sequence.request_id]
        assert chunk.sequence.score_from is not None
        score.cut(chunk.wanted.start + 1 - chunk.sequence.score_from)
        following = chunk.sequence.tokens[chunk.wanted.start + 1 : chunk.wanted.stop + 1]
        rows = logits[: len(following)].float()
        chosen = torch.tensor(following, device=rows.device)[:, None]
        log_probs = rows.log_softmax(-1).gather(1, chosen)[:, 0]
        score.log_probs += log_probs.tolist()
        score.most_likely += rows.argmax(-1).tolist()

    def without(self, outputs: list[TokenOutput]) -> list[TokenOutput]:
        """The outputs of ordinary requests; those of scored texts complete them."""
        kept = []
        for output in outputs:
            score = self._under_way.pop(output.request_id, None)
            if score is None:
                kept.append(output)
            elif output.finish in ("stop", "length"):
                self._done.append(
                    ScoreOutput(output.request_id, score.log_probs, score.most_likely)
                )
            else:
                reason = output.error or "given up"
                self._done.append(ScoreOutput(output.request_id, error=reason))
        return kept

    def take(self) -> list[ScoreOutput]:
        done, self._done = self._done, []
        return done
