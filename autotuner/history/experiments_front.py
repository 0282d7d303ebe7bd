"""The front's part for experiments; knows no SQL."""

from __future__ import annotations

from autotuner.domain.experiment import Experiment, Verdict
from autotuner.domain.explanation import Explanation
from autotuner.domain.ports import PastTrial
from autotuner.history import experiments_store, queries
from autotuner.history.front import Front
from autotuner.history.records import ExperimentSummary


class ExperimentsFront(Front):
    """Every test with its slots, pairs and looks, and what follows from all of them."""

    def record_experiment(
        self,
        experiment: Experiment,
        *,
        at: float | None = None,
        predicted_effect: float | None = None,
        explanation: Explanation | None = None,
    ) -> None:
        """Bring the stored experiment to this value; only rows that differ are written.

        `at` is kept as the end of a closed one (default: the end of its last slot);
        `predicted_effect` and `explanation`, once given, are kept. Raises HistoryError for an
        experiment that is stored as closed otherwise: a verdict is never rewritten.
        """
        self._db.write(
            experiments_store.write_experiment, experiment, at, predicted_effect, explanation
        )

    def experiment(self, experiment_id: str) -> Experiment | None:
        """The experiment with all its slots, pairs and looks."""
        return self._db.read(experiments_store.read_experiment, experiment_id)

    def explanation(self, experiment_id: str) -> Explanation | None:
        """Why its candidate was proposed; None where the proposer gave no figures."""
        return self._db.read(experiments_store.read_explanation, experiment_id)

    def ended_at(self, experiment_id: str) -> float | None:
        """When it was closed, on the daemon's clock; None while it runs and for an unknown id."""
        return self._db.read(experiments_store.read_ended_at, experiment_id)

    def open_experiments(self, target: str) -> list[Experiment]:
        """Those not closed, oldest first."""
        return self._db.read(experiments_store.read_open, target)

    def close_orphans(self, target: str, now: float, reason: str) -> list[Experiment]:
        """Close every open experiment of `target` as ABORTED; returns them as closed."""
        return self._db.write(experiments_store.close_orphans, target, now, reason)

    def trials(self, target: str, limit: int = 200) -> list[PastTrial]:
        """The last `limit` finished experiments, oldest first, without ABORTED ones and A/A tests.

        `effect` is NaN where no pair was counted (a hard limit ended the test at once).
        """
        return self._db.read(experiments_store.read_trials, target, limit)

    def count_tests(self, target: str) -> tuple[int, int]:
        """How many candidates were tested so far, and how many of them were accepted.

        For the levels of further tests. A/A tests and confirm runs are left out, and tests that
        were aborted before their first pair: nothing was looked at.
        """
        return self._db.read(experiments_store.count_tests, target)

    def experiments(
        self,
        *,
        target: str | None = None,
        verdict: Verdict | None = None,
        before: str | None = None,
        limit: int = 20,
    ) -> list[ExperimentSummary]:
        """Newest first; `before` is the id of the last one seen."""
        return self._db.read(queries.list_experiments, target, verdict, before, limit)

    def accepted_changes(
        self, target: str | None = None, *, before: str | None = None, limit: int = 20
    ) -> list[ExperimentSummary]:
        return self.experiments(target=target, verdict=Verdict.ACCEPTED, before=before, limit=limit)
