"""What a run would do as tables: layers, arithmetic, file sizes and times."""

from __future__ import annotations

from collections.abc import Sequence

from compressor.report.tables import Table, shape_text
from compressor.results.network import Change
from compressor.results.plan import Plan, StageTime
from compressor.results.units import duration, megabytes, percent


def plan_table(plan: Plan, change: Change) -> Table:
    """Every layer that a step changes, with its zeros afterwards and its share of the network's MACs."""
    rows = tuple(
        (layer.name, layer.role, shape_text(layer.shape), *_pruned(layer.weights, layer.pruned, layer.sparsity), share)
        for layer in change.layers
        for share in (percent(plan.macs[layer.name] / plan.network_macs),)
    )
    share = percent(sum(plan.macs[layer.name] for layer in change.layers) / plan.network_macs)
    total = ("total", "", "", *_pruned(change.weights, change.pruned, change.zeros / change.weights), share)
    headers = ("layer", "role", "shape", "weights", "pruned", "sparsity", "MACs")
    return Table(headers, (*rows, total), text_columns=3)


def _pruned(weights: int, pruned: int, sparsity: float) -> tuple[str, str, str]:
    return f"{weights:,}", f"{pruned:,}", percent(sparsity)


def macs_table(plan: Plan) -> Table:
    """Multiply-accumulates of the whole network, of the targeted layers, and of those with a zero weight."""
    network = plan.network_macs
    entries = (("all convolutions", network), ("targeted", plan.targeted_macs), ("with a zero weight", plan.zero_macs))
    rows = tuple((name, f"{macs / 1e9:.3f}", percent(macs / network)) for name, macs in entries)
    return Table((f"MACs at {plan.image_size} px", "GMACs", "share"), rows)


def predicted_size_table(plan: Plan) -> Table:
    """Predicted size of the saved file in every dtype and layout; the recipe's own is marked."""
    dense = {size.dtype: size.size_bytes for size in plan.sizes if size.layout == "dense"}
    rows = []
    for size in plan.sizes:
        mark = "<- this recipe" if (size.dtype, size.layout) == (plan.dtype, plan.layout) else ""
        times = f"{size.size_bytes / dense[size.dtype]:.3f}"
        rows.append((size.dtype, size.layout, megabytes(size.size_bytes), times, mark))
    return Table(("dtype", "layout", "MB", "x dense", ""), tuple(rows), text_columns=2)


def time_table(times: Sequence[StageTime]) -> Table:
    """Estimated time of each stage, and of all together."""
    rows = [(time.stage, time.basis, duration(time.seconds)) for time in times]
    known = [time.seconds for time in times if time.seconds is not None]
    total = duration(sum(known)) if len(known) == len(times) else f"more than {duration(sum(known))}"
    return Table(("stage", "measured on this machine", "about"), (*rows, ("total", "", total)), text_columns=2)
