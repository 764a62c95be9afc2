import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from compressor.data.batches import load_batches, plan_batches
from compressor.data.dataset import load_dataset, read_split
from compressor.evaluation.boxes import xywh_to_xyxy
from compressor.evaluation.evaluate import labels_in_network_pixels, make_evaluator
from compressor.evaluation.network import Network, inference_network
from compressor.evaluation.predict import ImageDetections
from compressor.progress import Silent
from compressor.recipe.schema import Evaluation
from compressor.results.evaluation import EvaluationSettings
from tests.data.test_batches import golden_samples
from trials.tiny import tiny_data, tiny_model

CPU = torch.device("cpu")


def test_labels_in_the_network_input_equal_upstream(golden: Path, tmp_path: Path) -> None:
    expected = json.loads((golden / "data.json").read_text())
    samples = golden_samples(expected, tmp_path)
    for record in expected["dataset"]:
        size = record["imgsz"]
        plans = plan_batches(samples, size, record["batch_size"], record["stride"], record["pad"])
        items = iter(record["items"])
        for batch in load_batches(plans, size, "floor"):
            height, width = batch.images.shape[2:]
            for sample, ratio, pad in zip(batch.samples, batch.ratios, batch.pads, strict=True):
                found = labels_in_network_pixels(
                    ImageDetections(sample, torch.zeros(0, 6), ratio, pad, (height, width))
                )
                rows = torch.tensor(next(items)["labels"]).reshape(-1, 6)  # 0, class, x, y, width, height; normalised
                corners = xywh_to_xyxy(rows[:, 2:]) * torch.tensor([width, height]).repeat(2)
                torch.testing.assert_close(found, torch.cat((rows[:, 1:2], corners), dim=1), rtol=0, atol=3e-4)


def test_an_evaluation_says_by_which_protocol_it_was_made(tmp_path: Path) -> None:
    split = read_split(load_dataset(str(tiny_data(tmp_path))), "val")
    network = inference_network(tiny_model(), CPU)

    def evaluated(network: Network, **settings: Any) -> EvaluationSettings:
        evaluator = make_evaluator(split, Evaluation(image_size=60, **settings), CPU)
        return evaluator.evaluate(network, Silent(), "")[0].settings

    ours, square = evaluated(network, batch_size=4), replace(network, image_size=64)
    squares, others = evaluated(square, batch_size=4), evaluated(square, batch_size=2)
    assert (ours.shapes_in_words, squares.shapes_in_words) == ("rectangles of 64 px", "squares of 64 px")
    assert (ours.image_size, ours.used_size, ours.most_per_class) == (60, 64, None)
    assert ours.protocol != squares.protocol == others.protocol  # neighbours change rectangles only
    assert ours.protocol != evaluated(network, batch_size=2).protocol
    single = evaluated(replace(square, batch_size=1), batch_size=4)
    assert (single.batch_size, single.protocol) == (1, squares.protocol)
    assert ours.protocol != evaluated(network, batch_size=4, iou_thres=0.6).protocol


def test_what_earlier_versions_wrote_was_evaluated_on_rectangles_by_torch() -> None:
    ours = EvaluationSettings(640, 8, 0.001, 0.65, 300, "ceil", "cpu", "float32")
    assert (ours.protocol["shapes"], ours.shapes_in_words) == ("rectangles", "640 px")
    assert replace(ours, runs_on="onnxruntime 1").protocol["shapes"] is None
