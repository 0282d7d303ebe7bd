"""The dashboard of a target's A/B tests: the evidence, the arms, what they cost."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from deploy.grafana.source.board import board_of_a_target
from deploy.grafana.source.panels import SHARE_LOOK, Look, Query, Unit, chart, figure

_OF = '{target="$target"}'


def experiment() -> Dashboard:
    built = board_of_a_target(
        "experiment",
        "Experiments",
        "The running A/B test of a target. Details and the past: `autotuner experiments`.",
        "now-1h",
    )
    for add in (_now, _evidence, _arms, _quality, _cost):
        add(built)
    return built


def _now(built: Dashboard) -> None:
    built.with_panel(
        figure(
            "Confidence",
            Unit.SHARE,
            Query(f"autotuner_experiment_confidence{_OF}", "confidence"),
            "Of the running test; 0 where none runs.",
            ((None, "blue"), (0.95, "green")),
        )
    ).with_panel(
        figure(
            "Pairs",
            Unit.COUNT,
            Query(f"autotuner_experiment_pairs{_OF}", "pairs"),
            "Pairs of slots that counted so far.",
            ((None, "blue"),),
        )
    ).with_panel(
        figure(
            "Kept in 7 days",
            Unit.COUNT,
            Query(_actions("PROMOTE", "7d"), "promoted"),
            "Candidates that reached the confidence.",
            ((None, "blue"), (1.0, "green")),
        )
    ).with_panel(
        figure(
            "Rolled back in 7 days",
            Unit.COUNT,
            Query(_actions("ROLLBACK", "7d"), "rolled back"),
            "Candidates that did not, or did harm.",
            ((None, "blue"),),
        )
    )


def _actions(action: str, over: str) -> str:
    counted = f'autotuner_cycles_total{{target="$target", action="{action}"}}'
    return f"sum(increase({counted}[{over}])) or vector(0)"


def _evidence(built: Dashboard) -> None:
    built.with_row(Row("Evidence")).with_panel(
        chart(
            "Confidence",
            Unit.SHARE,
            [
                Query(f"autotuner_experiment_confidence{_OF}", "confidence"),
                Query("vector(0.95)", "needed"),
            ],
            "Valid at every look.",
            Look(most=1.0, dashed="needed"),
        )
    ).with_panel(
        chart(
            "Pairs",
            Unit.COUNT,
            [Query(f"autotuner_experiment_pairs{_OF}", "pairs")],
            "A slot with too little traffic, or with a hole in its log, does not count.",
        )
    ).with_panel(
        chart(
            "What cycles do",
            Unit.COUNT,
            [
                Query(
                    f"sum by (action) (increase(autotuner_cycles_total{_OF}[$__rate_interval]))",
                    "{{action}}",
                )
            ],
            "The daemon's actions on this target.",
            Look(stacked=True),
        )
    ).with_panel(
        chart(
            "Attainment",
            Unit.SHARE,
            [Query(f"target:attainment:ratio{_OF}", "attainment")],
            "Under the settings of the moment: it steps where the arms differ.",
            SHARE_LOOK,
        )
    )


def _arms(built: Dashboard) -> None:
    built.with_row(Row("Arms")).with_panel(
        chart(
            "Generation of the settings",
            Unit.COUNT,
            [Query(f"worker:settings_generation{_OF}", "{{instance}}")],
            "Each step is a change of arm.",
            Look(least=None),
        )
    ).with_panel(
        chart(
            "Knobs that are numbers",
            Unit.COUNT,
            [Query(f"worker:setting{_OF}", "{{knob}} {{instance}}")],
            "What alternates is what is tested.",
        )
    )


def _quality(built: Dashboard) -> None:
    built.with_row(Row("Quality of answers")).with_panel(
        chart(
            "Golden answers",
            Unit.SHARE,
            [
                Query(f"worker:probe_agreement{_OF}", "agreement"),
                Query(f"worker:probe_accuracy{_OF}", "accuracy"),
            ],
            "Probed only where a knob that can change answers moves.",
            Look(least=None, most=1.0),
        )
    ).with_panel(
        chart(
            "Users' scores",
            Unit.SHARE,
            [Query(f"target:feedback_score:mean1h{_OF}", "mean of an hour")],
            "First score of each request.",
            SHARE_LOOK,
        )
    )


def _cost(built: Dashboard) -> None:
    rebuilds = f"increase(worker:rebuilds_total{_OF}[$__rate_interval])"
    spent = f"sum(rate(worker:rebuild_seconds_sum{_OF}[1h]))"
    count = f"sum(rate(worker:rebuild_seconds_count{_OF}[1h]))"
    built.with_row(Row("Cost")).with_panel(
        chart(
            "Rebuilds",
            Unit.COUNT,
            [Query(f"sum by (outcome) ({rebuilds})", "{{outcome}}")],
            "Changes that took new engines.",
            Look(stacked=True),
        )
    ).with_panel(
        chart(
            "Mean time of a rebuild",
            Unit.SECONDS,
            [Query(f"{spent} / {count}", "seconds")],
            "From asked for to switched, over an hour.",
        )
    )
