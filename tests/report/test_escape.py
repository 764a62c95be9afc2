"""Whatever a person wrote is shown as just that text, wherever a report puts it: markdown-it-py renders it to tell."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from compressor.printable import printable
from compressor.report.compare import overview, overview_markdown
from compressor.report.diff import compare, comparison_tables
from compressor.report.diff_sides import side_of
from compressor.report.escape import all_escaped, code, escaped, inline
from compressor.report.html import page
from compressor.report.render import render_report
from compressor.report.tables import Table
from compressor.results.run import RunRecord
from tests.report.made_up import full_record

MARKUP = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
PLACES: dict[str, tuple[str, Callable[[str], str]]] = {
    "paragraph": ("{}", escaped),
    "heading": ("# {}", escaped),
    "quote": ("> {}", escaped),
    "item": ("- {}", escaped),
    "after a paragraph": ("before\n{}", escaped),
    "within a line": ("before {} (after)", escaped),
    "cell": ("| head |\n|:--|\n| {} |", inline),
    "two cells": ("| one | two |\n|:--|--:|\n| {} | after |", inline),
    "header": ("| {} |\n|:--|\n| cell |", inline),
    "code": ("weights {}, after", lambda text: code(escaped(text))),
    "code in a cell": ("| head |\n|:--|\n| {} |", lambda text: code(escaped(text))),
}
NASTY = (
    *(
        "![x](http://evil/x.png)",
        "![x][r]",
        "[r]: http://evil",
        "[x](javascript:y)",
        "[^1]",
        "[^1]: note",
        "<img src=x>",
    ),
    *("<http://evil>", "<a@b.example>", "</td>", "<!-- x -->", "<details><summary>x</summary>", "</details>", "<?x?>"),
    *("http://evil", "www.evil.example", "&lt;", "&#33;", "&amp", "`", "``", "```", "~~~", "~~x~~", "**x**", "_x_"),
    *(
        "a_b",
        "__",
        "*",
        "#",
        "# x",
        "## x ##",
        "- x",
        "+",
        "1. x",
        "12) x",
        "> x",
        "---",
        "===",
        "| x |",
        "|--|",
        ":--",
    ),
    *(
        "\\",
        "\\|",
        "\\`",
        "\n",
        "\t",
        "    ",
        " ",
        "x",
        "1",
        ".",
        ":",
        "!",
        "[",
        "]",
        "(",
        ")",
        "<",
        ">",
        "&",
        "\u202e",
        "é",
    ),
)


TEXTS = st.lists(st.sampled_from(NASTY), max_size=6).map("".join) | st.text(max_size=20)


class Shown(HTMLParser):
    """What a page shows and of which elements it is made."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.elements: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.feed(page)
        self.close()

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, attrs))

    def handle_comment(self, data: str) -> None:
        self.elements.append((f"comment {data}", []))

    def handle_decl(self, decl: str) -> None:
        self.elements.append((f"declaration {decl}", []))

    def handle_pi(self, data: str) -> None:
        self.elements.append((f"instruction {data}", []))


def words(text: str) -> str:
    return " ".join(text.split())


@given(TEXTS, st.sampled_from(sorted(PLACES)))
@example("1.", "paragraph")
@example("0123456789. x", "paragraph")
@example("--", "after a paragraph")
@example("x #", "heading")
@example("`", "code in a cell")
@settings(max_examples=300, deadline=None)
def test_any_text_is_shown_as_it_is_and_is_nothing_else(text: str, place: str) -> None:
    around, escape = PLACES[place]
    found = Shown(MARKUP.render(around.format(escape(text))))
    plain = Shown(MARKUP.render(around.format("x")))
    assert words(found.text) == words(plain.text.replace("x", printable(text).strip(), 1))
    elements = [each for each in found.elements if each[0] != "code"]
    if words(printable(text)):  # of nothing there is no paragraph
        assert elements == plain.elements


@pytest.mark.parametrize(
    "text",
    [
        *(
            "YOLOv5n loses the 30 % smallest weights of every Conv2d, as in the guide.",
            "AP < -2.5: AP changed by -1.00",
        ),
        *(
            "2.13.0",
            "3.11",
            "Linux-6.1-x86_64-with-glibc2.36",
            "-",
            "+0.012",
            "0.50:0.95",
            "model.0.conv",
            "teddy bear",
        ),
        *(
            "2026-01-02T03:04:05+00:00",
            "predictions_before.json",
            "x.jpg: left out, it is empty",
            "Intel(R) CPU @ 2 GHz",
        ),
    ],
)
def test_ordinary_text_stays_readable(text: str) -> None:
    assert inline(text) == text
    assert escaped(text) == text or text == "-"


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("https://evil", r"https\://evil"),  # GitHub makes links of these, which markdown-it-py does not
        ("WWW.evil.example", r"WWW\.evil.example"),
        (":octocat: x", r"\:octocat: x"),
        ("mailto:x", r"mailto\:x"),
        ("$x$", r"\$x\$"),
        ("[^1]", r"\[^1\]"),
        ("_x_", r"\_x\_"),
        ("a_b", "a_b"),
        ("a\nb", r"a\\nb"),
    ],
)
def test_what_other_viewers_know_gets_a_backslash_too(text: str, markdown: str) -> None:
    assert escaped(text) == markdown


