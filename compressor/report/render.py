"""The Markdown report of a run's record."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from jinja2 import StrictUndefined, Template, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from compressor.errors import Diagnostic, InputError
from compressor.files.reading import MEGABYTE, file_bytes, lies_below
from compressor.modifiers.behaviours import rows_of
from compressor.printable import printable, printable_lines
from compressor.recipe.exports import traits_of
from compressor.report import metric_tables, tables
from compressor.report.escape import all_escaped, code, escaped
from compressor.report.intervals import interval_sentence, slowdown, verdict_of
from compressor.results.alike import absence, absences
from compressor.results.changes import Change, Rows
from compressor.results.run import RunRecord
from compressor.results.units import signed

SHIPPED = resources.files("compressor.report").joinpath("templates", "report.md.j2")
_LARGEST = MEGABYTE  # bytes of a template
FEW = 5  # classes shown of those that lost most, and of those that lost least


def parsed(template: str, place: str) -> Template:
    """A template ready to render, in Jinja2's sandbox: it may come from a stranger, and must not change the record.

    Args:
        template: its text.
        place: its file or option, for error messages.

    Raises:
        InputError: U915 it is not a valid Jinja2 template.
    """
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML; the values for a template are escaped before, see `context`
    )
    environment.filters["code"] = code
    try:
        return environment.from_string(template)
    except TemplateSyntaxError as error:
        raise _not_rendered(f"line {error.lineno}: {error.message}", place) from error


def read_template(file: Path, folder: Path | None = None) -> str:
    """The text of a user's template.

    Args:
        file: the template.
        folder: the folder that must contain it, after links are followed, if a recipe or a run names it: its text is
            copied into the run folder, which is shared. None if the command line names it.

    Raises:
        InputError: U901 it cannot be read; U915 it is not a valid Jinja2 template; U940 it is outside the folder; U941
            it contains no template expression.
    """
    if folder is not None and not lies_below(file, folder):
        message = f"the template does not lie below {folder.absolute()}, so it is not read"
        raise InputError(Diagnostic("U940", message, str(file), help="move it there, or name it with --template"))
    try:
        text = file_bytes(file, _LARGEST).decode()
    except (OSError, ValueError) as error:
        message = f"the template cannot be read: {getattr(error, 'strerror', None) or error}"
        raise InputError(Diagnostic("U901", message, str(file), help="name a Jinja2 template")) from error
    parsed(text, str(file))
    if not any(kind in ("variable_begin", "block_begin") for _, kind, _ in ImmutableSandboxedEnvironment().lex(text)):
        message = "this is not a report template: it contains no {{ ... }} and no {% ... %}"
        help_text = "docs/report.md says what a template may use"
        raise InputError(Diagnostic("U941", message, str(file), help=help_text))
    return text


def render_report(run: RunRecord, template: str | None = None, place: str = "") -> str:
    """The Markdown report of a run, without control characters.

    Args:
        run: the record to report.
        template: text of a template to use instead of the shipped one; docs/report.md says what it may use.
        place: the template's file or option, for error messages.

    Raises:
        InputError: U915 the template uses something that does not exist, or fails otherwise.
    """
    if template is None:
        return printable_lines(parsed(SHIPPED.read_text(encoding="utf-8"), "").render(context(run)))
    try:
        text = parsed(template, place).render(context(run))
        text.encode()  # fails on half of a surrogate pair
        return printable_lines(text)
    except InputError:
        raise
    except Exception as error:  # a template can cause any exception
        raise _not_rendered(str(error), place) from error


def _not_rendered(why: str, place: str) -> InputError:
    help_text = "docs/report.md says what a template may use"
    return InputError(Diagnostic("U915", f"the template cannot be rendered: {why}", place or None, help=help_text))


def context(run: RunRecord) -> dict[str, Any]:
    """The variables that a template may use."""
    written = {
        key: value for key, value in run.recipe.items() if key != "modifiers" or value
    }  # [] is not a valid recipe
    recipe = yaml.safe_dump(written, sort_keys=False, allow_unicode=True).rstrip()
    command = printable(run.command)
    description = " ".join(run.recipe["description"].split())
    return {
        "run": all_escaped(replace(run, recipe={**run.recipe, "description": description})),
        "tables": {name: table.markdown() for name, table in _tables(run).items()},
        "change_tables": [_rows(change) for change in run.changes],
        "pictures": [file.path for file in run.files if file.path.endswith(".png")],
        "summary": escaped(summary(run)),
        "verdicts": [("FAILED" if each.failed else "passed", escaped(tables.verdict_text(each))) for each in run.gates],
        "interval_sentence": interval_sentence(run.baseline, run.compressed),
        "absences": [escaped(each) for each in absences(run.compressed)] if run.compressed else [],
        "size_of_object_sentence": escaped(size_of_object_sentence(run)),
        "size_sentence": escaped(size_sentence(run)),
        "speed_sentence": escaped(speed_sentence(run)),
        "export_sentences": [escaped(each) for each in export_sentences(run)],
        "command": command,
        "recipe_yaml": recipe,
        "fence": "`" * max(3, 1 + max(map(len, re.findall("`+", recipe + command)), default=0)),
    }


def _rows(change: Change) -> str:
    """What a step did to shapes and number formats, as a table; its zeros stand in the table of all layers."""
    rows = rows_of(change) if {"shapes", "numbers"} & set(change.altered) else Rows()
    return tables.rows_table(rows).markdown() if rows.cells else ""


def _tables(run: RunRecord) -> dict[str, tables.Table]:
    dtype = run.recipe["artifact"]["dtype"]
    made = {
        "model": tables.model_table(run.model, run.compressed_model),
        "sparsity": tables.sparsity_table(run.sparsity),
        "layers": tables.layer_table(run.layers),
        "sizes": tables.size_table(run.sizes, dtype),
    }
    if run.exports:
        made["exports"] = metric_tables.exports_table(run.exports, run.compressed)
    if run.steps:
        made["steps"] = tables.steps_table(run.steps)
    if run.search:
        made["search"] = tables.search_table(run.search)
    if run.compressed:
        before, after = run.baseline, run.compressed
        made["coco"] = metric_tables.coco_table(before, after)
        made["detection"] = metric_tables.detection_table(before, after)
        made["classes"] = metric_tables.class_table(before, after)
        if after.data.not_evaluated:
            made["not_evaluated"] = metric_tables.not_evaluated_table(after.data)
        made["speed"] = metric_tables.speed_table(before, after, run.timing)
        if before and len(after.metrics.classes) > 2 * FEW:
            made["extremes"] = metric_tables.extreme_class_table(before, after, FEW)
        if run.reference:
            made["reference"] = metric_tables.reference_table(run.reference, before, after)
    return made


def summary(run: RunRecord) -> str:
    """The sparsity, the file size and the change of AP, in one sentence."""
    zero = f"{100 * run.sparsity.conv_weights:.1f} % of its convolution weights are zero"
    ratio = run.sizes.artifact.size_bytes / run.sizes.dense.size_bytes
    dtype = run.recipe["artifact"]["dtype"]
    size = f"the file is {ratio:.2f} times its dense {dtype} size"
    name = f"{run.model.name} ({run.weights.path})"
    after = run.compressed.metrics.coco.AP if run.compressed else None
    before = run.baseline.metrics.coco.AP if run.baseline else None
    if run.compressed is None:
        return f"{name}: {zero}, {size}; its accuracy was not measured."
    if after is None:
        return f"{name}: {zero}, {size}; its AP {absence(run.compressed, 'AP')}."
    if before is None:
        return f"{name}: {zero}, {size}; AP is {after:.3f}."
    kept = f" ({100 * after / before:.1f} % kept)" if before > 0 else ""
    return f"{name}: AP goes from {before:.3f} to {after:.3f}{kept}; {zero}, {size}."


def size_sentence(run: RunRecord) -> str:
    """How much the dtype and how much the zeros reduce the file, in one sentence."""
    full, dense, final = (size.size_bytes for size in (run.sizes.dense_float32, run.sizes.dense, run.sizes.artifact))
    dtype = run.recipe["artifact"]["dtype"]
    by_dtype = f"{dtype} alone makes the file {dense / full:.3f} times its float32 size"
    by_sparsity = f"the zeros and the {run.recipe['artifact']['layout']} layout make it {final / dense:.3f} times that"
    return f"{by_dtype}; {by_sparsity}."


def size_of_object_sentence(run: RunRecord) -> str:
    """The change of AP by the size of objects, in one sentence."""
    if run.baseline is None or run.compressed is None:
        return ""
    old, new = run.baseline.metrics.coco, run.compressed.metrics.coco
    changes = []
    for name, size in (("APs", "small"), ("APm", "medium"), ("APl", "large")):
        before, after = getattr(old, name), getattr(new, name)
        if before is not None and after is not None:
            changes.append(f"{signed(after - before)} on {size} ones")
    return f"By the size of the objects AP changes by {', '.join(changes)}." if changes else ""


def speed_sentence(run: RunRecord) -> str:
    """What can be concluded from the times."""
    if run.baseline is None or run.compressed is None:
        return "There are no times to compare these with: the model was not evaluated before the modifiers."
    found = slowdown(run.timing) if run.timing else None
    if found is None:
        ratio = run.compressed.speed.inference_ms / run.baseline.speed.inference_ms
        return (
            f"Inference took {ratio:.2f} times as long after as before, in one run each, which cannot distinguish a "
            "speed-up from noise. Zeros alone do not make dense kernels faster."
        )
    ratio, interval = found
    measured = (
        f"in turns with the model before, inference took {ratio:.2f} times as long after "
        f"(95 % interval {interval.low:.2f} to {interval.high:.2f})"
    )
    verdict = verdict_of(interval)
    if verdict == "within noise":
        return f"No measurable speed-up: {measured}. Zeros alone do not make dense kernels faster."
    return f"Measurably {verdict}: {measured}."


def export_sentences(run: RunRecord) -> list[str]:
    """Sentences on exported files that were evaluated in another way than the model."""
    sentences = []
    for export, asked in zip(run.exports, run.recipe.get("exports", ()), strict=False):
        if export.evaluation is None:
            continue
        own = export.evaluation.settings
        differently = []
        if traits_of(export.format).graph and not asked.get("dynamic_size"):
            differently.append(f"on squares of {own.image_size} px, the only size it takes")
        if asked.get("nms"):
            most = f"at most {asked['nms']['max_det']} boxes of a class"
            differently.append(f"at its own thresholds: score {own.conf_thres:g}, overlap {own.iou_thres:g}, {most}")
        if run.compressed and own.precision != run.compressed.settings.precision:
            differently.append(f"in {own.precision}")
        if differently:
            alike = metric_tables.evaluated_alike(export, run.compressed)
            model = "the AP of the model was measured in the same way" if alike else "so its AP is not comparable"
            sentences.append(f"{export.path} was evaluated {', and '.join(differently)}; {model}.")
    return sentences
