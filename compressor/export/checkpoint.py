"""A `.pt` that stock YOLOv5 loads, runs and trains: a pickle of upstream's class names, written without its code.

Every class is stood in for by an empty one of the same name, which holds upstream's attributes. They are importable
only while the file is written: pickle looks up what it names.
"""

from __future__ import annotations

import copy
import io
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from compressor.export.mark import EXPORTED_BY
from compressor.models.detector import Detector
from compressor.models.yolov5.architecture import architecture_to_yaml
from compressor.models.yolov5.blocks import BN_EPS, BN_MOMENTUM, C3, SPP, SPPF, Bottleneck, Concat, Conv, Focus
from compressor.models.yolov5.detect import Detect
from compressor.version import __version__

_lock = threading.Lock()
_HYP = {
    "lr0": 0.01,
    "lrf": 0.01,
    "momentum": 0.937,
    "weight_decay": 0.0005,
    "warmup_epochs": 3.0,
    "warmup_momentum": 0.8,
    "warmup_bias_lr": 0.1,
    "box": 0.05,
    "cls": 0.5,
    "cls_pw": 1.0,
    "obj": 1.0,
    "obj_pw": 1.0,
    "iou_t": 0.2,
    "anchor_t": 4.0,
    "fl_gamma": 0.0,
    "hsv_h": 0.015,
    "hsv_s": 0.7,
    "hsv_v": 0.4,
    "degrees": 0.0,
    "translate": 0.1,
    "scale": 0.5,
    "shear": 0.0,
    "perspective": 0.0,
    "flipud": 0.0,
    "fliplr": 0.5,
    "mosaic": 1.0,
    "mixup": 0.0,
    "copy_paste": 0.0,
    "label_smoothing": 0.0,
}  # upstream's defaults since v6.1


def _stand_in(name: str) -> type[nn.Module]:
    module, _, kind = name.rpartition(".")
    return type(kind, (nn.Module,), {"__module__": module})


_MODEL = _stand_in("models.yolo.Model")  # the name in every release: from v6.2 on it is an alias
_DETECT = _stand_in("models.yolo.Detect")
_BLOCKS = {block: _stand_in(f"models.common.{block.__name__}") for block in (Conv, Bottleneck, C3, SPP, SPPF, Focus)}
_CONCAT = _stand_in("models.common.Concat")


def checkpoint_bytes(stored: Detector, dtype: torch.dtype) -> bytes:
    """The file's bytes; the same for the same model.

    A network whose BatchNorm is folded gets one in every block that changes nothing, since upstream folds what it
    loads: a mean of 0, a variance and epsilon of together 1, and the bias of the convolution. It is exact, and takes
    upstream's training as well; but its statistics are not those of the data.

    Args:
        stored: the network as its file holds it, BatchNorm separate where that is known.
        dtype: of the weights; float16 as upstream's own files, or float32.
    """
    content = {
        EXPORTED_BY: f"compressor {__version__}",
        "epoch": -1,
        "best_fitness": None,
        "model": _model(stored, dtype),
        "ema": None,
        "updates": None,
        "optimizer": None,
        "opt": None,
        "git": None,
        "date": None,
    }
    file = io.BytesIO()
    with _importable():
        torch.save(content, file)
    return file.getvalue()


@contextmanager
def _importable() -> Iterator[None]:
    """The stand-ins can be found by name; what stood under these names before comes back."""
    package, yolo, common = (ModuleType(name) for name in ("models", "models.yolo", "models.common"))
    for stand_in in (_MODEL, _DETECT):
        setattr(yolo, stand_in.__name__, stand_in)
    for stand_in in (*_BLOCKS.values(), _CONCAT):
        setattr(common, stand_in.__name__, stand_in)
    with _lock:
        before = {module.__name__: sys.modules.get(module.__name__) for module in (package, yolo, common)}
        sys.modules.update({module.__name__: module for module in (package, yolo, common)})
        try:
            yield
        finally:
            for name, module in before.items():
                if module is None:
                    del sys.modules[name]
                else:
                    sys.modules[name] = module


def _model(stored: Detector, dtype: torch.dtype) -> nn.Module:
    architecture = stored.spec
    layers = []
    for index, (layer, row) in enumerate(zip(stored.model, architecture.rows, strict=True)):
        converted = _converted(layer, dtype)
        place = {
            "i": index,
            "f": row.sources[0] if len(row.sources) == 1 else list(row.sources),
            "type": f"{type(converted).__module__}.{type(converted).__name__}",
            "np": sum(parameter.numel() for parameter in converted.parameters()),
        }
        vars(converted).update(place)  # `type` is a method of every module, which upstream overwrites
        layers.append(converted)
    stride = torch.tensor(stored.strides, dtype=torch.float32)
    return _filled(
        _MODEL,
        yaml=architecture_to_yaml(architecture),
        yaml_file=f"yolov5{architecture.stock_size or '_custom'}.yaml",  # by which upstream calls the model
        model=nn.Sequential(*layers),
        save=sorted(architecture.kept_outputs),
        names=list(
            stored.names
        ),  # releases up to v6.2 number a list and take a mapping's keys; later ones number it too
        nc=architecture.nc,
        stride=stride,
        inplace=True,
        hyp=_gains(architecture.nc, len(stored.strides)),
        class_weights=torch.ones(architecture.nc),
        **({"gr": 1.0} if architecture.generation == "v5" else {}),
    ).eval()


