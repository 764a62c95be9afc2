"""The vectors in tests/golden are those of the plain references, and these agree with YOLOv5's own outputs.

The second half is skipped where YOLOv5's outputs are not at hand. What equals the vectors equals YOLOv5 there as well.
"""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.oracles import figures, images, loss, network, suppression
from tests.oracles.vectors import FOLDER, VECTORS, candidates, commit, committed
from trials.seeded import fill_array

SIZES = {"n": (0.33, 0.25), "s": (0.33, 0.5), "m": (0.67, 0.75), "l": (1.0, 1.0), "x": (1.33, 1.25)}


@pytest.mark.parametrize("name", VECTORS)
def test_committed_vectors_are_what_the_plain_references_give(name: str, update_golden: bool) -> None:
    """`--update-golden` writes them again."""
    arrays = VECTORS[name]()
    if update_golden:
        commit(name, arrays)
    found = committed(name)
    assert found.keys() == arrays.keys()
    for key, ours in arrays.items():
        assert (found[key].dtype, found[key].shape) == (ours.dtype, ours.shape), key
        np.testing.assert_allclose(found[key], ours, rtol=1e-6, atol=1e-6, err_msg=key)


def test_committed_vectors_are_small() -> None:
    files = list(FOLDER.iterdir())
    assert {file.name for file in files} == {f"{name}.npz" for name in VECTORS}
    assert sum(file.stat().st_size for file in files) < 1_000_000