def test_records_are_escaped_to_their_last_text() -> None:
    run = full_record()
    hostile = replace(run, environment=replace(run.environment, packages={"<b>": "[x]"}), warnings=("*x*",))
    shown = all_escaped(hostile)
    assert shown.environment.packages == {r"\<b>": r"\[x\]"}
    assert shown.warnings == (r"\*x\*",)
    assert (shown.sizes, shown.timing, shown.compressed is None) == (run.sizes, run.timing, False)
    assert shown.changes[0].prunes  # still the same classes


PAYLOAD = (
    "![p](http://evil/p.png) <img src=http://evil/i.png> [l](http://evil) <http://evil> https://evil | "
    "</details> `![c](http://evil/c.png)` [^1] ```"
)


def poisoned(value: Any, text: str, name: str = "") -> Any:
    """A record with a text in the place of every other, but for those that must be something."""
    if isinstance(value, str):
        return value if name in ("gate", "modifier", "reason") else text
    if isinstance(value, dict):
        return {f"{key}": poisoned(each, text, key) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(poisoned(each, text, name) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        changes = {each.name: poisoned(getattr(value, each.name), text, each.name) for each in fields(value)}
        return replace(value, **changes)
    return value


def with_packages(text: str) -> RunRecord:
    made: RunRecord = poisoned(full_record(), text)
    return replace(made, environment=replace(made.environment, packages={text: text}), warnings=(text, text))


TEMPLATE = """# {{ run.name }}

{{ run.recipe.description }} {{ run.compressed.data.source }} {{ run.warnings | join(", ") }}
{{ run.layers[0].name ~ "!" }}

{% macro cell(text) %}| {{ text }} |{% endmacro %}
| a |
|:--|
{{ cell(run.compressed.metrics.classes[0].name) }}

{{ tables.classes }}
{{ fence }}
{{ command }}
{{ recipe_yaml }}
{{ fence }}
"""


def structure(markdown: str) -> list[tuple[str, list[tuple[str, str | None]]]]:
    return [each for each in Shown(MARKUP.render(markdown)).elements if each[0] != "code"]


@pytest.mark.parametrize("template", [None, TEMPLATE], ids=["shipped", "another"])
def test_no_text_of_a_run_makes_an_element_of_its_report(template: str | None) -> None:
    hostile, plain = with_packages(PAYLOAD), with_packages("x")
    text = render_report(hostile, template)
    assert structure(text) == structure(render_report(plain, template))
    made = page(text, PAYLOAD, None)
    assert not re.search(r"<(img|a|script|iframe|link)\b", made)
    shown = Shown(made)
    assert shown.text.count("![p](http://evil/p.png) <img src=http://evil/i.png>") > 5
    attributes = [value for tag, attrs in shown.elements if tag != "meta" for _, value in attrs]
    assert not any("evil" in str(value) for value in attributes)


def test_no_name_of_a_run_makes_an_element_of_a_comparison() -> None:
    def pages(text: str) -> tuple[str, str]:
        run = with_packages(text)
        sides = [replace(side_of(each, None), name=text) for each in (run, full_record())]
        diff = "\n\n".join(f"## {title}\n\n{table.markdown()}" for title, table in comparison_tables(compare(sides)))
        return overview_markdown(overview([(text, run), (text, full_record())]), text, None), diff

    for hostile, plain in zip(pages(PAYLOAD), pages("x"), strict=True):
        assert [tag for tag, _ in structure(hostile)] == [tag for tag, _ in structure(plain)]
        assert "<img" not in page(hostile, "x", None)


def test_a_plot_of_any_name_is_linked_as_one_file() -> None:
    text = overview_markdown(overview([("a", full_record())]), "x", "a b)](http://evil).png")
    (picture,) = (attrs for tag, attrs in structure(text) if tag == "img")
    assert dict(picture)["src"] == "a%20b%29%5D%28http%3A//evil%29.png"


def test_headers_are_escaped_as_cells_are() -> None:
    table = Table(("![x](y)", "a|b"), (("![x](y)", "a|b"),), text_columns=2)
    found = Shown(MARKUP.render(table.markdown()))
    assert [tag for tag, _ in found.elements] == ["table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td"]
    assert found.text.count("![x](y)") == found.text.count("a|b") == 2


def test_a_text_that_asks_for_a_fold_stays_text() -> None:
    folds = "<details><summary>x</summary>"
    made = page(f"{escaped(folds)}\n\n> {escaped('</details>')}\n\n{folds}\n\ny\n\n</details>\n", "x", None)
    assert made.count("<details>") == made.count("</details>") == 1
    assert "<p>&lt;details&gt;&lt;summary&gt;x&lt;/summary&gt;</p>" in made
