"""Outside of `models/` nothing knows a family: neither its modules by name, nor where its outputs hold what."""

import ast
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from compressor.evaluation.network import inference_network
from compressor.evaluation.nms import non_max_suppression
from compressor.export.check import compare
from compressor.models import families
from compressor.models.detector import Detector
from compressor.models.yolov5.architecture import stock_architecture
from compressor.results.run import Agreement

PACKAGE = Path(__file__).parents[2] / "compressor"
KNOWN = {
    "export/checkpoint.py": "writes a `.pt` of stock YOLOv5, module by module",
}
OUTSIDE = sorted(
    file.relative_to(PACKAGE).as_posix()
    for file in PACKAGE.rglob("*.py")
    if file.relative_to(PACKAGE).parts[0] != "models"
)


def imported(tree: ast.AST) -> set[str]:
    """Modules that a file imports, and what it takes from them."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_only_known_files_import_a_family() -> None:
    trees = {file: ast.parse((PACKAGE / file).read_text(encoding="utf-8")) for file in OUTSIDE}
    importing = {
        file: sorted(name for name in imported(tree) if name.startswith("compressor.models.yolov5"))
        for file, tree in trees.items()
    }
    assert {file: names for file, names in importing.items() if names and file not in KNOWN} == {}
    assert all(importing[file] for file in KNOWN)  # each exception is one


def test_nothing_else_counts_or_takes_an_objectness() -> None:
    index = re.compile(r"nc \+ 5|5 \+ nc|names\) \+ 5|\] - 5\b|\[\.\.\., 5:\]|\[\.\.\., 4\]\.sigmoid")
    texts = {file: (PACKAGE / file).read_text(encoding="utf-8") for file in OUTSIDE if file not in KNOWN}
    assert [file for file, text in texts.items() if index.search(text)] == []


class Boxes(nn.Module):
    """A network without objectness: two boxes for each image, with a score for each of two classes."""

    def forward(self, images: Tensor) -> list[Tensor]:
        boxes = torch.tensor([[20.0, 20, 8, 6, 0.25, 0.75], [40, 20, 8, 6, 0.5, 0.125]])
        return [boxes.expand(len(images), 2, 6)]


def test_another_kind_of_output_is_suppressed_and_compared_by_what_the_family_decodes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = SimpleNamespace(for_inference=lambda detector, _device, _dtype: detector, decode=lambda _, raw: raw[0])
    monkeypatch.setattr(families, "yolov5", other)
    spec = stock_architecture("v6", "n", nc=2)
    detector = Detector("yolov5", spec, ("disc", "box"), [Boxes()], [(-1,)], (32,))
    network = inference_network(detector, torch.device("cpu"))
    images = torch.zeros(2, 3, 64, 64)
    found = non_max_suppression(network.predict(images), conf_thres=0.2, iou_thres=0.5)
    wanted = [[16, 17, 24, 23, 0.75, 1], [36, 17, 44, 23, 0.5, 0], [16, 17, 24, 23, 0.25, 0]]
    assert [each.tolist() for each in found] == [wanted, wanted]
    assert compare(network, network, images, None, "model.onnx") == Agreement(2, 0.0, 0.0)
