"""HTML from plain text: what people wrote never becomes markup."""

from __future__ import annotations

from autotuner.report.markup import Column, Html, element, table

HOSTILE = "<script>alert('x')</script>\"&"


def test_text_is_escaped_and_markup_is_not() -> None:
    assert element("p", HOSTILE).text == (
        "<p>&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;&quot;&amp;</p>"
    )
    assert element("p", Html("<b>x</b>")).text == "<p><b>x</b></p>"


def test_attributes_are_escaped_and_named_as_in_html() -> None:
    made = element("div", "x", _class='a"b', aria_label="<y>").text
    assert made == '<div class="a&quot;b" aria-label="&lt;y&gt;">x</div>'


def test_a_table_names_its_columns_and_rows() -> None:
    made = table("What", (Column("a"), Column("b", number=True)), [(HOSTILE, "2")], "none").text
    assert "<caption>What</caption>" in made
    assert '<th scope="col">a</th>' in made
    assert '<th scope="col" class="n">b</th>' in made
    assert '<th scope="row">&lt;script&gt;' in made
    assert 'tabindex="0"' in made  # it scrolls by keyboard as well


def test_a_table_without_rows_is_a_sentence() -> None:
    assert table("What", (Column("a"),), [], "Nothing yet.").text == (
        '<p class="empty">Nothing yet.</p>'
    )
