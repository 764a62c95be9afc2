"""The formats of `compressor export`."""

from typing import Literal

ExportFormat = Literal["yolov5", "dense", "onnx", "openvino", "torchscript"]
GRAPHS = ("onnx", "openvino", "torchscript")
ENDINGS: dict[ExportFormat, str] = {  # of the name, after that of the source
    "yolov5": "_yolov5.pt",
    "dense": "_dense.safetensors",
    "onnx": ".onnx",
    "openvino": "_openvino_model",
    "torchscript": ".torchscript",
}
EXPORTED_BY = "exported_by"  # the key by which an exported file is known as one
