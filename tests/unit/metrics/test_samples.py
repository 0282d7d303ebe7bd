from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from autotuner.domain.telemetry import Histogram
from autotuner.metrics.samples import histogram_of, parse_page


def test_lines_are_grouped_by_name() -> None:
    page = parse_page('a_total{x="1"} 2\na_total{x="2"} NaN\nb 1e3\n')
    assert [s.labels["x"] for s in page["a_total"]] == ["1", "2"]
    assert math.isnan(page["a_total"][1].value)
    assert page["b"][0].value == 1000


def test_text_that_is_no_metrics_page_is_refused() -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_page("<html>not found</html>\n")


def test_buckets_may_come_in_any_order() -> None:
    page = parse_page('h_bucket{le="+Inf"} 3\nh_bucket{le="0.5"} 1\nh_sum 2.5\n')
    found = histogram_of(page, "h")
    assert found is not None
    assert found == Histogram((0.5, math.inf), (1, 3), 2.5)


def test_a_histogram_without_its_open_bucket_is_refused() -> None:
    with pytest.raises(ValueError, match=r"h: the bucket le=\+Inf is missing"):
        histogram_of(parse_page('h_bucket{le="0.5"} 1\n'), "h")


def test_a_histogram_that_is_not_there_is_none() -> None:
    assert histogram_of(parse_page("g 1\n"), "h") is None


def by_reference(text: str) -> Iterator[tuple[str, dict[str, str], str]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, dict(sample.labels), repr(float(sample.value))


def ours(text: str) -> list[tuple[str, dict[str, str], str]]:
    found = [sample for samples in parse_page(text).values() for sample in samples]
    return [(name, dict(labels), repr(value)) for name, labels, value in found]


NAMES = st.from_regex(r"[a-z_:][a-z0-9_:]{0,5}", fullmatch=True)
LABEL_NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,3}", fullmatch=True)
TEXTS = st.text(st.sampled_from('ab,=}{ #"\\\né'), max_size=6)
VALUES = st.one_of(
    st.floats().map(repr), st.integers().map(str), st.sampled_from(["+Inf", "-Inf", "NaN", "1e+06"])
)


def written(name: str, labels: dict[str, str], value: str, stamp: int | None) -> str:
    escaped = {
        k: v.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        for k, v in labels.items()
    }
    inside = ",".join(f'{k}="{v}"' for k, v in escaped.items())
    return f"{name}{{{inside}}} {value}" + ("" if stamp is None else f" {stamp}")


LINES = st.builds(
    written,
    NAMES,
    st.dictionaries(LABEL_NAMES, TEXTS, max_size=3),
    VALUES,
    st.none() | st.integers(0, 10**13),
)


@given(st.lists(LINES, max_size=4))
@settings(max_examples=60, deadline=None)
def test_every_page_reads_as_the_reference_parser_reads_it(lines: list[str]) -> None:
    page = "".join(f"{line}\n" for line in lines)
    assert sorted(ours(page), key=repr) == sorted(by_reference(page), key=repr)


@pytest.mark.parametrize(
    "line",
    [
        "a 1",
        "a{} 1",
        'a{b="c",} 1',
        'a{ b = "c" , d="e" } 1',
        "a   1",
        "a\t1",
        'a{b="x\\"y\\\\z\\n"} 1 1700000000000',
        '{"a.b",c="d"} 1',
        'a{b="}"} 1',
        'a{b="#"} 1',
        "a 0x1f",
        "a .5",
        "  a 1",
        "a 1 ",
        "# HELP a b\na 1",
        "# EOF",
    ],
)
def test_odd_lines_read_as_the_reference_parser_reads_them(line: str) -> None:
    try:
        expected = list(by_reference(line + "\n"))
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            parse_page(line + "\n")
    else:
        assert ours(line + "\n") == expected


@pytest.mark.parametrize("line", ["a", 'a{b="c" 1', "a{b=c} 1", "a one", "1a 1", 'a{b="c"d="e"} 1'])
def test_a_broken_line_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_page(f"fine 1\n{line}\n")
