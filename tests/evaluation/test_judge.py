import json
from pathlib import Path

import pytest
import torch

from compressor.data.batches import load_batches, plan_batches
from compressor.data.dataset import Dataset
from compressor.errors import DatasetError
from compressor.evaluation.boxes import xywh_to_xyxy
from compressor.evaluation.judge import check_classes, labels_in_network_pixels
from compressor.evaluation.predict import ImageDetections
from tests.data.test_batches import golden_samples


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


def test_data_of_another_number_of_classes_is_refused_with_both_lists() -> None:
    dataset = Dataset("fruit.yaml", {}, ("apple", "pear"), None)
    check_classes(("a", "b"), dataset)
    with pytest.raises(
        DatasetError, match=r"fruit.yaml: D409 the model has 3 classes \(a, b, c\), .* 2 \(apple, pear\)"
    ):
        check_classes(("a", "b", "c"), dataset)
