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
IMAGE_SIZE = 640
CONF_THRES, IOU_THRES, MAX_DET = 0.25, 0.45, 300  # as YOLOv5 detects and exports
EXPORTED_BY = "exported_by"  # the key by which an exported file is known as one
