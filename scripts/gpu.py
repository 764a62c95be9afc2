"""What only a CUDA device can show: the tests that are for a device, and YOLOv5n's AP and speed there. `make gpu`.

It uses the Python and the packages that are there and installs nothing. COMPRESSOR_TEST_DATA names the folder with the
golden vectors, YOLOv5n and the images; what needs them is left out without it, and says so. It ends with 0 where all
held, 1 where something did not, 2 where a package or the device is missing, and after eight minutes in any case.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULES = {"markdown-it-py": "markdown_it", "opencv-python-headless": "cv2", "pyyaml": "yaml"}  # named otherwise
FOR_TESTS = ("pytest", "hypothesis")
LIMIT_S = 480
SAME_AP = 0.001
BATCH, PASSES, IMAGE_SIZE = 32, 30, 640


def missing_packages() -> list[str]:
    """Of those that pyproject.toml asks for, and those of the tests, the ones that cannot be imported."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    names = [name.partition(">")[0].partition("<")[0].partition("=")[0] for name in wanted]
    return [name for name in (*names, *FOR_TESTS) if find_spec(MODULES.get(name, name)) is None]


def device_tests(device: str, limit_s: float) -> bool:
    """Whether the tests that are for a device hold on this one."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-rs", "tests/test_device.py", "-p", "no:cacheprovider"]
    environment = {**os.environ, "COMPRESSOR_TEST_DEVICE": device, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, timeout=limit_s, check=False).returncode == 0


def ap(weights: Path, data: Path, device: str, limit_s: float) -> float:
    """AP of a model on images, by the command itself."""
    words = ["evaluate", weights, "--data", data, "--device", device, "--batch-size", BATCH, "--json"]
    command = [sys.executable, "-m", "compressor", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, timeout=limit_s, check=True, stdout=subprocess.PIPE)
    return float(json.loads(done.stdout)["metrics"]["coco"]["AP"])


def data_yaml(shared: Path, folder: Path) -> Path:
    """A description of the validation images."""
    from compressor.evaluation.coco import COCO_NAMES  # noqa: PLC0415  # after the packages were looked for

    place = folder / "coco_val.yaml"
    images = {"path": str(shared / "data" / "coco_val"), "val": "images", "annotations": "annotations.json"}
    place.write_text(json.dumps({**images, "names": list(COCO_NAMES)}), encoding="utf-8")  # JSON is YAML
    return place


def speed(weights: Path, device: str) -> str:
    """Images per second of the network as evaluations run it, in turns with a plain eager loop in the same number type.

    The plain loop is the fused network as it is, in float16, without anything prepared.
    """
    import torch  # noqa: PLC0415  # after it was looked for

    from compressor.artifact.load import load_model  # noqa: PLC0415
    from compressor.evaluation.network import inference_network  # noqa: PLC0415
    from compressor.evaluation.timing import one_pass, take_turns  # noqa: PLC0415
    from compressor.models.families import family_of  # noqa: PLC0415

    model = load_model(weights).model
    network = inference_network(model, torch.device(device))
    family = family_of(model)
    plain = family.fold(model).eval().to(device, network.dtype)
    images = torch.rand(BATCH, 3, IMAGE_SIZE, IMAGE_SIZE, device=device, dtype=network.dtype)

    def plain_pass() -> None:
        with torch.inference_mode():
            family.decode(plain, plain(images))
        if network.device.type == "cuda":
            torch.cuda.synchronize(device)

    with torch.inference_mode():
        found = network.predict(images)
        agreed = float((found - family.decode(plain, plain(images))).abs().max())
    ours, theirs = take_turns([one_pass(network, images), plain_pass], PASSES, 5)
    rates = [1e3 * BATCH / statistics.median(laps.wall_ms) for laps in (ours, theirs)]
    return (
        f"{weights.stem}, {BATCH} images of {IMAGE_SIZE} px in {str(network.dtype).removeprefix('torch.')}, median of "
        f"{PASSES} in turns: {rates[0]:.0f} images/s, a plain eager loop {rates[1]:.0f}: {rates[0] / rates[1]:.2f} x; "
        f"outputs differ by at most {agreed:.3g}"
    )


def main(device: str = "cuda:0") -> int:
    """Everything, in order; see the module's docstring for the exit code."""
    end = time.monotonic() + LIMIT_S
    missing = missing_packages()
    if missing:
        print(f"these packages are missing, and nothing is installed here: {', '.join(missing)}", file=sys.stderr)
        return 2
    import torch  # noqa: PLC0415  # after it was looked for

    if not torch.cuda.is_available():
        print(f"torch {torch.__version__} finds no CUDA device here", file=sys.stderr)
        return 2
    name, python = torch.cuda.get_device_name(device), sys.version.split()[0]
    print(f"{name}, torch {torch.__version__}, Python {python}", flush=True)
    held = device_tests(device, end - time.monotonic())
    shared = Path(os.environ.get("COMPRESSOR_TEST_DATA", ""))
    weights = shared / "data" / "weights" / "yolov5n_coco.pt"
    if not weights.is_file():
        print("left out: AP and speed, since COMPRESSOR_TEST_DATA names no folder with YOLOv5n and images")
        return 0 if held else 1
    with tempfile.TemporaryDirectory() as folder:
        data = data_yaml(shared, Path(folder))
        figures = [ap(weights, data, where, end - time.monotonic()) for where in ("cpu", device)]
    same = abs(figures[0] - figures[1]) <= SAME_AP
    verdict = f"{'' if same else 'NOT '}within {SAME_AP}"
    print(f"AP of YOLOv5n: {figures[0]:.4f} on the CPU, {figures[1]:.4f} on {device}: {verdict}", flush=True)
    print(speed(weights, device))
    return 0 if held and same else 1


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    try:
        sys.exit(main())
    except subprocess.TimeoutExpired:
        sys.exit(f"stopped after {LIMIT_S} s")
