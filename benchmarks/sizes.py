"""How large a file becomes: every stock size, number type and sparsity, beside the dense file and the bound.

Run from the repository root: `.venv/bin/python benchmarks/sizes.py --sizes n s m l x`. The weights are random: the size
of a file hangs on the network and on the number of zeros, not on the values; only gzip's share does. Zeros are taken by
one threshold over the model with BatchNorm folded. The bound is one bit a convolution weight, the values that are left,
and all else as it is. The table goes to `benchmarks/sizes.md`.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import torch
from safetensors.torch import save as to_bytes
from tabulate import tabulate

from compressor.artifact.save import Dtype, Form, Provenance, dense_tensors, encode_model, gzip_size, round_to_dtype
from compressor.models.detector import Detector
from compressor.models.yolov5.architecture import stock_architecture
from compressor.models.yolov5.build import build
from compressor.models.yolov5.fuse import fuse
from compressor.modifiers.prune.selection import cuts, drop
from compressor.plan.layers import convolutions

TABLE = Path(__file__).parent / "sizes.md"
SPARSITIES = (0.3, 0.5, 0.7, 0.9)
DTYPES: tuple[Dtype, ...] = ("float32", "float16")
MB = 1e6


def rows(size: str, *, zipped: bool) -> list[tuple[str, ...]]:
    torch.manual_seed(0)
    source = fuse(build(stock_architecture("v6", size)).eval().requires_grad_(False))
    found: list[tuple[str, ...]] = []
    for dtype in DTYPES:
        for sparsity in SPARSITIES:
            model = copy.deepcopy(source)
            pruned(model, sparsity)
            round_to_dtype(model, dtype)
            data = encode_model(model, Form(dtype, "bitmask"), Provenance({}, f"yolov5{size}.pt", "0" * 64))
            dense, least = len(to_bytes(dense_tensors(model, dtype))), bound(model, dtype)
            assert len(data) < dense
            found.append(
                (
                    f"YOLOv5{size}",
                    dtype,
                    f"{100 * sparsity:g} %",
                    f"{dense / MB:.3f}",
                    f"{len(data) / MB:.3f}",
                    f"{len(data) / dense:.4f}",
                    f"{len(data) / least:.4f}",
                    f"{gzip_size(data) / MB:.3f}" if zipped else "-",
                )
            )
            print(*found[-1], flush=True)
    return found


def pruned(model: Detector, sparsity: float) -> None:
    """Set the smallest convolution weights of the whole model to zero, in place."""
    layers = convolutions(model)
    weights = [layer.weight.view(-1).numpy() for layer in layers]
    for each, at in zip(weights, cuts(weights, round(sparsity * sum(each.size for each in weights))), strict=True):
        drop(each, each, at)


def bound(model: Detector, dtype: Dtype) -> int:
    """Bytes of one bit a convolution weight, the values that are left of them, and all that is not pruned."""
    width = 2 if dtype == "float16" else 4
    state = model.state_dict()
    weights: list[torch.Tensor] = [layer.weight for layer in convolutions(model)]
    bits = sum(weight.numel() for weight in weights)
    left = sum(int(torch.count_nonzero(weight)) for weight in weights)
    rest: int = sum(tensor.numel() for tensor in state.values()) - bits
    return bits // 8 + width * (left + rest)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=list("nsmlx"), choices=list("nsmlx"))
    parser.add_argument("--no-gzip", action="store_true", help="leave out gzip, which takes most of the time")
    options = parser.parse_args()
    found = [row for size in options.sizes for row in rows(size, zipped=not options.no_gzip)]
    headers = ("network", "dtype", "zeros", "dense MB", "bitmask MB", "x dense", "x bound", "gzip MB")
    table = tabulate(found, headers, tablefmt="pipe", colalign=("left",) * 2 + ("right",) * 6, disable_numparse=True)
    TABLE.write_text(f"<!-- written by benchmarks/sizes.py -->\n\n# File sizes\n\n{table}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
