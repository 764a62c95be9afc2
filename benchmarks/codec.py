"""How fast the bitmask layout is written and read, beside safetensors alone with the dense tensors.

Run from the repository root: `.venv/bin/python benchmarks/codec.py --size x`. The weights are random, float16, with
zeros by one threshold. Both sides go from tensors in memory to the bytes of a file and back, on one thread, in turns;
what comes back is compared with what went in before any time is told. CPU seconds, median of the runs. Memory is
what coding the largest layer holds at most beside what goes in and comes out, in multiples of it.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import load, save
from sizes import pruned
from tabulate import tabulate
from torch import Tensor

from compressor.artifact.bitmask import SUFFIXES, Bitmask, decode, encode
from compressor.artifact.save import dense_tensors, laid_out, round_to_dtype
from compressor.models.yolov5.architecture import stock_architecture
from compressor.models.yolov5.build import build
from compressor.models.yolov5.fuse import fuse

SPARSITIES = (0.3, 0.5, 0.7, 0.9)


def written(tensors: dict[str, Tensor]) -> bytes:
    return save(laid_out(tensors, "bitmask", lambda _, weight: encode(weight)))


def read(data: bytes, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    stored = load(data)
    return {name: stored[name] if name in stored else decoded(stored, name, shape) for name, shape in shapes.items()}


def decoded(stored: dict[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    prefix = name.removesuffix(".weight")
    return decode(Bitmask(**{suffix: stored[f"{prefix}.{suffix}"] for suffix in SUFFIXES}), shape)


def cpu_seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def layers_beside(work: Callable[[], Any], output_bytes: int, layer_bytes: int) -> str:
    """What NumPy holds at most beside `output_bytes`, in multiples of the largest layer."""
    tracemalloc.start()
    work()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return f"{(peak - output_bytes) / layer_bytes:.2f}"


def measured(size: str, sparsity: float, runs: int) -> tuple[str, ...]:
    torch.manual_seed(0)
    model = fuse(build(stock_architecture("v6", size)).eval().requires_grad_(False))
    pruned(model, sparsity)
    round_to_dtype(model, "float16")
    dense = dense_tensors(model, "float16")
    shapes = {name: tuple(tensor.shape) for name, tensor in dense.items()}
    plain, data = save(dense), written(dense)
    for found in (load(plain), read(data, shapes)):
        assert all(torch.equal(found[name], tensor) for name, tensor in dense.items()), "not what was written"
    largest = max(dense.values(), key=lambda tensor: tensor.nbytes)
    encoded = encode(largest)
    encoding = layers_beside(lambda: encode(largest), encoded.size_bytes, largest.nbytes)
    decoding = layers_beside(
        lambda: decode(encoded, tuple(largest.shape)), 0, largest.nbytes
    )  # torch holds what comes out
    work = (lambda: save(dense), lambda: written(dense), lambda: load(plain), lambda: read(data, shapes))
    times = [[cpu_seconds(each) for each in work] for _ in range(runs)]
    peer_write, our_write, peer_read, our_read = (statistics.median(column) for column in zip(*times, strict=True))
    sizes = f"{len(plain) / 1e6:.1f}", f"{len(data) / 1e6:.1f}"
    writing = f"{peer_write:.3f}", f"{our_write:.3f}", f"{our_write / peer_write:.2f}"
    reading = f"{peer_read:.3f}", f"{our_read:.3f}", f"{our_read / peer_read:.2f}"
    return f"YOLOv5{size}", f"{100 * sparsity:g} %", *sizes, *writing, *reading, encoding, decoding


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="x", choices=list("nsmlx"))
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    rows = [measured(options.size, sparsity, options.runs) for sparsity in SPARSITIES]
    headers = (
        "network",
        "zeros",
        "dense MB",
        "MB",
        "save s",
        "ours",
        "ratio",
        "load s",
        "ours",
        "ratio",
        "layers, encode",
        "decode",
    )
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()}")
    print(tabulate(rows, headers, tablefmt="pipe", colalign=("left",) + ("right",) * 11, disable_numparse=True))


if __name__ == "__main__":
    main()
