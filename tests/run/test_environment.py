"""What a key of finished work takes in of the source."""

from pathlib import Path

import pytest

import compressor
from compressor.run import environment


def test_the_digest_of_the_source_is_that_of_the_whole_package(monkeypatch: pytest.MonkeyPatch) -> None:
    read: set[Path] = set()
    real = Path.read_bytes

    def noted(file: Path) -> bytes:
        read.add(file)
        return real(file)

    monkeypatch.setattr(Path, "read_bytes", noted)
    environment.source_sha256.__wrapped__()
    package = Path(compressor.__file__).parent
    assert {file for file in read if file.suffix == ".py"} == set(package.rglob("*.py"))
