import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from compressor.evaluation.network import inference_network
from compressor.models.detector import Detector
from compressor.models.yolov5.architecture import Generation, stock_architecture
from compressor.models.yolov5.build import build
from compressor.models.yolov5.detect import head_of, scored
from compressor.models.yolov5.fuse import fuse
from compressor.models.yolov5.onednn import FusedConv2d, has_fused_kernels, prepare_for_cpu
from tests.decoded import detections
from trials.seeded import fill

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[3]


def plain(generation: Generation) -> Detector:
    return fuse(fill(build(stock_architecture(generation, "n", nc=3))).eval().requires_grad_(False))


def prepared(model: Detector) -> Detector:
    replica = copy.deepcopy(model)
    prepare_for_cpu(replica)
    return replica


def images() -> Tensor:
    return torch.rand(2, 3, 96, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("generation", ["v6", "v5"])
def test_numbers_are_those_of_the_plain_modules(generation: Generation) -> None:
    model = plain(generation)
    expected, ready = detections(model, images()), prepared(model)
    found = head_of(ready).detections(ready(images()))
    scale = torch.ones(7)
    scale[:4] = 96  # boxes in parts of the image's side
    assert float(((found - expected) / scale).abs().max()) < 1e-5


def test_without_fused_kernels_the_modules_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compressor.models.yolov5.onednn.has_fused_kernels", lambda _: False)
    model = plain("v6")
    ready = prepared(model)
    assert not any(isinstance(module, FusedConv2d) for module in ready.modules())
    torch.testing.assert_close(
        head_of(ready).detections(ready(images())), detections(model, images()), rtol=1e-4, atol=1e-4
    )


@pytest.mark.skipif(not has_fused_kernels(torch.float32), reason="this build of torch has no oneDNN")
def test_convolutions_and_activations_are_one_kernel() -> None:
    ready = prepared(plain("v6"))
    assert not any(isinstance(module, nn.SiLU | nn.Conv2d) for module in ready.modules())
    fused = {name for name, module in ready.named_modules() if isinstance(module, FusedConv2d)}
    assert fused == {name for name, module in plain("v6").named_modules() if isinstance(module, nn.Conv2d)}


def test_the_head_decodes_the_same_logits_to_the_same_bits() -> None:
    model = plain("v6")
    heads = [conv for conv in head_of(model).m if isinstance(conv, nn.Conv2d)]
    features = [torch.rand(2, conv.in_channels, 8 // 2**i, 6) for i, conv in enumerate(heads)]
    raw = head_of(model)(features)
    head = head_of(prepared(model))
    assert torch.equal(head.detections(raw), scored(head_of(model).decode(raw)))


def test_bfloat16_is_close_and_keeps_the_anchors_exact() -> None:
    model = plain("v6")
    network = inference_network(model, CPU, "bfloat16")
    assert network.dtype == torch.bfloat16
    found, expected = network.predict(images().bfloat16()), detections(model, images())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0.5)
    assert not torch.equal(found, expected)
    assert network.model is not None
    assert torch.equal(head_of(network.model).anchors, head_of(model).anchors)


def test_a_processor_without_instructions_for_bfloat16_computes_it_all_the_same() -> None:
    code = "from tests.models.yolov5.test_onednn import *; test_bfloat16_is_close_and_keeps_the_anchors_exact()"
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)
