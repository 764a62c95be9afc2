"""Comparisons of made-up runs beside their exact texts. Run with --update-golden to rewrite them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compressor.artifact.save import Form, Provenance, encode_model
from compressor.errors import InputError
from compressor.report.diff import Part, compare, comparison_tables
from compressor.report.diff_sides import Side, load_side, side_of
from compressor.results.files import FileSize
from compressor.results.network import LayerSparsity
from compressor.results.run import RunRecord
from tests.report.made_up import assert_golden, evaluation, full_record, record
from trials.tiny import tiny_model


def side(run: RunRecord, name: str) -> Side:
    return replace(side_of(run, None), name=name)


def text_of(*sides: Side, only: tuple[Part, ...] = ()) -> str:
    tables = comparison_tables(compare(sides, only))
    return "\n\n".join(f"## {title}\n\n{table.markdown()}" for title, table in tables) + "\n"


def test_equal_runs_differ_in_nothing() -> None:
    for run in (record(), full_record()):
        twin = replace(run, duration_s=1.0, started="2027-01-01T00:00:00+00:00")
        comparison = compare([side(run, "a"), side(twin, "b")])
        assert comparison.equal
        assert comparison_tables(comparison) == []


def test_times_and_machines_do_not_make_runs_unequal() -> None:
    run = record()
    assert run.compressed is not None
    slower = replace(run.compressed, speed=replace(run.compressed.speed, inference_ms=30.0))
    other = replace(run, compressed=slower, environment=replace(run.environment, cores=64))
    comparison = compare([side(run, "a"), side(other, "b")])
    assert comparison.equal
    assert [title for title, _ in comparison_tables(comparison)] == ["Speed", "Environment"]


def test_a_metric_that_one_does_not_have(update_golden: bool) -> None:
    a = record()
    b = replace(
        a,
        recipe={**a.recipe, "data": "other.yaml"},
        compressed=evaluation(None, -0.2),
        layers=(replace(a.layers[0], zeros=100),),
        sizes=replace(a.sizes, artifact=FileSize(3_000, 2_700)),
    )
    assert_golden(text_of(side(a, "a"), side(b, "b")), "diff.md", update_golden)


def test_three_runs_with_intervals_and_exports(update_golden: bool) -> None:
    a = full_record()
    assert a.compressed is not None and a.compressed.resampled is not None and a.exports[0].evaluation is not None
    graph = replace(a.exports[0].evaluation.settings, shapes="squares", used_size=640)
    a = replace(a, exports=(replace(a.exports[0], evaluation=replace(a.exports[0].evaluation, settings=graph)),))
    assert a.compressed is not None and a.compressed.resampled is not None
    low = tuple(None if ap is None else ap - 0.05 for ap in a.compressed.resampled.AP)
    worse = replace(
        evaluation(0.2, -0.15),
        metrics=replace(a.compressed.metrics, coco=replace(a.compressed.metrics.coco, AP=0.2, AP50=0.45)),
        resampled=replace(a.compressed.resampled, AP=low, AP50=low),
    )
    b = replace(
        a,
        name="b",
        compressed=worse,
        exports=(replace(a.exports[0], size_bytes=9, evaluation=replace(worse, settings=graph)),),
    )
    c = replace(b, name="c", compressed=replace(worse, resampled=None))  # predictions were not kept
    assert_golden(text_of(side(a, "a"), side(b, "b"), side(c, "c")), "diff_of_three.md", update_golden)


def test_other_classes_and_other_layers(update_golden: bool) -> None:
    a = full_record()
    assert a.compressed is not None
    classes = tuple(replace(entry, name=f"new {entry.index}") for entry in a.compressed.metrics.classes[6:])
    more = a.compressed.metrics.classes[:6] + classes
    other = replace(a.compressed, metrics=replace(a.compressed.metrics, classes=more))
    layers = (LayerSparsity("model.1.conv", "backbone", (8, 8, 3, 3), 576, 288),)
    b = replace(a, compressed=other, layers=layers)
    assert_golden(text_of(side(a, "a"), side(b, "b")), "diff_of_other_networks.md", update_golden)


def otherwise(run: RunRecord, **settings: Any) -> RunRecord:
    assert run.compressed is not None
    return replace(run, compressed=replace(run.compressed, settings=replace(run.compressed.settings, **settings)))


def test_what_was_not_measured_alike_comes_first_and_has_no_interval() -> None:
    a = full_record()
    assert a.compressed is not None and a.compressed.resampled is not None
    worse = replace(a.compressed, metrics=evaluation(0.2, -0.2).metrics, resampled=a.compressed.resampled)
    b = otherwise(
        replace(a, compressed=replace(worse, metrics=replace(worse.metrics, classes=a.compressed.metrics.classes)))
    )
    alike = compare([side(a, "a"), side(b, "b")])
    assert [each for each in alike.not_alike if "unknown" not in each.values] == []
    assert alike.parts["metrics"][0].intervals != (None,)
    c = replace(otherwise(b, image_size=320, device="cuda:0"), baseline=None)
    three = compare([side(a, "a"), side(b, "b"), side(c, "c")])
    different = {each.name: each.values for each in three.not_alike}
    assert different["image size"] == ("640", "640", "320")
    assert different["device"] == ("cpu", "cpu", "cuda")
    assert different["before evaluated"] == ("yes", "yes", "no")
    assert three.parts["metrics"][0].intervals[0] is not None
    assert three.parts["metrics"][0].intervals[1] is None
    (title, table), *_ = comparison_tables(three)
    assert title == "Not measured alike, so figures cannot be compared"
    assert table.rows[0] == ("image size", "640", "640", "320")
    assert compare([side(a, "a"), side(c, "c")], ("layers",)).not_alike == ()


def test_equal_figures_of_what_was_measured_otherwise_are_not_equal() -> None:
    a, b = side(record(), "a"), side(otherwise(record(), batch_size=1), "b")
    comparison = compare([a, b])
    assert not comparison.equal
    assert [title for title, _ in comparison_tables(comparison)] == [
        "Not measured alike, so figures cannot be compared"
    ]


@pytest.mark.parametrize(("images", "expected"), [(19, "No interval is given: 19 images with objects"), (20, "")])
def test_a_missing_interval_has_its_reason(images: int, expected: str) -> None:
    run = full_record()
    assert run.compressed is not None
    few = replace(run.compressed, data=replace(run.compressed.data, with_objects=images))
    metrics = replace(few.metrics, coco=replace(few.metrics.coco, AP=0.123))
    a, b = replace(run, compressed=few), replace(run, compressed=replace(few, metrics=metrics))
    comparison = compare([side(a, "a"), side(b, "b")])
    assert comparison.without_interval.startswith(expected)
    assert bool(comparison.without_interval) == bool(expected)
    assert compare([side(a, "a"), side(a, "b")]).without_interval == ""


def test_only_what_was_asked_for() -> None:
    a, b = side(record(), "a"), side(replace(record(), sizes=full_record().sizes, recipe={"version": 2}), "b")
    assert [title for title, _ in comparison_tables(compare([a, b], ("recipe",)))] == ["Recipe"]
    assert compare([a, b], ("metrics",)).equal


def test_masks_are_compared_weight_by_weight(tmp_path: Path) -> None:
    paths = []
    for name, layout in (("a", "bitmask"), ("b", "dense")):
        model = tiny_model()
        weight = model.state_dict()["model.24.m.0.weight"].view(-1)
        weight[0 if name == "a" else 1] = 0
        big = model.state_dict()["model.8.cv3.conv.weight"]
        big[big.abs() < big.abs().quantile(0.6)] = 0
        paths.append(tmp_path / f"{name}.safetensors")
        form = Form("float32", layout)  # type: ignore[arg-type]  # a known layout
        paths[-1].write_bytes(encode_model(model, form, Provenance({}, "tiny", "0" * 64)))
    comparison = compare([load_side(path) for path in paths])
    (found,) = comparison.parts["layers"]
    assert found.name == "model.24.m.0"
    total = tiny_model().state_dict()["model.24.m.0.weight"].numel()
    assert found.values == (1 / total, 1 / total)  # as many zeros, in other places
    assert found.agreement == (1 - 2 / total,)
    damaged = paths[0].read_bytes()
    paths[0].write_bytes(damaged[: len(damaged) // 2])
    with pytest.raises(InputError, match="U902"):
        load_side(paths[0])


def test_zeros_are_those_of_the_tensors(tmp_path: Path) -> None:
    model = tiny_model()
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter[torch.rand(parameter.shape, generator=torch.Generator().manual_seed(0)) < 0.7] = 0
    file = tmp_path / "m.safetensors"
    file.write_bytes(encode_model(model, Form("float16", "bitmask"), Provenance({}, "tiny", "0" * 64)))
    state = model.state_dict()
    for layer in load_side(file).layers:
        assert layer.zeros == int(np.count_nonzero(state[f"{layer.name}.weight"].half().numpy() == 0))
