"""The machine and the packages a run was made with."""

from __future__ import annotations

import hashlib
import os
import platform
import zlib
from dataclasses import asdict
from functools import cache
from importlib import resources
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from compressor.results.run import Environment
from compressor.version import __version__

_PACKAGES = ("torch", "numpy", "numba", "opencv-python-headless", "pycocotools", "safetensors", "matplotlib")
ZLIB = "zlib"  # by which gzip sizes come out alike
_RUNTIMES = ("onnxruntime", "openvino")  # where they are installed
_BENEATH = ("llvmlite", "pyyaml", "onnx", "onnxscript")  # decide figures or files too, and are told nowhere else
# First parts of the names of environment variables that change how libraries compute.
_OF_TORCH = ("ATEN_", "PYTORCH_", "TORCH_")
_OF_DEVICES = ("CUBLAS_", "CUDA_", "CUDNN_", "NVIDIA_")
_OF_KERNELS = ("DNNL_", "ITEX_", "KMP_", "MKL_", "NUMBA_", "OMP_", "ONEDNN_", "OPENCV_CPU_", "OPENCV_IPP")
_OF_RUNTIMES = ("OPENVINO_", "ORT_")
_SWITCHES = (*_OF_TORCH, *_OF_DEVICES, *_OF_KERNELS, *_OF_RUNTIMES)
_PLACES = ("_DIR", "_PATH")  # endings of names that say where something lies


def describe_environment(device: torch.device) -> Environment:
    """What a reader needs to judge whether figures are comparable."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    return Environment(
        compressor=__version__,
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        processor=_processor(),
        cores=os.cpu_count() or 1,
        device=name,
        packages={
            **{package: version(package) for package in (*_PACKAGES, *filter(find_spec, _RUNTIMES))},
            ZLIB: zlib.ZLIB_RUNTIME_VERSION,
        },
    )


def surroundings(device: torch.device) -> dict[str, Any]:
    """All beside its input that decides what a step gives: part of every key under which finished work is found again.

    Args:
        device: where the step computes.
    """
    return {
        **asdict(describe_environment(device)),
        "beneath": {name: version(name) for name in _BENEATH if _is_installed(name)},
        "computes_on": str(device),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "source": source_sha256(),
        "switches": _switches(),
        "threads": torch.get_num_threads(),
    }


def _switches() -> dict[str, str]:
    asked = ((name, value) for name, value in os.environ.items() if name.startswith(_SWITCHES))
    return {name: value for name, value in asked if not name.endswith(_PLACES)}


@cache
def source_sha256() -> str:
    """Digest of compressor's own source, in hex: a version that is being worked on has no number of its own."""
    digest = hashlib.sha256()
    for name, file in source_files().items():
        digest.update(f"{name}\n{len(content := file.read_bytes())}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def source_files() -> dict[str, Path]:
    """Every Python file of the package, by its path within it."""
    folder = Path(str(resources.files("compressor")))
    return {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*.py"))}


def _is_installed(distribution: str) -> bool:
    return find_spec({"pyyaml": "yaml"}.get(distribution, distribution)) is not None


def load_average() -> float | None:
    """How many processes worked or waited for a processor, in the mean of the last minute; None where no one counts."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):  # Windows has none
        return None


def _processor() -> str:
    """The processor's model name; what Python knows where the system does not tell."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
