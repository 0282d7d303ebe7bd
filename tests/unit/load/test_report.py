from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest
from rich.console import Console

from autotuner.domain.slo import SLO
from autotuner.load.report import LoadReport, distribution, summarise
from autotuner.load.results import Failure, RequestResult
from autotuner.load.runner import LoadRun
from autotuner.load.table import report_table


def result(
    index: int,
    at_s: float,
    ttft_s: float = 0.2,
    gaps_s: tuple[float, ...] = (0.03, 0.05),
    failure: Failure | None = None,
    late_s: float = 0.0,
) -> RequestResult:
    served = failure is None
    return RequestResult(
        index=index,
        at_s=at_s,
        late_s=late_s,
        prompt_tokens=100,
        output_tokens=len(gaps_s) + 1 if served else 0,
        failure=failure,
        ttft_s=ttft_s if served else None,
        tpot_s=sum(gaps_s) / len(gaps_s) if served and gaps_s else None,
        e2el_s=ttft_s + sum(gaps_s),
        gaps_s=gaps_s if served else (),
    )


RESULTS = (
    result(0, 1.0),
    result(1, 2.0, ttft_s=2.0),
    result(2, 11.0, gaps_s=(0.03, 0.4)),
    result(3, 12.0, failure=Failure.REJECTED),
    result(4, 13.0, failure=Failure.OVERLOAD),
    result(5, 14.0, failure=Failure.CANCELLED),
    result(6, 35.0, gaps_s=()),
)
SLO_ALL = SLO(ttft_s=1.0, gap_max_s=0.1)


def report(stopped: bool = False) -> LoadReport:
    return summarise(LoadRun(RESULTS, 50.0, stopped), SLO_ALL, 40.0, interval_s=10.0)


def test_one_request_must_meet_all_targets() -> None:
    found = report()
    assert (found.requests, found.served, found.good) == (6, 4, 2)
    assert found.attainment == pytest.approx(2 / 6)


def test_failures_count_against_attainment_and_cancelled_ones_do_not() -> None:
    found = report()
    assert found.failures == {"rejected": 1, "client overload": 1}
    assert found.cancelled == 1


def test_rates_are_over_the_time_in_which_requests_were_due() -> None:
    found = report()
    assert found.offered_rps == pytest.approx(6 / 40)
    assert found.goodput_rps == pytest.approx(2 / 40)
    assert found.served_rps == pytest.approx(4 / 50)
    assert found.output_tokens_per_s == pytest.approx((3 + 3 + 3 + 1) / 50)


def test_a_run_that_was_stopped_had_only_its_span() -> None:
    early = summarise(LoadRun(RESULTS[:2], 5.0, stopped=True), SLO_ALL, 40.0)
    assert early.sending_s == 5.0
    assert early.offered_rps == pytest.approx(0.4)


def test_percentiles_are_those_of_the_served() -> None:
    latencies = report().latencies
    assert latencies["ttft_s"].count == 4
    assert latencies["ttft_s"].largest == 2.0
    assert latencies["ttft_s"].p50 == pytest.approx(np.percentile([0.2, 2.0, 0.2, 0.2], 50))
    assert latencies["itl_s"].count == 6
    assert latencies["gap_max_s"].count == 3  # a request of one token has no gap


def test_the_series_has_an_interval_for_quiet_times_too() -> None:
    series = report().series
    assert [i.start_s for i in series] == [0, 10, 20, 30]
    assert [i.offered_rps for i in series] == pytest.approx([0.2, 0.3, 0.0, 0.1])
    assert [i.good for i in series] == [1, 0, 0, 1]
    assert math.isnan(series[2].attainment)
    assert series[1].failed == 2


def test_what_is_the_clients_fault_is_said() -> None:
    assert "1 requests were not sent" in report().warnings[0]
    late = summarise(LoadRun((result(0, 0.0, late_s=0.2),), 1.0, stopped=False), SLO_ALL)
    assert "fell behind its plan (P99 200 ms)" in late.warnings[0]


def test_a_run_without_requests_has_no_figures_and_no_series() -> None:
    nothing = summarise(LoadRun((), 3.0, stopped=True), SLO_ALL, 40.0)
    assert math.isnan(nothing.attainment)
    assert nothing.series == ()
    assert nothing.warnings == ()


def test_json_has_null_where_there_is_no_number() -> None:
    told = json.loads(json.dumps(report().as_json(), allow_nan=False))
    assert told["series"][2]["attainment"] is None
    assert told["latencies"]["ttft_s"]["p99"] > 0
    assert told["slo"] == {"ttft_s": 1.0, "gap_max_s": 0.1, "tpot_s": None, "e2el_s": None}
    assert told["warnings"]


@pytest.mark.parametrize("found", [report(), summarise(LoadRun((), 1.0, True), SLO())])
def test_the_table_tells_the_same(found: LoadReport) -> None:
    console = Console(file=io.StringIO(), width=120)
    console.print(report_table(found))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert f"{found.requests} ({found.served} served" in shown
    assert "TTFT" in shown
    assert "nan" not in shown


def test_a_distribution_of_nothing_is_not_a_number() -> None:
    nothing = distribution([None])
    assert nothing.count == 0
    assert math.isnan(nothing.p99)
