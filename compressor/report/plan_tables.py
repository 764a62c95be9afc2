"""What a run would do as tables: layers, arithmetic, file sizes and times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from compressor.report.tables import Table, rows_table
from compressor.results.changes import Rows
from compressor.results.plan import Plan, StageTime
from compressor.results.units import duration, megabytes, percent


def plan_table(plan: Plan, change: Rows) -> Table:
    """The changes of a step, layer by layer, with each layer's share of the network's MACs."""
    shares = [plan.macs[name] / plan.network_macs for name, *_ in change.cells]
    with_shares = replace(
        change,
        headers=(*change.headers, "MACs"),
        cells=tuple((*row, percent(share)) for row, share in zip(change.cells, shares, strict=True)),
        total=(*change.total, percent(sum(shares))) if change.total else (),
    )
    return rows_table(with_shares)


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
