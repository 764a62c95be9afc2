"""A run's record becomes report.md."""

from __future__ import annotations

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from compressor.report import tables
from compressor.results.judgement import Evaluation
from compressor.results.run import RunRecord


def render_report(run: RunRecord) -> str:
    """The Markdown report of a run."""
    environment = Environment(
        loader=PackageLoader("compressor.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML; cells are escaped where tables are made
    )
    dtype = run.recipe["artifact"]["dtype"]
    rendered = {
        "model": tables.model_table(run.model, run.compressed_model),
        "sparsity": tables.sparsity_table(run.sparsity),
        "layers": tables.layer_table(run.layers),
        "sizes": tables.size_table(run.sizes, dtype),
    }
    if run.exports:
        rendered["exports"] = tables.exports_table(run.exports, run.compressed)
    if run.search:
        rendered["search"] = tables.search_table(run.search)
    if run.compressed:
        before, after = run.baseline, run.compressed
        rendered["coco"] = tables.coco_table(before, after)
        rendered["detection"] = tables.detection_table(before, after)
        rendered["classes"] = tables.class_table(before, after)
        rendered["speed"] = tables.speed_table(before, after)
    return environment.get_template("report.md.j2").render(
        run=run,
        tables={name: table.markdown() for name, table in rendered.items()},
        summary=summary(run),
        size_sentence=size_sentence(run),
        speed_sentence=speed_sentence(run.baseline, run.compressed),
        export_sentences=export_sentences(run),
        recipe_yaml=yaml.safe_dump(run.recipe, sort_keys=False, allow_unicode=True).rstrip(),
    )


def summary(run: RunRecord) -> str:
    """What was done and what it cost, in one sentence."""
    zero = f"{100 * run.sparsity.conv_weights:.1f} % of its convolution weights are zero"
    ratio = run.sizes.artifact.size_bytes / run.sizes.dense.size_bytes
    dtype = run.recipe["artifact"]["dtype"]
    size = f"the file is {ratio:.2f} times its dense {dtype} size"
    name = f"{run.model.name} ({run.weights.path})"
    after = run.compressed.metrics.coco.AP if run.compressed else None
    before = run.baseline.metrics.coco.AP if run.baseline else None
    if after is None:
        return f"{name}: {zero}, {size}; its accuracy was not measured."
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


def speed_sentence(before: Evaluation | None, after: Evaluation | None) -> str:
    """What may be concluded from the times of one run each."""
    if before is None or after is None:
        return "There is nothing to compare these times with: the model was not judged before."
    ratio = after.speed.inference_ms / before.speed.inference_ms
    return (
        f"Inference took {ratio:.2f} times as long after as before, in one run each, which cannot tell a speed-up from "
        "the machine's noise. Zeros alone do not make dense kernels faster."
    )


def export_sentences(run: RunRecord) -> list[str]:
    """How each exported file was judged, where that is otherwise than the model was."""
    sentences = []
    for export, asked in zip(run.exports, run.recipe.get("exports", ()), strict=True):
        if export.evaluation is None:
            continue
        own = export.evaluation.settings
        otherwise = []
        if asked["dynamic_size"] is False or export.format == "torchscript":
            otherwise.append(f"on squares of {own.image_size} px, the only size it takes")
        if asked["nms"]:
            most = f"at most {asked['nms']['max_det']} boxes of a class"
            otherwise.append(f"at its own thresholds: score {own.conf_thres:g}, overlap {own.iou_thres:g}, {most}")
        if otherwise:
            sentences.append(f"{export.path} was judged {', and '.join(otherwise)}; so its AP is not quite comparable.")
    return sentences
