"""The machine and the packages a run was made with."""

from __future__ import annotations

import os
import platform
import zlib
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch

from compressor import __version__
from compressor.results.run import Environment

_PACKAGES = ("torch", "numpy", "numba", "opencv-python-headless", "pycocotools", "safetensors", "matplotlib")
ZLIB = "zlib"  # by which gzip sizes come out alike
_RUNTIMES = ("onnxruntime", "openvino")  # where they are installed


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
