"""`make gpu` says what is missing, and its measurement runs."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from trials.tiny import tiny_weights

SCRIPT = Path(__file__).parents[1] / "scripts" / "gpu.py"


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_missing_is_named(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gpu.missing_packages() == []
    there = gpu.find_spec
    monkeypatch.setattr(gpu, "find_spec", lambda name: None if name in ("cv2", "numba") else there(name))
    assert gpu.main() == 2
    assert capsys.readouterr().err.endswith("nothing is installed here: numba, opencv-python-headless\n")


def test_no_device_is_said(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert gpu.main() == 2
    assert "finds no CUDA device here" in capsys.readouterr().err


def test_speed_is_of_equal_outputs(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {"BATCH": 2, "PASSES": 2, "IMAGE_SIZE": 64}.items():
        monkeypatch.setattr(gpu, name, value)
    told = gpu.speed(tiny_weights(tmp_path), "cpu")
    assert "2 images of 64 px in float32" in told
    assert float(told.rpartition(" ")[2]) < 1e-3
