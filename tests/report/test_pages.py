"""The report of a made-up run beside its exact text. Run with --update-golden to rewrite it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compressor.errors import InputError
from compressor.report.html import page
from compressor.report.render import context, render_report
from compressor.results.document import to_json
from compressor.results.run import load_run
from tests.report.made_up import assert_golden, full_record, record


def test_report(update_golden: bool) -> None:
    assert_golden(render_report(record()), "report.md", update_golden)


def test_report_with_everything(update_golden: bool) -> None:
    assert_golden(render_report(full_record()), "report_full.md", update_golden)


def test_report_of_a_run_that_was_not_evaluated(update_golden: bool) -> None:
    unevaluated = replace(record(), baseline=None, compressed=None, warnings=())
    assert_golden(render_report(unevaluated), "report_unevaluated.md", update_golden)


def test_page_of_html(update_golden: bool) -> None:
    text = page(render_report(full_record()), "made_up", None)
    assert_golden(text, "report_full.html", update_golden)
    assert text.count("<details><summary>") == text.count("</details>") == 3


def test_page_holds_its_pictures_and_runs_nothing(tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(b"picture")
    (tmp_path / "secret.txt").write_bytes(b"secret")
    text = (
        "![a](p.png) ![b](../p.png) ![c](secret.txt)\n\n<script>alert(1)</script>\n\n| <img src=x onerror=y> |\n|-|\n"
    )
    made = page(text, "<b>", tmp_path)
    assert 'src="data:image/png;base64,cGljdHVyZQ=="' in made
    assert "c2VjcmV0" not in made
    assert "<script" not in made
    assert "<img src=x" not in made
    assert "<title>&lt;b&gt;</title>" in made


def test_a_page_fetches_nothing_whatever_a_class_is_called() -> None:
    run = full_record()
    assert run.compressed is not None
    name = "[x](https://evil) ![t](https://evil/t.png) <https://evil>"
    classes = (replace(run.compressed.metrics.classes[0], name=name), *run.compressed.metrics.classes[1:])
    changed = replace(run.compressed, metrics=replace(run.compressed.metrics, classes=classes))
    text = render_report(
        replace(run, compressed=changed, recipe={**run.recipe, "description": f"![d](http://evil/{name})"})
    )
    made = page(text, "x", None)
    assert "<a " not in made[made.index("By class") :]
    assert "<img" not in made


def test_docs_name_all_that_a_template_may_use() -> None:
    text = (Path(__file__).parents[2] / "docs" / "report.md").read_text(encoding="utf-8")
    section = text[text.index("## Another template") : text.index("## What differs")]
    known = context(full_record())
    for name in (*known, *known["tables"], "search"):
        assert f"`{name}`" in section, name


def test_another_template_takes_the_place_of_the_shipped_one() -> None:
    template = "{{ run.name }}: {{ '%.1f' | format(100 * run.sparsity.targeted) }} %\n{{ tables.coco }}\n"
    text = render_report(full_record(), template)
    assert text.startswith("made_up: 30.0 %\n|       | metric")


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ run.nmae }}", "'compressor.results.run.RunRecord object' has no attribute 'nmae'"),
        ("{{ tabels }}", "'tabels' is undefined"),
        ("{% if %}", "line 1: Expected an expression, got 'end of statement block'"),
        ("\n\n{{ run", "line 3: unexpected end of template"),
        ("{{ ''.__class__.__mro__ }}", "access to attribute '__class__' of 'str' object is unsafe"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{% include 'x' %}", "no loader"),
        ("{{ run.recipe.clear() }}", "unsafe"),
        ("{% set x = run.environment.packages.update({'a': 'b'}) %}", "unsafe"),
        ("{{ '\\ud800' }}", "surrogates not allowed"),
        ("{{ run | dictsort }}", "has no attribute 'items'"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recursion"),
    ],
)
def test_a_template_that_cannot_be_rendered_is_refused(template: str, why: str) -> None:
    with pytest.raises(InputError) as caught:
        render_report(record(), template, "mine.j2")
    assert str(caught.value).startswith("mine.j2: U915 the template cannot be rendered: ")
    assert why in str(caught.value)


@pytest.mark.parametrize("make", [record, full_record])
def test_run_json_reads_back_what_was_written(make: object, tmp_path: Path) -> None:
    made = full_record() if make is full_record else record()
    (tmp_path / "run.json").write_text(to_json(made), encoding="utf-8")
    assert load_run(tmp_path) == made
    assert load_run(tmp_path / "run.json") == made


def test_a_recipe_cannot_leave_its_block() -> None:
    run = record()
    text = render_report(replace(run, recipe={**run.recipe, "description": "a\n```\n# out\n````"}))
    assert "\n`````yaml\n" in text
    assert page(text, "x", None).count("<h1>") == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.update(recipe={}),
        lambda document: document["recipe"].pop("description"),
        lambda document: document["timing"]["before_ms"].pop(),
        lambda document: document["sizes"]["dense"].update(size_bytes=0),
        lambda document: document["sizes"]["dense"].update(size_bytes=10**400),
        lambda document: document["gates"][0].update(gate="AP is bad"),
        lambda document: document["compressed"]["metrics"]["coco"].update(AP=float("nan")),
        lambda document: document["compressed"]["metrics"]["coco"].update(AP=float("inf")),
    ],
)
def test_records_that_no_run_wrote_are_refused(change: Callable[[dict[str, Any]], Any], tmp_path: Path) -> None:
    document = json.loads(to_json(full_record()))
    change(document)
    (tmp_path / "run.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="U902"):
        load_run(tmp_path)


@pytest.mark.parametrize("old", ['"compressor/run/2"', '"weights": 1728', '"AP": 0.4'])
def test_records_that_are_not_one_are_refused(tmp_path: Path, old: str) -> None:
    new = {'"compressor/run/2"': '"compressor/run/9"', '"weights": 1728': '"weights": 0', '"AP": 0.4': '"AP": "x"'}[old]
    text = to_json(record())
    assert old in text
    (tmp_path / "run.json").write_text(text.replace(old, new))
    with pytest.raises(InputError, match="U902"):
        load_run(tmp_path)
