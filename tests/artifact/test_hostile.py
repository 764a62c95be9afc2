"""Damaged and hostile artifacts: each is refused in a sentence, or is the model it was, and nothing else."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compressor.artifact.load import load_model
from compressor.artifact.save import METADATA_KEY, Form, Provenance, encode_model, round_to_dtype
from compressor.errors import CheckpointError
from trials.tiny import tiny_model

FLIPS = 1000


@pytest.fixture(scope="module")
def genuine() -> bytes:
    """The bytes of an artifact with most weights zero."""
    model = tiny_model(fused=True)  # which loads twice as fast
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter[parameter.abs() < parameter.abs().quantile(0.9)] = 0
    round_to_dtype(model, "float16")
    return encode_model(model, Form("float16", "bitmask"), Provenance({}, "tiny", "0" * 64))


@pytest.fixture(scope="module")
def state(genuine: bytes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    file = tmp_path_factory.mktemp("genuine") / "model.safetensors"
    file.write_bytes(genuine)
    return load_model(file).model.state_dict()


def is_refused(file: Path, content: bytes, state: dict[str, torch.Tensor]) -> bool:
    """Whether the file is refused; where it is not, it has to hold the genuine weights."""
    file.write_bytes(content)
    try:
        loaded = load_model(file)
    except CheckpointError as fault:
        assert str(fault).startswith(f"{file}: W3")
        return True
    found = loaded.model.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    return False


def test_cut_short_anywhere(genuine: bytes, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    for length in range(0, len(genuine), 1024):
        assert is_refused(tmp_path / "cut.safetensors", genuine[:length], state)


def test_a_bit_flipped_anywhere(genuine: bytes, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    random = np.random.RandomState(0)
    header = struct.unpack("<Q", genuine[:8])[0]
    kept = 0
    for index in range(FLIPS):
        content = bytearray(genuine)
        place = random.randint(8 + header if index % 2 else 0, len(genuine) if index % 2 else 8 + header)
        content[place] ^= 1 << random.randint(8)
        kept += not is_refused(tmp_path / "flipped.safetensors", bytes(content), state)
    assert kept < FLIPS / 10  # in the recipe, a class name or the version: none of the weights


def with_header(genuine: bytes, change: Any) -> bytes:
    length = struct.unpack("<Q", genuine[:8])[0]
    header = json.loads(genuine[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + genuine[8 + length :]


def with_metadata(genuine: bytes, change: Any) -> bytes:
    def inside(header: dict[str, Any]) -> None:
        metadata = json.loads(header["__metadata__"][METADATA_KEY])
        change(metadata)
        header["__metadata__"][METADATA_KEY] = json.dumps(metadata)

    return with_header(genuine, inside)


WEIGHT = "model.2.cv1.conv.weight"
ENCODED = "model.23.cv3.conv"


def hostile(genuine: bytes) -> Iterator[tuple[str, bytes]]:
    yield "a header of many gigabytes", struct.pack("<Q", 2**40) + genuine[8:]
    yield "a header of no text", struct.pack("<Q", 64) + b"\xff" * 64
    yield "a header of deep lists", struct.pack("<Q", 200_000) + b"[" * 200_000
    for name in ("bitmask", "compressed", "shape", "row_offsets"):
        yield f"no {name}", with_header(genuine, lambda header, name=name: header.pop(f"{ENCODED}.{name}"))
    for shape in ([2**40, 2**40], [-1, 4], [0], [], [1.5], "no", None):
        yield f"shape {shape}", with_metadata(genuine, lambda m, shape=shape: m["tensors"][WEIGHT].update(shape=shape))
        yield (
            f"tensor of {shape}",
            with_header(genuine, lambda h, shape=shape: h[f"{ENCODED}.shape"].update(shape=shape)),
        )
    for dtype in ("F64", "BOOL", "I8", "NONE"):
        yield (
            f"dtype {dtype}",
            with_header(genuine, lambda h, dtype=dtype: h[f"{ENCODED}.compressed"].update(dtype=dtype)),
        )
    for key in ("architecture", "names", "tensors", "fused", "recipe", "source", "format", "fold_on_load", "dtype"):
        yield f"no {key}", with_metadata(genuine, lambda m, key=key: m.pop(key))
        values: tuple[Any, ...] = (None, [], {}, "x", 10**30, [[[]]], 1)
        for value in values:
            change = lambda m, key=key, value=value: m.update({key: value})  # noqa: E731
            yield f"{key} = {value!r}", with_metadata(genuine, change)
    for depth in (1e308, -1.0, 1e9):
        yield f"depth {depth}", with_metadata(genuine, lambda m, d=depth: m["architecture"].update(depth_multiple=d))
        yield f"width {depth}", with_metadata(genuine, lambda m, d=depth: m["architecture"].update(width_multiple=d))
    yield "a class too many", with_metadata(genuine, lambda m: m["architecture"].update(nc=10**9))


def test_absurd_headers(genuine: bytes, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    tried = 0
    for what, content in hostile(genuine):
        refused = is_refused(tmp_path / "hostile.safetensors", content, state)
        assert refused or what == "recipe = {}", what  # any recipe may have made it
        tried += 1
    assert tried > 80
