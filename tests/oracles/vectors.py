"""The committed vectors in tests/golden: inputs of our own seeds, and what the plain references make of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.oracles import figures, images, loss, network, suppression

Array = NDArray[Any]
Floats = NDArray[np.float32]
FOLDER = Path(__file__).parents[1] / "golden"


def candidates(
    seed: int, bs: int, n: int, nc: int, size: float = 640.0, clusters: int = 12, degenerate: bool = False
) -> Floats:
    """Seeded decoded outputs (bs, n, 5 + nc) with boxes in clusters, some of them without sense where `degenerate`."""
    rs = np.random.RandomState(seed)
    u = rs.random_sample
    p = np.zeros((bs, n, 5 + nc))
    for b in range(bs):
        c = u((clusters, 2)) * size
        s = 20 + u((clusters, 2)) * 180
        k = rs.randint(0, clusters, n)
        p[b, :, 0:2] = c[k] + (2 * u((n, 2)) - 1) * 14
        p[b, :, 2:4] = s[k] * (0.8 + 0.4 * u((n, 2)))
        v = u(n)
        p[b, :, 4] = v * v
        cl = rs.randint(0, nc, (clusters, 3))
        v = u((n, nc))
        p[b, :, 5:] = 0.3 * v * v * v * v
        for j in range(3):
            p[b, np.arange(n), 5 + cl[k, j]] = u(n)
    if degenerate:
        p[:, :20, 2] = 1.0
        p[:, 20:25, 3] = 9000.0
    return p.astype(np.float32)


SUPPRESSION: dict[str, dict[str, Any]] = {  # options of each case
    "several_classes": {"conf_thres": 0.001, "iou_thres": 0.65},
    "ten": {"conf_thres": 0.001, "iou_thres": 0.9, "max_det": 10},
    "none": {"conf_thres": 0.999, "iou_thres": 0.5},
    "one_class": {"conf_thres": 0.001, "iou_thres": 0.6},
    "odd_boxes": {"conf_thres": 0.001, "iou_thres": 0.6},
}
LETTERBOX = {  # height and width of the picture, and of the rectangle
    "fits": ((41, 30), (64, 64)),
    "odd_padding": ((45, 60), (64, 63)),
    "shrinks": ((90, 61), (64, 48)),
    "shrinks_wide": ((33, 101), (64, 96)),
    "exact": ((64, 32), (64, 32)),
}
PICTURES = ((64, 40), (40, 64), (52, 52), (90, 31), (33, 70), (64, 63), (20, 12))  # width and height
BATCHES = {"small": (64, 2, 32, 0.5), "no_margin": (64, 3, 32, 0.0), "wide_strides": (96, 2, 64, 0.5)}
NETWORKS: dict[str, tuple[network.Generation, bool]] = {
    "v5": ("v5", False),
    "v5_p6": ("v5", True),
    "v6": ("v6", False),
    "v6_p6": ("v6", True),
}
TINY = (0.33, 0.0625)  # depth and width
LOSS: dict[str, tuple[bool, int, int, dict[str, float]]] = {  # P6, classes, targets, changed settings
    "plain": (False, 3, 9, {}),
    "smooth": (False, 3, 24, {"label_smoothing": 0.1}),
    "one_class": (False, 1, 6, {}),
    "four_levels": (True, 3, 9, {"box": 0.0375}),
    "nothing": (False, 3, 0, {}),
    "focal": (False, 3, 9, {"fl_gamma": 1.5, "cls_pw": 0.8, "obj_pw": 1.3}),
}
HYP = {"box": 0.05, "cls": 0.5, "cls_pw": 1.0, "obj": 1.0, "obj_pw": 1.0, "anchor_t": 4.0}


def pixels(seed: int, height: int, width: int) -> images.Image:
    """A picture of noise."""
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3)).astype(np.uint8)


def noise(p6: bool) -> Floats:
    """An image (3, H, W) for the networks with four levels or three."""
    return np.random.RandomState(p6).random_sample((3, 64, 128 if p6 else 96)).astype(np.float32)


def suppression_vectors() -> dict[str, Array]:
    """`CASE.rows` (n, 5 + classes) and `CASE.detections` (m, 6)."""
    found: dict[str, Array] = {}
    for seed, (case, options) in enumerate(SUPPRESSION.items(), 701):
        rows = candidates(seed, 1, 120, 1 if case == "one_class" else 6, degenerate=case == "odd_boxes")[0]
        found |= {f"{case}.rows": rows, f"{case}.detections": suppression.detections(rows, **options)}
    return found


def letterbox_vectors() -> dict[str, Array]:
    """`CASE.padded` and `CASE.pad` of `pixels(seed, ...)`, seeds from 0."""
    found: dict[str, Array] = {}
    for seed, (case, (size, shape)) in enumerate(LETTERBOX.items()):
        padded, pad = images.letterbox(pixels(seed, *size), shape)
        found |= {f"{case}.padded": padded, f"{case}.pad": np.array(pad)}
    return found


def batch_vectors() -> dict[str, Array]:
    """`CASE.shapes` of the batches, `CASE.order` of the pictures; `CASE.ID.tensor`, `.ratios` and `.pad` of each."""
    found: dict[str, Array] = {}
    for case, (image_size, batch_size, stride, pad) in BATCHES.items():
        planned = images.batches(list(PICTURES), image_size, batch_size, stride, pad)
        found[f"{case}.shapes"] = np.array([shape for shape, _ in planned])
        found[f"{case}.order"] = np.array([i for _, members in planned for i in members])
        for shape, i in ((shape, i) for shape, members in planned for i in members):
            tensor, ratios, padding = images.loaded(pixels(i, *PICTURES[i][::-1]), shape, image_size)
            found |= {f"{case}.{i}.tensor": tensor, f"{case}.{i}.ratios": np.array(ratios)}
            found[f"{case}.{i}.pad"] = np.array(padding)
    return found


def forward_vectors() -> dict[str, Array]:
    """`CASE.raw0` (3, rows, columns, 8) ... and `CASE.decoded` (n, 8) of `noise`, by the filling rule, in float32."""
    found: dict[str, Array] = {}
    for case, (generation, p6) in NETWORKS.items():
        state = network.seeded(generation, p6, TINY, 3)
        raw = network.Network(generation, p6, state)(noise(p6))
        found |= {f"{case}.raw{level}": each.astype(np.float32) for level, each in enumerate(raw)}
        found[f"{case}.decoded"] = network.decode(raw, p6).astype(np.float32)
    return found


def loss_vectors() -> dict[str, Array]:
    """`CASE.logits0` (2, 3, rows, columns, 5 + classes) ..., `CASE.targets`, `CASE.terms` (4,) and `CASE.gradients`.

    The terms are those of boxes, objectness and classes, and the total; the gradients, sums of each level's.
    `CASE.matches0` (n, 9) ... are image, anchor, row, column, class and box.
    """
    found: dict[str, Array] = {}
    for seed, (case, (p6, classes, count, changed)) in enumerate(LOSS.items(), 11):
        rs = np.random.RandomState(seed)
        places = rs.random_sample((count, 4))
        places[:, 2:] = 0.03 + 0.5 * places[:, 2:] ** 2
        numbers = (rs.randint(0, 2, (count, 1)), rs.randint(0, classes, (count, 1)))
        targets: Floats = np.concatenate((*numbers, places), axis=1).astype(np.float32)
        grids = [(8, 12), (4, 6), (2, 3), (1, 2)][: 4 if p6 else 3]
        logits = [(5 * rs.random_sample((2, 3, *grid, 5 + classes)) - 2.5).astype(np.float32) for grid in grids]
        anchors = loss.grid_anchors(p6)
        terms = loss.loss(logits, targets, anchors, {**HYP, **changed})
        found |= {f"{case}.logits{level}": each for level, each in enumerate(logits)}
        found[f"{case}.targets"] = targets
        found[f"{case}.terms"] = np.array([terms.box, terms.obj, terms.cls, terms.total])
        found[f"{case}.gradients"] = np.array(terms.gradient_sums)
        for level, grid in enumerate(grids):
            matched = loss.matches(targets, anchors[level], grid, HYP["anchor_t"])
            found[f"{case}.matches{level}"] = np.array([(*each[:5], *each[5]) for each in matched]).reshape(-1, 9)
    return found


def figure_vectors() -> dict[str, Array]:
    """Of six pictures `ID.detections` (n, 6), `ID.labels` (m, 5), `ID.right` (n, 10); `classes`, `P`, `R` and `AP`."""
    found: dict[str, Array] = {}
    rs = np.random.RandomState(31)
    for i, count in enumerate((4, 0, 7, 3, 5, 2)):
        corners = rs.randint(0, 300, (count, 2))
        labels = np.concatenate(
            (rs.randint(0, 3, (count, 1)), corners, corners + rs.randint(20, 90, (count, 2))), axis=1
        )
        shifts = rs.randint(-12, 13, (3, count, 4)) * (rs.random_sample((3, count, 1)) < 0.8)
        boxes = np.concatenate([*(labels[:, 1:] + shift for shift in shifts), [[1, 1, 40, 40]]])
        kinds = np.concatenate([*(labels[:, :1],) * 3, [[i % 4]]])
        rows = np.concatenate((boxes, rs.random_sample((len(boxes), 1)), kinds), axis=1).astype(np.float32)
        rows = rows[np.argsort(-rows[:, 4])]
        found |= {f"{i}.detections": rows, f"{i}.labels": labels.astype(np.float32)}
        found[f"{i}.right"] = figures.right(rows, labels.astype(np.float32))
    detections = np.concatenate([found[f"{i}.detections"] for i in range(6)])
    labels = np.concatenate([found[f"{i}.labels"][:, 0] for i in range(6)])
    tp = np.concatenate([found[f"{i}.right"] for i in range(6)])
    worked_out = figures.figures(tp, detections[:, 4], detections[:, 5], labels)
    return found | {name: getattr(worked_out, name) for name in ("classes", "P", "R", "AP")}


VECTORS: dict[str, Callable[[], dict[str, Array]]] = {
    "suppression": suppression_vectors,
    "letterbox": letterbox_vectors,
    "batches": batch_vectors,
    "forward": forward_vectors,
    "loss": loss_vectors,
    "figures": figure_vectors,
}


def committed(name: str) -> dict[str, Array]:
    """The arrays of a file in tests/golden."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        return dict(file)


def commit(name: str, arrays: dict[str, Array]) -> None:
    """Write a file in tests/golden; the same arrays give the same bytes."""
    np.savez_compressed(FOLDER / f"{name}.npz", **arrays)  # type: ignore[arg-type]  # no array is called allow_pickle
