"""What several tests need: the place of the real data, and a process left as it was."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: several tests run at once, each with processes of its own

import pytest
from hypothesis import settings

from compressor.cli import interrupts
from compressor.files.signals import ENDING
from tests import order, skips

settings.register_profile("steady", deadline=None)  # a busy machine is no fault
settings.load_profile("steady")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite golden texts; then review the diff")


def pytest_configure(config: pytest.Config) -> None:
    for plugin in (skips, order):
        config.pluginmanager.register(plugin)


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
