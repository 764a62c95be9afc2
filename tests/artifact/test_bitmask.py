import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from compressor.artifact import bitmask
from compressor.artifact.bitmask import Bitmask, decode, encode

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(1, 3), st.integers(1, 3))


@given(SHAPES, st.floats(0, 1), st.sampled_from([torch.float16, torch.float32]), st.integers(0, 999))
def test_encode_then_decode_is_identity(shape: tuple[int, ...], density: float, dtype: torch.dtype, seed: int) -> None:
    random = np.random.RandomState(seed)
    dense = random.standard_normal(shape) * (random.random_sample(shape) < density)
    weight = torch.from_numpy(dense).to(dtype)
    back = decode(encode(weight), shape)
    assert back.dtype == dtype
    assert torch.equal(back, weight)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("density", [0.0, 0.03, 0.5, 1.0])
@pytest.mark.parametrize("columns", [1, 7, 8, 27])
def test_the_compiled_way_fills_every_weight(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, density: float, columns: int
) -> None:
    random = np.random.RandomState(0)
    weight = torch.from_numpy(
        (1 + random.random_sample((40, columns))) * (random.random_sample((40, columns)) < density)
    )
    weight = weight.to(dtype)
    encoded = encode(weight)
    by_numpy = decode(encoded, (40, columns))
    monkeypatch.setattr(bitmask, "_LEAST_COMPILED", 0)
    monkeypatch.setattr(bitmask, "_LEAST_KEPT", 0)
    assert torch.equal(decode(encoded, (40, columns)), weight)
    assert torch.equal(by_numpy, weight)


def test_layout_is_the_documented_one() -> None:
    weight = torch.tensor([[0.0, 1.0, 0.0], [2.0, 0.0, 3.0]]).view(2, 3, 1, 1)
    encoded = encode(weight)
    assert encoded.compressed.tolist() == [1.0, 2.0, 3.0]
    assert encoded.bitmask.tolist() == [[0b010], [0b101]]
    assert encoded.shape.tolist() == [2, 3]
    assert encoded.row_offsets.tolist() == [0, 1]
    assert [t.dtype for t in (encoded.bitmask, encoded.shape, encoded.row_offsets)] == [
        torch.uint8,
        torch.int64,
        torch.int64,
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("compressed", torch.ones(2)),
        ("bitmask", torch.zeros(2, 2, dtype=torch.uint8)),
        ("shape", torch.tensor([3, 2])),
        ("row_offsets", torch.tensor([0, 2])),
    ],
)
def test_contradicting_tensors_are_refused(field: str, value: torch.Tensor) -> None:
    encoded = encode(torch.tensor([[0.0, 1.0, 0.0], [2.0, 0.0, 3.0]]))
    fields = {name: getattr(encoded, name) for name in ("compressed", "bitmask", "shape", "row_offsets")}
    with pytest.raises(ValueError, match=r"shape|bitmask|offsets"):
        decode(Bitmask(**{**fields, field: value}), (2, 3))


def test_at_most_one_layer_is_held_beside_what_goes_in_and_out() -> None:
    weight = torch.randn(256, 4096, generator=torch.Generator().manual_seed(0)).half()
    weight[weight.abs() < 0.5] = 0

    def held_beside(work: Callable[[], object], output_bytes: int) -> int:
        tracemalloc.start()
        kept = work()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        del kept
        return peak - output_bytes

    encoded = encode(weight)
    assert held_beside(lambda: encode(weight), encoded.size_bytes) < weight.nbytes
    assert held_beside(lambda: decode(encoded, tuple(weight.shape)), 0) < weight.nbytes  # torch holds what comes out
