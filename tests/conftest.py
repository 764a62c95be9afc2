"""What several tests need: the place of the real data, a process left as it was, and seeded weights."""

from __future__ import annotations

import os
import re
import signal
import zlib
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: several tests run at once, each with processes of its own

import numpy as np
import pytest
import torch
from hypothesis import settings
from numpy.typing import NDArray

from compressor.cli import interrupts
from compressor.files.signals import ENDING
from compressor.models.detector import Detector
from tests.skips import pytest_collection_modifyitems, pytest_terminal_summary

__all__ = ["pytest_collection_modifyitems", "pytest_terminal_summary"]

settings.register_profile("steady", deadline=None)  # a busy machine is no fault
settings.load_profile("steady")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite golden texts; then review the diff")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with `spec/` and `data/`: real checkpoints, images, golden vectors and reference figures."""
    place = os.environ.get("COMPRESSOR_TEST_DATA")
    if not place or not Path(place).is_dir():
        pytest.skip("COMPRESSOR_TEST_DATA does not name the folder with the real checkpoints and golden vectors")
    return Path(place).resolve()


@pytest.fixture(scope="session")
def golden(shared: Path) -> Path:
    """The golden vectors."""
    return shared / "spec" / "golden"


@pytest.fixture
def handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a command sets for its process is put back."""
    earlier = {number: signal.getsignal(number) for number in ENDING}
    monkeypatch.setattr(interrupts, "_came", [])
    yield
    for number, handler in earlier.items():
        signal.signal(number, handler)


def fill_array(key: str, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    """Seeded values of one state-dict entry, by the golden vectors' filling rule; None keeps the built value."""
    leaf = key.rsplit(".", 1)[1]
    if leaf in ("anchors", "anchor_grid", "num_batches_tracked"):
        return None
    u = np.random.RandomState(zlib.crc32(key.encode("ascii"))).random_sample(shape)
    if leaf == "running_var" or (leaf == "weight" and len(shape) == 1):
        v = 0.5 + u
    elif leaf in ("running_mean", "bias"):
        v = 0.2 * (2.0 * u - 1.0)
    else:
        v = np.sqrt(6.0 / np.prod(shape[1:])) * (2.0 * u - 1.0)
        if re.search(r"\.m\.\d+\.cv2\.conv\.weight$", key):
            v = 0.25 * v
    filled: NDArray[np.float32] = v.astype(np.float32)
    return filled


def fill(model: Detector) -> Detector:
    """Give an unfused model the golden vectors' seeded weights, in place."""
    state = model.state_dict()
    for key, value in state.items():
        filled = fill_array(key, tuple(value.shape))
        if filled is not None:
            state[key] = torch.from_numpy(filled)
    model.load_state_dict(state)
    return model