def _gains(nc: int, levels: int) -> dict[str, float]:
    """Settings of training at 640 px, as upstream leaves them on what it trained: its defaults, scaled by its rule.

    What the model was trained with is not known; upstream's training sets its own.
    """
    share = 3 / levels
    return {**_HYP, "box": _HYP["box"] * share, "cls": _HYP["cls"] * nc / 80 * share, "obj": _HYP["obj"] * share}


def _converted(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The same module as upstream writes it."""
    match module:
        case Conv():
            conv, bn = _conv(module, dtype)
            return _filled(_BLOCKS[Conv], conv=conv, bn=bn, act=copy.deepcopy(module.act))
        case Bottleneck():
            return _filled(_BLOCKS[Bottleneck], **_children(module, dtype), add=module.shortcut)
        case C3() | SPP() | SPPF() | Focus():
            return _filled(_BLOCKS[type(module)], **_children(module, dtype))
        case Concat():
            return _filled(_CONCAT, d=1)
        case Detect():
            return _detect(module, dtype)
        case nn.Sequential():
            return nn.Sequential(*(_converted(each, dtype) for each in module))
        case nn.ModuleList():
            return nn.ModuleList(_converted(each, dtype) for each in module)
        case nn.Conv2d():
            return _plain_convolution(module, dtype, bias=module.bias is not None)
        case nn.MaxPool2d():
            return nn.MaxPool2d(module.kernel_size, stride=module.stride, padding=module.padding)
        case nn.Upsample():
            return nn.Upsample(scale_factor=module.scale_factor, mode=module.mode, align_corners=module.align_corners)
    raise AssertionError(f"YOLOv5 has no {type(module).__name__}")


def _children(module: nn.Module, dtype: torch.dtype) -> dict[str, nn.Module]:
    return {name: _converted(child, dtype) for name, child in module.named_children()}


def _filled(kind: type[nn.Module], **attributes: Any) -> nn.Module:
    module = kind()
    for name, value in attributes.items():
        setattr(module, name, value)
    return module


def _conv(block: Conv, dtype: torch.dtype) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    convolution = _plain_convolution(block.conv, dtype, bias=False)
    bn = nn.BatchNorm2d(block.conv.out_channels, eps=BN_EPS, momentum=BN_MOMENTUM)
    if block.bn is not None:
        state = {name: _as(tensor, dtype) for name, tensor in block.bn.state_dict().items()}
    else:
        assert block.conv.bias is not None
        ones = torch.ones(block.conv.out_channels)
        state = {
            "weight": ones.to(dtype),
            "bias": _as(block.conv.bias, dtype),
            "running_mean": torch.zeros_like(ones).to(dtype),
            "running_var": ones - BN_EPS,  # float32: no float16 makes the sum 1
            "num_batches_tracked": torch.tensor(0),
        }
    bn.load_state_dict(state, assign=True)
    return convolution, bn.requires_grad_(False)


def _plain_convolution(conv: nn.Conv2d, dtype: torch.dtype, *, bias: bool) -> nn.Conv2d:
    with torch.device("meta"):
        plain = nn.Conv2d(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]  # a pair, as nn.Conv2d keeps it
            conv.stride,  # type: ignore[arg-type]
            conv.padding,  # type: ignore[arg-type]
            groups=conv.groups,
            bias=bias,
        )
    state = {name: tensor for name, tensor in conv.state_dict().items() if bias or name == "weight"}
    plain.load_state_dict({name: _as(tensor, dtype) for name, tensor in state.items()}, assign=True)
    return plain.requires_grad_(False)


def _detect(head: Detect, dtype: torch.dtype) -> nn.Module:
    converted = _filled(
        _DETECT,
        nc=head.nc,
        no=head.no,
        nl=head.levels,
        na=head.na,
        grid=[torch.zeros(1)] * head.levels,  # made again at the first image
        m=_converted(head.m, dtype),
        inplace=True,
        stride=torch.tensor(head.strides, dtype=torch.float32),
    )
    converted.register_buffer("anchors", _as(head.anchors, dtype))
    if "anchor_grid" in dict(head.named_buffers()):  # a buffer up to v5.0, a list made again since
        converted.register_buffer("anchor_grid", _as(head.get_buffer("anchor_grid"), dtype))
    else:
        vars(converted)["anchor_grid"] = [torch.zeros(1)] * head.levels
    return converted


def _as(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.detach().cpu().to(dtype if tensor.is_floating_point() else tensor.dtype).clone()