@pytest.mark.parametrize("name", ["v6_n", "v5_s", "v6_n6", "v5_s6"])
@pytest.mark.parametrize("fused", [False, True])
def test_forward(golden: Path, name: str, fused: bool) -> None:
    generation, size = name.split("_")
    p6, scale = size.endswith("6"), SIZES[size[0]]
    state = network.seeded(generation, p6, scale, 80, fused=fused)  # type: ignore[arg-type]  # v5 or v6
    image = np.random.RandomState(0).random_sample((1, 3, 128, 192 if p6 else 160)).astype(np.float32)
    raw = network.Network(generation, p6, state)(image[0])  # type: ignore[arg-type]
    expected = load_file(golden / "forward" / f"{name}.safetensors")
    outputs = {"decoded": network.decode(raw, p6), **{f"raw{level}": values for level, values in enumerate(raw)}}
    for key, ours in outputs.items():
        if key in expected:
            theirs, values = expected[key][0], ours
        else:
            theirs, values = expected[f"{key}_value"], ours.reshape(-1)[expected[f"{key}_index"]]
        np.testing.assert_allclose(values, theirs, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("fused", [False, True])
def test_names_and_shapes(golden: Path, fused: bool) -> None:
    expected = json.loads(gzip.decompress((golden / "state_dicts.json.gz").read_bytes()))
    assert len(expected) == 18
    for name, forms in expected.items():
        generation, size = name.split("/yolov5")
        ours = network.shapes(generation, size.endswith("6"), *SIZES[size[0]], 80, fused)
        assert ours == {key: tuple(shape) for key, shape, _ in forms["fused" if fused else "unfused"]}, name


SUPPRESSED = (  # every class of a box counts, and classes do not suppress each other
    "val_multilabel",
    "val_multilabel_065",
    "single_class",
    "max_det_10",
    "empty",
    "degenerate",
    "max_nms",
)


def test_suppression(golden: Path) -> None:
    cases = json.loads((golden / "nms.json").read_text())["cases"]
    of_evaluation = [each for each in cases if each["id"] in SUPPRESSED]
    expected = load_file(golden / "nms.safetensors")
    assert len(of_evaluation) == 7
    for case in of_evaluation:
        options = {key: value for key, value in case["args"].items() if key != "multi_label"}
        for image, rows in enumerate(candidates(**case["pred"])):
            found = suppression.detections(rows, **options)
            assert found.tobytes() == expected[f"{case['id']}.{image}"].tobytes(), case["id"]


def test_letterbox(golden: Path) -> None:
    cases = json.loads((golden / "data.json").read_text())["letterbox"]
    padded_only = [case for case in cases if not (case["auto"] or case["scaleFill"] or case["scaleup"])]
    assert len(padded_only) == 5
    for case in padded_only:
        shape = case["new_shape"] if isinstance(case["new_shape"], list) else [case["new_shape"]] * 2
        picture = np.random.RandomState(case["seed"]).randint(0, 256, (*case["shape_hw"], 3)).astype(np.uint8)
        padded, pad = images.letterbox(picture, (shape[0], shape[1]))
        assert list(padded.shape) == case["out_shape"] and list(pad) == case["pad_wh"]
        assert zlib.crc32(padded.tobytes()) == case["crc32"], case


def test_batches(golden: Path) -> None:
    expected = json.loads((golden / "data.json").read_text())
    sizes = [(width, height) for width, height in expected["image_sizes_wh"]]
    for record in expected["dataset"]:
        planned = images.batches(sizes, record["imgsz"], record["batch_size"], record["stride"], record["pad"])
        assert [list(shape) for shape, _ in planned] == record["batch_shapes_hw"]
        placed = [(shape, i) for shape, members in planned for i in members]
        assert [f"{i:012}.png" for _, i in placed] == record["order"]
        for (shape, i), item in zip(placed, record["items"], strict=True):
            width, height = sizes[i]
            picture = np.random.RandomState(2000 + i).randint(0, 256, (height, width, 3)).astype(np.uint8)
            tensor, ratios, pad = images.loaded(picture, shape, record["imgsz"])
            assert list(ratios) == pytest.approx(item["ratio_hw"], abs=1e-12) and list(pad) == item["pad_wh"]
            assert zlib.crc32(tensor.tobytes()) == item["crc32"], item["file"]


def loss_cases(golden: Path) -> Any:
    return json.loads((golden / "loss.json").read_text())["cases"]


def test_loss(golden: Path) -> None:
    vectors = load_file(golden / "loss.safetensors")
    assert len(loss_cases(golden)) == 7
    for case in loss_cases(golden):
        p6, name = case["anchors"] == "P6", case["id"]
        targets = vectors[f"{name}.targets"]
        anchors = loss.grid_anchors(p6)
        logits = [
            (5 * np.random.RandomState(seed).random_sample((case["batch"], 3, *grid, 5 + case["nc"])) - 2.5)
            for seed, grid in zip(case["pred_seeds"], case["grid_shapes"], strict=True)
        ]
        for level, grid in enumerate(case["grid_shapes"]):
            found = loss.matches(targets, anchors[level], tuple(grid), case["hyp"]["anchor_t"])
            assert len(found) == case["matches"][level]
            if found:
                theirs = vectors[f"{name}.layer{level}.image_anchor_gj_gi_class"]
                assert [list(each[:5]) for each in found] == theirs.astype(int).tolist()
                boxes = vectors[f"{name}.layer{level}.tbox_xywh"]
                np.testing.assert_allclose([each[5] for each in found], boxes, atol=1e-5)
        terms = loss.loss([each.astype(np.float32) for each in logits], targets, anchors, case["hyp"])
        ours = (terms.box, terms.obj, terms.cls, terms.total)
        assert ours == pytest.approx([case[key] for key in ("lbox", "lobj", "lcls", "loss")], rel=1e-5, abs=1e-7)
        assert terms.gradient_sums == pytest.approx(case["grad_abs_sum"], rel=1e-5)


def test_figures(golden: Path) -> None:
    vectors = load_file(golden / "metrics.safetensors")
    for name in ("match0", "match1", "match2", "match3"):
        found = figures.right(vectors[f"{name}.detections"], vectors[f"{name}.labels"])
        assert found.tolist() == vectors[f"{name}.correct_v62_v70"].astype(bool).tolist()
    for case in json.loads((golden / "metrics.json").read_text())["ap_per_class"]:
        tp, conf, kinds, labels = (vectors[f"{case['id']}.{key}"] for key in ("tp", "conf", "pred_cls", "target_cls"))
        ours, theirs = figures.figures(tp.astype(bool), conf, kinds, labels), case["expected"]["v6.2-v7.0"]
        assert ours.classes.tolist() == theirs["classes"]
        for values, key in ((ours.P, "p"), (ours.R, "r"), (ours.AP, "ap")):
            np.testing.assert_allclose(values, np.array(theirs[key]).reshape(values.shape), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["tiny_v5.0_stripped", "tiny_v6.0_stripped", "tiny_v7.0_stripped"])
def test_seeded_weights_are_those_of_the_checkpoints(golden: Path, name: str) -> None:
    """Read by pickle's own opcodes alone: the bytes of each seeded tensor lie somewhere in the file."""
    content = (golden / "checkpoints" / f"{name}.pt").read_bytes()
    generation = "v5" if "v5" in name else "v6"
    shapes = network.shapes(generation, False, 0.33, 0.0625, 3, fused=False)  # type: ignore[arg-type]
    arrays = {key: fill_array(key, shape) for key, shape in shapes.items()}
    assert len([key for key, array in arrays.items() if array is not None]) > 250
    for key, array in arrays.items():
        assert array is None or array.astype("<f2").tobytes() in content, key
