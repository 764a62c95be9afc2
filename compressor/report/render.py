"""A run's record becomes report.md."""

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
from compressor.printable import printable, printable_lines
from compressor.report import metric_tables, tables
from compressor.report.escape import all_escaped, code, escaped
from compressor.report.intervals import interval_sentence, judged, slowdown
from compressor.results.alike import absence, absences
from compressor.results.run import RunRecord
from compressor.results.units import signed

SHIPPED = resources.files("compressor.report").joinpath("templates", "report.md.j2")
_LARGEST = MEGABYTE  # of a template
FEW = 5  # classes that are shown of those that lost most, and of those that lost least


def parsed(template: str, place: str) -> Template:
    """A template ready to render, in Jinja2's sandbox: it may come from a stranger, and must not change the record.

    Args:
        template: its text.
        place: where it is from, for messages.

    Raises:
        InputError: U915 it is no Jinja2 template.
    """
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML; what a template is given is escaped before, see `context`
    )
    environment.filters["code"] = code
    try:
        return environment.from_string(template)
    except TemplateSyntaxError as fault:
        raise _not_rendered(f"line {fault.lineno}: {fault.message}", place) from fault


def read_template(file: Path, folder: Path | None = None) -> str:
    """The text of a user's template.

    Args:
        file: the template.
        folder: below which it must lie, links followed, where a recipe or a run names it: its text comes into the run
            folder, which is shared; None where the command line names it.

    Raises:
        InputError: U901 it cannot be read; U915 it is no Jinja2 template; U940 it lies elsewhere; U941 nothing in it is
            a template.
    """
    if folder is not None and not lies_below(file, folder):
        message = f"the template does not lie below {folder.absolute()}, so it is not read"
        raise InputError(Diagnostic("U940", message, str(file), help="move it there, or name it with --template"))
    try:
        text = file_bytes(file, _LARGEST).decode()
    except (OSError, ValueError) as fault:
        message = f"the template cannot be read: {getattr(fault, 'strerror', None) or fault}"
        raise InputError(Diagnostic("U901", message, str(file), help="name a Jinja2 template")) from fault
    parsed(text, str(file))
    if not any(kind in ("variable_begin", "block_begin") for _, kind, _ in ImmutableSandboxedEnvironment().lex(text)):
        message = "this is no template of a report: it holds no {{ ... }} and no {% ... %}"
        help_text = "docs/report.md says what a template may use"
        raise InputError(Diagnostic("U941", message, str(file), help=help_text))
    return text


def render_report(run: RunRecord, template: str | None = None, place: str = "") -> str:
    """The Markdown report of a run, without control characters.

    Args:
        run: everything it tells.
        template: the text of another template than the shipped one; docs/report.md says what it may use.
        place: where that is from, for messages.

    Raises:
        InputError: U915 the template asks for what there is not.
    """
    if template is None:
        return printable_lines(parsed(SHIPPED.read_text(encoding="utf-8"), "").render(context(run)))
    try:
        text = parsed(template, place).render(context(run))
        text.encode()  # which half of a character fails at
        return printable_lines(text)
    except InputError:
        raise
    except Exception as fault:  # a template may do anything that Python can refuse
        raise _not_rendered(str(fault), place) from fault


def _not_rendered(why: str, place: str) -> InputError:
    help_text = "docs/report.md says what a template may use"
    return InputError(Diagnostic("U915", f"the template cannot be rendered: {why}", place or None, help=help_text))


def context(run: RunRecord) -> dict[str, Any]:
    """What a template may use."""
    written = {key: value for key, value in run.recipe.items() if key != "modifiers" or value}  # empty, it is an error
    recipe = yaml.safe_dump(written, sort_keys=False, allow_unicode=True).rstrip()
    command = printable(run.command)
    description = " ".join(run.recipe["description"].split())
    return {
        "run": all_escaped(replace(run, recipe={**run.recipe, "description": description})),
        "tables": {name: table.markdown() for name, table in _tables(run).items()},
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
    """What was done and what it cost, in one sentence."""
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
    """The dtype's share and the sparsity's share of what was saved, told apart."""
    full, dense, final = (size.size_bytes for size in (run.sizes.dense_float32, run.sizes.dense, run.sizes.artifact))
    dtype = run.recipe["artifact"]["dtype"]
    by_dtype = f"{dtype} alone makes the file {dense / full:.3f} times its float32 size"
    by_sparsity = f"the zeros and the {run.recipe['artifact']['layout']} layout make it {final / dense:.3f} times that"
    return f"{by_dtype}; {by_sparsity}."


def size_of_object_sentence(run: RunRecord) -> str:
    """Which objects are found less well: AP by their size."""
    if run.baseline is None or run.compressed is None:
        return ""
    old, new = run.baseline.metrics.coco, run.compressed.metrics.coco
    told = []
    for name, size in (("APs", "small"), ("APm", "medium"), ("APl", "large")):
        before, after = getattr(old, name), getattr(new, name)
        if before is not None and after is not None:
            told.append(f"{signed(after - before)} on {size} ones")
    return f"By the size of the objects AP changes by {', '.join(told)}." if told else ""


def speed_sentence(run: RunRecord) -> str:
    """What may be concluded from the times."""
    if run.baseline is None or run.compressed is None:
        return "There is nothing to compare these times with: the model was not judged before."
    found = slowdown(run.timing) if run.timing else None
    if found is None:
        ratio = run.compressed.speed.inference_ms / run.baseline.speed.inference_ms
        return (
            f"Inference took {ratio:.2f} times as long after as before, in one run each, which cannot tell a speed-up "
            "from the machine's noise. Zeros alone do not make dense kernels faster."
        )
    ratio, interval = found
    measured = (
        f"in turns with the model before, inference took {ratio:.2f} times as long after "
        f"(95 % interval {interval.low:.2f} to {interval.high:.2f})"
    )
    verdict = judged(interval)
    if verdict == "within noise":
        return f"No measurable speed-up: {measured}. Zeros alone do not make dense kernels faster."
    return f"Measurably {verdict}: {measured}."


def export_sentences(run: RunRecord) -> list[str]:
    """How each exported file was judged, where that is otherwise than the model was."""
    sentences = []
    for export, asked in zip(run.exports, run.recipe.get("exports", ()), strict=False):
        if export.evaluation is None:
            continue
        own = export.evaluation.settings
        otherwise = []
        if asked.get("dynamic_size") is False or export.format == "torchscript":
            otherwise.append(f"on squares of {own.image_size} px, the only size it takes")
        if asked.get("nms"):
            most = f"at most {asked['nms']['max_det']} boxes of a class"
            otherwise.append(f"at its own thresholds: score {own.conf_thres:g}, overlap {own.iou_thres:g}, {most}")
        if run.compressed and own.precision != run.compressed.settings.precision:
            otherwise.append(f"in {own.precision}")
        if otherwise:
            alike = metric_tables.evaluated_alike(export, run.compressed)
            beside = "the model's AP beside it was measured in the same way" if alike else "so its AP is not comparable"
            sentences.append(f"{export.path} was judged {', and '.join(otherwise)}; {beside}.")
    return sentences
