"""The file without this package: by the lines that the docs give, and by compressed-tensors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compressor.artifact.bitmask import encode
from compressor.artifact.load import load_model
from compressor.artifact.save import Dtype, Form, Provenance, encode_model, round_to_dtype
from trials.tiny import tiny_model

DOCS = Path(__file__).parents[2] / "docs" / "artifact.md"


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_lines_in_the_docs_decode_a_file(dtype: Dtype, tmp_path: Path) -> None:
    model = tiny_model()
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter[parameter.abs() < parameter.abs().median()] = 0
    round_to_dtype(model, dtype)
    file = tmp_path / "model.safetensors"
    file.write_bytes(encode_model(model, Form(dtype, "bitmask"), Provenance({}, "tiny", "0" * 64)))
    (lines,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert "compressor import" not in lines
    names: dict[str, Any] = {}
    exec(lines, names)
    found = names["state_dict"](file)
    expected = load_model(file).model.state_dict()
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert np.array_equal(found[name].astype(tensor.numpy().dtype), tensor.numpy()), name


@pytest.mark.extras
@pytest.mark.parametrize("shape", [(16, 8, 3, 3), (5, 3, 1, 1), (7, 13, 6, 6)])
def test_compressed_tensors_decodes_a_weight(shape: tuple[int, ...]) -> None:
    from compressed_tensors.compressors.sparse_compressors import sparse_bitmask  # noqa: PLC0415  # of extras alone

    weight = torch.randn(shape).half()
    weight[weight.abs() < 0.7] = 0
    ours = encode(weight)
    matrix = sparse_bitmask.bitmask_decompress(ours.compressed, ours.bitmask, torch.Size(ours.shape.tolist()))
    assert torch.equal(matrix.reshape(shape), weight)
    theirs = sparse_bitmask.bitmask_compress(weight.flatten(1))
    for mine, other in zip((ours.compressed, ours.bitmask, ours.row_offsets), theirs, strict=True):
        assert torch.equal(mine, other.reshape(mine.shape)) and mine.dtype == other.dtype
